#include "cli/cli.h"

#include "cli/text.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <poll.h>
#include <sys/signalfd.h>

struct cli cli = {.server = "http://localhost:3000", .stop_fd = -1};

static const struct args_option common[] = {
	{.name = "server",
		.type = ARGS_TEXT,
		.value = &cli.server,
		.form = "URL",
		.environment = "TRABAJOS_URL",
		.help = "the server; by default http://localhost:3000"},
	{.name = "ca-file",
		.type = ARGS_FILE,
		.value = &cli.ca_file,
		.form = "FILE",
		.environment = "TRABAJOS_CA_FILE",
		.help = "PEM certificates by which https servers are trusted, instead of the system's"},
	CLI_FLAG("allow-http", 0, cli.allow_http, "send tokens over http to another machine"),
	CLI_FLAG("json", 0, cli.json, "print what the server answers, for programs"),
	CLI_FLAG("help", 'h', cli.help, "show this text"),
};
const struct args_table cli_common = {common, COUNT_OF(common)};

int cli_failure_code(enum error_kind kind) {
	if (kind == ERROR_DENIED) return CLI_NOT_ALLOWED;
	return kind == ERROR_USAGE || kind == ERROR_UNAVAILABLE ? lifecycle_exit_code(kind) : EXIT_FAILED;
}

void cli_warn(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	AUTO_FREE char *text = mem_format_list(format, arguments);
	va_end(arguments);
	AUTO_FREE char *safe = text_safe(text);
	fflush(stdout);
	fprintf(stderr, "trabajos: %s\n", safe);
}

void cli_catch_signals(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (cli.stop_fd >= 0) return;
	sigprocmask(SIG_BLOCK, &set, NULL);
	cli.stop_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (cli.stop_fd < 0) mem_die("signalfd");
}

bool cli_stopped(void) {
	struct pollfd asked = {.fd = cli.stop_fd, .events = POLLIN};
	return cli.stop_fd >= 0 && poll(&asked, 1, 0) > 0;
}

bool cli_pause(int64_t ms) {
	struct pollfd asked = {.fd = cli.stop_fd, .events = POLLIN};
	return poll(&asked, 1, (int)ms) > 0;
}

const char *cli_or_nothing(const char *text) {
	return text ? text : "";
}
