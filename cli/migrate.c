#include "lib/migrate.h"

#include "cli/cli.h"
#include "lib/db.h"
#include "lib/lifecycle.h"

#include <stdbool.h>
#include <stdio.h>

static void applied(const struct migration *migration, void *arg) {
	unsigned *count = arg;
	++*count;
	printf("%04d-%s\n", migration->version, migration->name);
}

static int migrate(const struct db_config *to, bool check, struct error *error) {
	struct db *db;
	if (db_open(to, error, &db)) return -1;
	unsigned count = 0;
	int result = check ? 0 : migrate_apply(db, applied, &count, error);
	if (!result && !check) result = migrate_grant(db, error);
	db_close(db);
	if (!result && !count && !check) puts("nothing to do");
	return result;
}

static struct db_config config = {.application = "trabajos migrate"};
static const struct option table[] = {OPTIONS_DB(config), OPTIONS_LOG};

static int start(int argc, char **argv) {
	int check = lifecycle_start(
		"migrate", "Brings the database up to this program's version.", table, COUNT_OF(table), argc, argv);
	AUTO_ERROR struct error error = {0};
	int result = migrate(&config, check, &error);
	if (result) fprintf(stderr, "trabajos migrate: %s\n", error_text(&error));
	option_clear(table, COUNT_OF(table));
	if (result) return lifecycle_exit_code(error.kind);
	return fflush(stdout) ? EXIT_FAILED : EXIT_FINE;
}

const struct cli_verb cli_migrate = {.name = "migrate",
	.operands = "",
	.help = "bring the database up to this program's version",
	.start = start,
	.settings = table,
	.setting_count = COUNT_OF(table)};
