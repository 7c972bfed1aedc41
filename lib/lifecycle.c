#include "lib/lifecycle.h"

#include "lib/log.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>

int64_t lifecycle_log_level = LOG_LEVEL_INFO;
int64_t lifecycle_log_format = LOG_FORMAT_AUTO;
const char *const lifecycle_log_levels[] = {"debug", "info", "warn", "error", NULL};
const char *const lifecycle_log_formats[] = {"auto", "json", "text", NULL};

const char *lifecycle_version(void) {
	return TRABAJOS_VERSION;
}

int lifecycle_exit_code(enum error_kind kind) {
	switch (kind) {
	case ERROR_NONE:
		return EXIT_FINE;
	case ERROR_USAGE:
		return EXIT_USAGE_ERROR;
	case ERROR_UNAVAILABLE:
		return EXIT_NO_SERVICE;
	case ERROR_INPUT:
		return EXIT_BAD_CONFIG;
	case ERROR_DENIED:
	case ERROR_CONFLICT:
	case ERROR_LIMIT:
	case ERROR_INTERNAL:
		break;
	}
	return EXIT_FAILED;
}

int lifecycle_bad_start(const struct error *error) {
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, error_text(error));
	return lifecycle_exit_code(error->kind);
}

int64_t lifecycle_backoff_ms(unsigned failures, int64_t first_ms, int64_t cap_ms) {
	int64_t most = first_ms > 0 ? first_ms : 1;
	while (failures-- > 0 && most < cap_ms) most = most > INT64_MAX / 2 ? INT64_MAX : most * 2;
	if (most > cap_ms) most = cap_ms;
	if (most <= 1) return 1;
	uint64_t random = 0;
	// Without randomness (cannot happen after boot) the longest delay is the safe one.
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) return most;
	return 1 + (int64_t)(random % (uint64_t)most);
}

int64_t lifecycle_jitter_ms(int64_t every_ms) {
	return every_ms - every_ms / 4 + lifecycle_backoff_ms(0, every_ms / 2, every_ms / 2);
}

// Started without stdin, stdout or stderr, the next socket would get their number and the log lines.
static void occupy_standard_descriptors(void) {
	int fd;
	do fd = open("/dev/null", O_RDWR); // inherited by children like any standard descriptor
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0) close(fd);
}

static void prepare_signals(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); // ignored by inheritance, children would vanish before they could be waited for
}

static void show(enum option_action action, const char *purpose, const struct option *table, size_t count) {
	if (action == OPTION_HELP) {
		option_help(table, count, program_invocation_short_name, purpose, stdout);
	} else {
		printf("%s %s\n", program_invocation_short_name, lifecycle_version());
	}
	// A full disk or a closed pipe is not "fine".
	exit(fflush(stdout) == 0 ? EXIT_FINE : EXIT_FAILED);
}

int lifecycle_start(const char *daemon, const char *purpose, const struct option *table, size_t count, int argc, char **argv) {
	occupy_standard_descriptors();
	AUTO_ERROR struct error error = {0};
	enum option_action action = OPTION_RUN;
	if (option_parse(table, count, argc, argv, environ, &action, &error) != 0) exit(lifecycle_bad_start(&error));
	if (action == OPTION_HELP || action == OPTION_VERSION) show(action, purpose, table, count);
	log_open(daemon, (enum log_level)lifecycle_log_level, (enum log_format)lifecycle_log_format);
	prepare_signals();
	return action == OPTION_CHECK;
}
