#include "cli/call.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <inttypes.h>

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count, (void)operands;
	AUTO_JSON json_t *workers = NULL;
	if (call_get(&workers, error, "/api/v1/workers")) return -1;
	if (cli.json) {
		view_print(workers);
		return EXIT_FINE;
	}
	struct table *table = view_workers(workers);
	if (table_rows(table))
		table_print(table, stdout);
	else
		fputs(_("No workers.\n"), stderr);
	table_free(table);
	return EXIT_FINE;
}

const struct cli_verb cli_workers = {
	.name = "workers", .operands = "", .help = "list the workers; for administrators", .run = run};
