#include "cli/call.h"
#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

static bool wait, follow;

static const struct args_option options[] = {
	CLI_FLAG("follow", 'f', follow, "show what it prints, and exit as it does"),
	CLI_FLAG("wait", 'w', wait, "wait for its end, and exit as it does"),
};

static int run(size_t count, const char *const *operands, struct error *error) {
	AUTO_FREE char *key = call_key(count, operands, error);
	if (!key) return -1;
	AUTO_FREE char *path = mem_format("/api/v1/trabajos/%s/replay", key);
	AUTO_JSON json_t *answer = NULL;
	if (call_json(&(struct call){.method = "POST", .path = path}, &answer, error)) return -1;
	if (follow || wait) return follow_job(&(struct follow){.key = key, .prints = follow, .goes_on = true}, error);
	if (cli.json)
		view_print(answer);
	else
		printf(_("%s: queued again\n"), key);
	return EXIT_FINE;
}

static int failure(int code) {
	return follow || wait ? FOLLOW_FAILED : code;
}

const struct cli_verb cli_replay = {.name = "replay",
	.operands = "KEY",
	.offers = CLI_KEY,
	.least = 1,
	.most = 1,
	.help = "run a job that has ended again, with the same key",
	CLI_OPTIONS(options),
	.run = run,
	.failure = failure};
