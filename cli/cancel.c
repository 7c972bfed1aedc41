#include "cli/call.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <string.h>

static int cancel(const char *key, struct error *error) {
	AUTO_FREE char *path = mem_format("/api/v1/trabajos/%s/cancel", key);
	AUTO_JSON json_t *answer = NULL;
	if (call_json(&(struct call){.method = "POST", .path = path, .patient = true}, &answer, error))
		return error_wrap(error, "%s", key);
	const char *what = cli_or_nothing(json_text(answer, "cancel"));
	bool too_late = strcmp(what, "too_late") == 0;
	if (cli.json)
		view_print(answer);
	else if (too_late)
		cli_warn(_("%s: it had ended before: %s"), key, cli_or_nothing(json_text(answer, "status")));
	else
		printf(strcmp(what, "done") == 0 ? _("%s: cancelled\n") : _("%s: it runs; its worker ends it within seconds\n"),
			key);
	return too_late;
}

static int run(size_t count, const char *const *operands, struct error *error) {
	int code = EXIT_FINE;
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *key = call_key(1, operands + i, error);
		int result = key ? cancel(key, error) : -1;
		if (result < 0) return -1;
		if (result) code = EXIT_FAILED;
	}
	return code;
}

const struct cli_verb cli_cancel = {.name = "cancel",
	.operands = "KEY…",
	.offers = CLI_KEY,
	.least = 1,
	.most = SIZE_MAX,
	.help = "end jobs: queued ones at once, running ones by their worker",
	.run = run};
