// trabajos logout: the session is ended at Keycloak, and forgotten here.
#include "cli/cli.h"
#include "cli/oidc.h"
#include "cli/words.h"
#include "lib/lifecycle.h"

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	struct session session;
	AUTO_ERROR struct error trouble = {0};
	AUTO_CLOSE int lock = session_lock(cli.server, error);
	if (lock < 0) return -1;
	int none = session_load(cli.server, &session, NULL); // one that cannot be read goes as well
	if (none == 0 && oidc_revoke(&session, &trouble))
		cli_warn(_("the session is forgotten here, but could not be ended at %s: %s"), session.issuer,
			error_text(&trouble));
	session_clear(&session);
	if (session_remove(cli.server, error)) return -1;
	fprintf(stderr, none > 0 ? _("Nobody was logged in to %s.\n") : _("Logged out of %s.\n"), cli.server);
	return EXIT_FINE;
}

const struct cli_verb cli_logout = {
	.name = "logout", .operands = "", .help = "end the session, and forget its tokens", .run = run};
