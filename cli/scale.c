#include "cli/call.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <inttypes.h>

static int64_t limit = 10;

static const struct args_option options[] = {
	CLI_INT("limit", limit, 1, 1000, "so many decisions and actions, by default 10"),
};

static void say_decisions(const json_t *decisions) {
	const char *const headings[] = {_("AT"), _("WANTED"), _("THERE"), _("WHY"), NULL};
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(decisions); i++) {
		const json_t *decision = json_array_get(decisions, i);
		int64_t wanted = view_int(decision, "wanted"), actual = view_int(decision, "actual");
		AUTO_FREE char *at = view_moment(json_text(decision, "at"));
		table_cell(table, TERM_PLAIN, at);
		table_format(table, wanted == actual ? TERM_PLAIN : TERM_YELLOW, "%" PRId64, wanted);
		table_format(table, TERM_PLAIN, "%" PRId64, actual);
		table_cell(table, TERM_PLAIN, json_text(decision, "reason"));
	}
	if (table_rows(table))
		table_print(table, stdout);
	else
		fputs(_("No decision yet: is an observer up?\n"), stderr);
	table_free(table);
}

static void say_actions(const json_t *actions) {
	const char *const headings[] = {_("AT"), _("BY"), _("WHAT"), _("WANTED"), _("THERE"), NULL};
	if (!json_array_size(actions)) return;
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(actions); i++) {
		const json_t *action = json_array_get(actions, i);
		AUTO_FREE char *at = view_moment(json_text(action, "at"));
		table_cell(table, TERM_PLAIN, at);
		table_cell(table, TERM_PLAIN, json_text(action, "actuator"));
		table_cell(table, TERM_PLAIN, json_text(action, "state"));
		table_format(table, TERM_PLAIN, "%" PRId64, view_int(action, "wanted"));
		table_format(table, TERM_PLAIN, "%" PRId64, view_int(action, "actual"));
	}
	putchar('\n');
	table_print(table, stdout);
	table_free(table);
}

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	AUTO_JSON json_t *scale = NULL;
	if (call_get(&scale, error, "/api/v1/scale?limit=%" PRId64, limit)) return -1;
	if (cli.json) {
		view_print(scale);
		return EXIT_FINE;
	}
	const json_t *score = json_object_get(scale, "score");
	say_decisions(json_object_get(scale, "decisions"));
	say_actions(json_object_get(scale, "actions"));
	if (view_int(score, "scored"))
		printf(_("\nOf %" PRId64 " starts that were foretold in the last day, %" PRId64 " came in their range.\n"),
			view_int(score, "scored"), view_int(score, "inside"));
	return EXIT_FINE;
}

const struct cli_verb cli_scale = {.name = "scale",
	.operands = "",
	.help = "show how many workers there should be, and why; for administrators",
	CLI_OPTIONS(options),
	.run = run};
