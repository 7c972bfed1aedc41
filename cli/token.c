// trabajos token: for other programs, as in curl -H "Authorization: Bearer $(trabajos token)".
#include "cli/auth.h"
#include "cli/cli.h"
#include "lib/lifecycle.h"

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	const char *token = auth_token(NULL, error);
	if (!token) return -1;
	puts(token);
	return EXIT_FINE;
}

const struct cli_verb cli_token = {.name = "token",
	.operands = "",
	.help = "print an access token, for another program",
	.more = "curl -H \"Authorization: Bearer $(trabajos token)\" …",
	.run = run};
