#include "cli/manual.h"
#include "lib/lifecycle.h"

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands, (void)error;
	manual_page(stdout);
	return EXIT_FINE;
}

const struct cli_verb cli_manual = {.name = "manual",
	.operands = "",
	.help = "print the manual page, for man",
	.more = "trabajos manual | man -l -",
	.run = run};
