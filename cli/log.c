// trabajos log: what a job has printed, its standard output and error each on ours; -f goes on until the job has ended.
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/follow.h"
#include "lib/lifecycle.h"

static bool follow, wait;
static int64_t attempt;
static const char *stream;
static const char *const streams[] = {"stdout", "stderr", NULL};

static const struct args_option options[] = {
	CLI_FLAG("follow", 'f', follow, "go on until the job has ended"),
	CLI_FLAG("wait", 'w', wait, "as --follow, and exit as the job does"),
	CLI_INT("attempt", attempt, 1, INT32_MAX, "of that attempt, not of the newest"),
	{.name = "stream", .type = ARGS_CHOICE, .value = &stream, .form = "WHICH", .choices = streams, .help = "only that"},
};

static int run(size_t count, const char *const *operands, struct error *error) {
	AUTO_FREE char *key = call_key(count, operands, error);
	if (!key) return -1;
	bool goes_on = follow || wait;
	int code = follow_job(&(struct follow){.key = key,
				      .attempt = attempt,
				      .stream = stream,
				      .prints = true,
				      .goes_on = goes_on,
				      .quiet = !goes_on},
		error);
	return code > 0 && !wait ? EXIT_FINE : code;
}

static int failure(int code) {
	return wait ? FOLLOW_FAILED : code;
}

const struct cli_verb cli_log = {.name = "log",
	.operands = "[KEY]",
	.offers = CLI_KEY,
	.most = 1,
	.help = "show what a job has printed; without KEY your newest",
	.more = "What the job printed to standard error goes to standard error here (in red on a terminal). A terminal gets text and colours\n"
		"alone: other control characters are shown, not sent. Into a file or a pipe the bytes go as they were printed.",
	CLI_OPTIONS(options),
	.run = run,
	.failure = failure};
