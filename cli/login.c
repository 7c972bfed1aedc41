// trabajos login: by the device flow, in a browser anywhere; for scripts by a password, which never stands on a command line.
#include "cli/cli.h"
#include "cli/oidc.h"
#include "cli/text.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <termios.h>

#define PASSWORD_MOST 4096

static bool by_password, stay;
static const char *user, *password_file;

static const struct args_option options[] = {
	CLI_TEXT("user", "NAME", user, "whose password it is"),
	CLI_FLAG("password", 0, by_password,
		"read the password from standard input (a terminal asks for it), where the realm allows that"),
	{.name = "password-file",
		.type = ARGS_FILE,
		.value = &password_file,
		.form = "FILE",
		.help = "read the password from a file's first line"},
	CLI_FLAG("stay", 0, stay, "stay logged in for as long as the realm allows, not only for a session"),
};

static int read_line(FILE *file, const char *name, char password[PASSWORD_MOST], struct error *error) {
	if (!fgets(password, PASSWORD_MOST, file))
		return error_set(error, ERROR_USAGE, _("%s: there is no password in it"), name);
	password[strcspn(password, "\r\n")] = '\0';
	return *password ? 0 : error_set(error, ERROR_USAGE, _("%s: there is no password in it"), name);
}

// A terminal's line is there as a whole when anything of it is.
static bool typed(void) {
	struct pollfd asked[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = cli.stop_fd, .events = POLLIN}};
	while (poll(asked, COUNT_OF(asked), -1) < 0 && errno == EINTR) continue;
	return !asked[1].revents;
}

static int ask_password(char password[PASSWORD_MOST], struct error *error) {
	struct termios before, quiet;
	if (tcgetattr(STDIN_FILENO, &before)) return error_set_errno(error, ERROR_USAGE, errno, "%s", _("standard input"));
	AUTO_FREE char *name = text_safe(user);
	fprintf(stderr, _("Password of %s: "), name);
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	int result = typed() ? read_line(stdin, _("standard input"), password, error)
			     : error_set(error, ERROR_CONFLICT, _("interrupted"));
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	return result;
}

static int read_password(char password[PASSWORD_MOST], struct error *error) {
	setvbuf(stdin, NULL, _IONBF, 0); // no other copy of it
	if (!password_file)
		return isatty(STDIN_FILENO) ? ask_password(password, error)
					    : read_line(stdin, _("standard input"), password, error);
	AUTO_FCLOSE FILE *file = fopen(password_file, "re");
	if (!file) return error_set_errno(error, ERROR_USAGE, errno, "--password-file");
	setvbuf(file, NULL, _IONBF, 0);
	return read_line(file, "--password-file", password, error);
}

static int with_password(const struct oidc *oidc, struct session *session, struct error *error) {
	if (!user) return error_set(error, ERROR_USAGE, _("--user=NAME says whose password it is"));
	char password[PASSWORD_MOST];
	int result = read_password(password, error);
	if (result == 0) result = oidc_password(oidc, user, password, stay, session, error);
	explicit_bzero(password, sizeof password);
	return result;
}

static int with_browser(const struct oidc *oidc, struct session *session, struct error *error) {
	struct oidc_device device;
	int result = oidc_device_begin(oidc, stay, &device, error);
	if (result == 0) {
		AUTO_FREE char *uri = text_safe(device.uri_with_code ? device.uri_with_code : device.uri);
		AUTO_FREE char *code = text_safe(device.user_code);
		fprintf(stderr,
			_("Open this page in a browser, on any machine, and log in:\n\n    %s\n\nIt must show the code %s.\n"),
			uri, code);
		result = oidc_device_await(oidc, &device, session, error);
	}
	oidc_device_clear(&device);
	return result;
}

static int keep(const struct session *session, struct error *error) {
	AUTO_CLOSE int lock = session_lock(cli.server, error);
	return lock < 0 ? -1 : session_store(session, error);
}

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	struct oidc oidc;
	struct session session = {0};
	cli_catch_signals();
	int result = oidc_discover(cli.server, &oidc, error);
	bool password = by_password || password_file;
	if (result == 0 && !password && user) result = error_set(error, ERROR_USAGE, _("--user goes with --password"));
	if (result == 0) result = password ? with_password(&oidc, &session, error) : with_browser(&oidc, &session, error);
	if (result == 0) result = keep(&session, error);
	if (result == 0) {
		AUTO_FREE char *name = text_safe(session.usuario);
		fprintf(stderr, _("Logged in to %s as %s.\n"), cli.server, name);
	}
	session_clear(&session);
	oidc_clear(&oidc);
	return result ? -1 : EXIT_FINE;
}

const struct cli_verb cli_login = {.name = "login",
	.operands = "",
	.help = "log in, in a browser or by a password",
	.more = "Prints a page's address and a code, and waits until you have logged in there, on whatever machine. The session is kept\n"
		"for this server; sessions at several servers (--server, TRABAJOS_URL) live side by side.",
	CLI_OPTIONS(options),
	.run = run};
