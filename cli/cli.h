// The verbs of the command line: each is a file of its own; cli/verbs.c names them all.
#pragma once

#include "cli/args.h"
#include "lib/option.h"

enum cli_operand { CLI_OTHER, CLI_KEY, CLI_SHELL, CLI_SCHEDULE }; // what completions offer for an operand

struct cli_verb {
	const char *name;     // "artifacts get"
	const char *operands; // as --help writes them: "KEY [PATH]…"; "" for none
	enum cli_operand offers;
	size_t least, most;
	bool hidden;      // from people
	const char *help; // one line, without a full stop
	const char *more; // for --help and the manual: what the one line does not say; NULL
	const struct args_option *options;
	size_t option_count;
	// The exit code; or -1 and the error, which main prints.
	int (*run)(size_t count, const char *const *operands, struct error *error);
	int (*failure)(int code); // the exit code of a failure of our own; NULL: as it is
	// Instead of all of that, of a verb that is configured as the daemons are: it reads its words itself.
	int (*start)(int argc, char **argv);
	const struct option *settings;
	size_t setting_count;
};

extern const struct cli_verb *const cli_verbs[];
extern const size_t cli_verb_count;
extern const struct args_table cli_common; // the options that all verbs but those with settings have

#define CLI_OPTIONS(table) .options = (table), .option_count = COUNT_OF(table)
#define CLI_FLAG(word, short, place, text)                                                                                     \
	{ .name = (word), .letter = (short), .type = ARGS_FLAG, .value = &(place), .help = (text) }
#define CLI_TEXT(word, shown, place, text)                                                                                     \
	{ .name = (word), .type = ARGS_TEXT, .value = &(place), .form = (shown), .help = (text) }
#define CLI_INT(word, place, from, to, text)                                                                                   \
	{ .name = (word), .type = ARGS_INT, .value = &(place), .form = "N", .min = (from), .max = (to), .help = (text) }

// What the common options say.
extern struct cli {
	const char *server;  // http://localhost:3000, without a slash at the end
	const char *ca_file; // NULL: the system's
	bool json, allow_http, help;
	int stop_fd; // see cli_catch_signals
} cli;

#define CLI_NOT_ALLOWED 77 // EX_NOPERM: not logged in, or no right
#define CLI_INTERRUPTED 130

int cli_failure_code(enum error_kind kind);
void cli_warn(const char *format, ...) PRINTF(1, 2); // one line on stderr, made harmless
// SIGINT, SIGTERM and SIGHUP no longer end the program, but make cli.stop_fd readable: what waits gives up, orderly.
void cli_catch_signals(void);
bool cli_stopped(void);
// Waits so long; true: stopped before.
bool cli_pause(int64_t ms);
// Where a member of a list is text, that; "" where it is none.
const char *cli_or_nothing(const char *text);

extern const struct cli_verb cli_add, cli_artifacts, cli_artifacts_get, cli_cancel, cli_complete, cli_completion, cli_dead,
	cli_dead_replay, cli_deliveries, cli_list, cli_log, cli_login, cli_logout, cli_manual, cli_migrate, cli_observer_replay,
	cli_observer_score, cli_replay, cli_scale, cli_schedules, cli_schedules_add, cli_schedules_pause, cli_schedules_remove,
	cli_schedules_resume, cli_status, cli_token, cli_top, cli_version, cli_workers;
