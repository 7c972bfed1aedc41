#include "cli/cli.h"
#include "lib/lifecycle.h"

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands, (void)error;
	printf(cli.json ? "{\"version\":\"%s\"}\n" : "trabajos %s\n", lifecycle_version());
	return EXIT_FINE;
}

const struct cli_verb cli_version = {.name = "version", .operands = "", .help = "name this program's version", .run = run};
