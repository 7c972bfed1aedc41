// The start of every daemon, so that main() reads as its story: options, log, signals, --help, --version, --check.
#pragma once

#include "lib/option.h"

#include <signal.h>

#define EXIT_FINE        0
#define EXIT_FAILED      1
#define EXIT_USAGE_ERROR 64 // sysexits.h EX_USAGE
#define EXIT_NO_SERVICE  69 // EX_UNAVAILABLE
#define EXIT_BAD_CONFIG  78 // EX_CONFIG

// LOG_LEVEL and LOG_FORMAT, for each daemon's table: OPTIONS_LOG in it, lifecycle_start reads them from there.
extern int64_t lifecycle_log_level, lifecycle_log_format;
extern const char *const lifecycle_log_levels[], *const lifecycle_log_formats[];
#define OPTIONS_LOG                                                                                                            \
	{.name = "LOG_LEVEL",                                                                                                  \
		.type = OPTION_CHOICE,                                                                                         \
		.value = &lifecycle_log_level,                                                                                 \
		.fallback = "info",                                                                                            \
		.choices = lifecycle_log_levels,                                                                               \
		.help = "least level that is logged"},                                                                         \
	{                                                                                                                      \
		.name = "LOG_FORMAT", .type = OPTION_CHOICE, .value = &lifecycle_log_format, .fallback = "auto",               \
		.choices = lifecycle_log_formats, .help = "form of the log lines; auto: text on a terminal, else json"         \
	}

// Parses the options, opens the log, blocks SIGTERM, SIGINT and SIGHUP, ignores SIGPIPE (all of which a
// program that is started inherits: its starter resets them), closes nothing. Handles --help
// and --version (prints, exits 0) and bad options (one line on stderr, exits 64 or 78). Returns 1 when --check was given.
int lifecycle_start(const char *daemon, const char *purpose, const struct option *table, size_t count, int argc, char **argv);

// TRABAJOS_VERSION, "0.1.0 (commit)".
const char *lifecycle_version(void);

// Exit code for an error kind (usage 64, unavailable 69, input 78, else 1).
int lifecycle_exit_code(enum error_kind kind);

// For a start that failed: one line on stderr. Returns the exit code for the error.
int lifecycle_bad_start(const struct error *error);

// Exponential backoff with full jitter, for reconnecting: a delay between 1 and min(cap, first * 2^failures) ms.
int64_t lifecycle_backoff_ms(unsigned failures, int64_t first_ms, int64_t cap_ms);

// A moment within a quarter of `every_ms` before or after it, so that many processes do not do their chores at once.
int64_t lifecycle_jitter_ms(int64_t every_ms);
