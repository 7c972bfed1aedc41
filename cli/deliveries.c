#include "cli/call.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <inttypes.h>

// A try that is yet to come has neither a moment nor an answer.
static void print(const json_t *deliveries) {
	const char *const headings[] = {_("TRY"), _("AT"), _("STATUS"), _("NEXT"), _("WHY"), NULL};
	struct table *table = table_new(headings);
	for (size_t i = 0; i < json_array_size(deliveries); i++) {
		const json_t *delivery = json_array_get(deliveries, i);
		int64_t status = view_int(delivery, "status_code");
		AUTO_FREE char *at = view_moment(json_text(delivery, "at")),
			       *next = view_moment(json_text(delivery, "next_at"));
		AUTO_FREE char *code = status ? mem_format("%" PRId64, status) : NULL;
		table_format(table, TERM_PLAIN, "%" PRId64, view_int(delivery, "try"));
		table_cell(table, TERM_PLAIN, at);
		table_cell(table, status >= 200 && status < 300 ? TERM_GREEN : TERM_RED, code);
		table_cell(table, TERM_PLAIN, next);
		table_cell(table, TERM_PLAIN, json_text(delivery, "error"));
	}
	if (table_rows(table))
		table_print(table, stdout);
	else
		fputs(_("Nobody was to be told: add --on-done=URL.\n"), stderr);
	table_free(table);
}

static int run(size_t count, const char *const *operands, struct error *error) {
	AUTO_FREE char *key = call_key(count, operands, error);
	AUTO_JSON json_t *deliveries = NULL;
	if (!key || call_get(&deliveries, error, "/api/v1/trabajos/%s/deliveries", key)) return -1;
	if (cli.json)
		view_print(deliveries);
	else
		print(deliveries);
	return EXIT_FINE;
}

const struct cli_verb cli_deliveries = {.name = "deliveries",
	.operands = "[KEY]",
	.offers = CLI_KEY,
	.most = 1,
	.help = "show how it went to tell --on-done of a job's end; without KEY of your newest",
	.run = run};
