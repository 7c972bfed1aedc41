#include "lib/migrate.h"
#include "tests/unit/scratch_db.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct scratch_db scratch;

static struct db *database(const char *name, const char *user) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *owned_name = mem_strdup(name), *owned_user = mem_strdup(user);
	struct db_config config = scratch.config;
	struct db *db = NULL;
	config.name = owned_name;
	config.user = owned_user;
	if (db_open(&config, &error, &db)) fail_msg("%s", error_text(&error));
	return db;
}

static void must(struct db *db, const char *sql) {
	AUTO_ERROR struct error error = {0};
	if (db_script(db, sql, &error) != DB_OK) fail_msg("%s", error_text(&error));
}

static struct db *fresh(const char *name) {
	struct db *admin = database("postgres", "postgres");
	AUTO_FREE char *create = mem_format("CREATE DATABASE %s TEMPLATE template0", name);
	must(admin, create);
	db_close(admin);
	return database(name, "postgres");
}

static void count(const struct migration *migration, void *arg) {
	int *last = arg;
	assert_true(migration->version > *last);
	*last = migration->version;
}

static char *recorded(struct db *db) {
	static const struct db_statement rows = {
		"recorded", "SELECT string_agg(concat_ws(' ', version, name, sha256), ',' ORDER BY version) FROM migraciones"};
	struct db_result *result = NULL;
	assert_int_equal(db_execute(db, &rows, NULL, &result, NULL), DB_OK);
	char *text = mem_strdup(db_get(result, 0, 0));
	db_result_free(result);
	return text;
}

// The schema as SQL, less the lines that differ each time.
static char *schema(const char *name) {
	AUTO_FREE char *path = mem_format("%s/%s.sql", scratch.dir, name);
	const char *const arguments[] = {
		"pg_dump", "-s", "-h", "127.0.0.1", "-p", scratch.port, "-U", "postgres", "-f", path, name, NULL};
	assert_int_equal(scratch_run(&scratch, "pg_dump", arguments), 0);
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	assert_non_null(file);
	char *text = NULL, line[4096];
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	while (fgets(line, sizeof(line), file))
		if (line[0] != '\\') fputs(line, out);
	fclose(out);
	assert_true(length > 1000);
	return text;
}

static char *read_file(const char *path) {
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	if (!file) fail_msg("%s: run this from the project's root", path);
	char *text = mem_zalloc(1 << 20);
	assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
	return text;
}

static void each_migration_is_applied_once(void **state UNUSED) {
	struct db *db = fresh("once");
	int last = 0, again = 0;
	assert_int_equal(migrate_apply(db, count, &last, NULL), 0);
	assert_true(last > 0);
	assert_int_equal(migrate_apply(db, count, &again, NULL), 0);
	assert_int_equal(again, 0);
	db_close(db);
}

static void one_that_came_later_than_its_successor_is_applied_too(void **state UNUSED) {
	struct db *db = fresh("later");
	int last = 0;
	assert_int_equal(migrate_apply(db, NULL, NULL, NULL), 0);
	must(db, "DROP FUNCTION trabajos_take; DELETE FROM migraciones WHERE version = 17");
	assert_int_equal(migrate_apply(db, count, &last, NULL), 0);
	assert_int_equal(last, 17);
	assert_int_equal(migrate_apply(db, count, &last, NULL), 0);
	assert_int_equal(last, 17);
	db_close(db);
}

static void *apply_too(void *arg) {
	struct db *db = database("together", "postgres");
	intptr_t result = migrate_apply(db, arg ? count : NULL, arg, NULL);
	db_close(db);
	return (void *)result;
}

static void daemons_that_start_together_do_not_disturb_each_other(void **state UNUSED) {
	db_close(fresh("together"));
	pthread_t threads[4];
	for (size_t i = 0; i < COUNT_OF(threads); i++) assert_int_equal(pthread_create(&threads[i], NULL, apply_too, NULL), 0);
	for (size_t i = 0; i < COUNT_OF(threads); i++) {
		void *result;
		pthread_join(threads[i], &result);
		assert_null(result);
	}
}

static void psql_gets_what_migrate_makes(void **state UNUSED) {
	struct db *migrated = fresh("migrated"), *fed = fresh("fed");
	AUTO_FREE char *script = read_file("sql/create_tables.sql");
	int last = 0;
	assert_int_equal(migrate_apply(migrated, NULL, NULL, NULL), 0);
	must(fed, script);
	must(fed, script);
	assert_int_equal(migrate_apply(fed, count, &last, NULL), 0);
	assert_int_equal(last, 0);
	AUTO_FREE char *one = recorded(migrated), *other = recorded(fed);
	assert_string_equal(one, other);
	AUTO_FREE char *ours = schema("migrated"), *theirs = schema("fed");
	assert_string_equal(ours, theirs);
	must(migrated, script);
	db_close(migrated);
	db_close(fed);
}

static void a_migration_with_another_text_is_a_conflict(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	struct db *db = fresh("differs");
	assert_int_equal(migrate_apply(db, NULL, NULL, NULL), 0);
	must(db, "UPDATE migraciones SET sha256 = 'another' WHERE version = 1");
	assert_int_equal(migrate_apply(db, NULL, NULL, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFLICT);
	assert_non_null(strstr(error_text(&error), "migration 1-"));
	db_close(db);
}

static void a_text_that_was_published_before_is_none(void **state UNUSED) {
	struct db *db = fresh("superseded");
	int last = 0;
	assert_int_equal(migrate_apply(db, NULL, NULL, NULL), 0);
	must(db, "DELETE FROM migraciones WHERE version = 19; INSERT INTO migraciones (version, name, sha256) VALUES"
		 " (16, 'search', '102aea96d34b0576cc65fbf6264842427492906683412fe170ea7ef6fe2bdced'),"
		 " (19, 'rare', 'db776202718ed3340836f314b67e81e38fe24b1a2952ea4c803312babb836281')");
	assert_int_equal(migrate_apply(db, count, &last, NULL), 0);
	assert_int_equal(last, 0);
	must(db, "UPDATE migraciones SET sha256 = 'another' WHERE version = 16");
	assert_int_equal(migrate_apply(db, NULL, NULL, NULL), -1);
	db_close(db);
}

static void a_newer_database_is_a_conflict(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	struct db *db = fresh("newer");
	assert_int_equal(migrate_apply(db, NULL, NULL, NULL), 0);
	must(db, "INSERT INTO migraciones (version, name, sha256) VALUES (9999, 'future', 'x')");
	assert_int_equal(migrate_apply(db, NULL, NULL, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFLICT);
	assert_non_null(strstr(error_text(&error), "9999"));
	db_close(db);
}

static void a_migration_that_fails_leaves_nothing_behind(void **state UNUSED) {
	static const struct db_statement left = {"left", "SELECT to_regclass('resultados') IS NULL"};
	AUTO_ERROR struct error error = {0};
	struct db *db = fresh("fails");
	struct db_result *result = NULL;
	must(db, "CREATE TABLE workers (foreign_one text)");
	assert_int_equal(migrate_apply(db, NULL, NULL, &error), -1);
	assert_non_null(strstr(error_text(&error), "migration 1-"));
	assert_int_equal(db_execute(db, &left, NULL, &result, NULL), DB_OK);
	assert_int_equal(db_get_int(result, 0, 0), 1);
	db_result_free(result);
	must(db, "DROP TABLE workers");
	assert_int_equal(migrate_apply(db, NULL, NULL, NULL), 0); // the same connection is fit for another try
	db_close(db);
}

static void who_may_create_nothing_can_still_find_all_well(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	struct db *db = fresh("rights");
	assert_int_equal(migrate_apply(db, NULL, NULL, NULL), 0);
	must(db, "CREATE ROLE reader LOGIN; GRANT SELECT ON migraciones TO reader");
	struct db *reader = database("rights", "reader");
	if (migrate_apply(reader, NULL, NULL, &error)) fail_msg("%s", error_text(&error));
	db_close(reader);
	db_close(db);
}

static int64_t number(struct db *db, const char *sql) {
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	struct db_statement statement = {sql, sql};
	if (db_execute(db, &statement, NULL, &result, &error) != DB_OK) fail_msg("%s", error_text(&error));
	int64_t value = db_get_int(result, 0, 0);
	db_result_free(result);
	return value;
}

#define ROLES  "unnest(ARRAY['trabajos_frontend', 'trabajos_worker', 'trabajos_observer']) AS role"
#define TABLES "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND "

static void the_roles_of_daemons_get_what_is_listed_and_no_more(void **state UNUSED) {
	struct db *db = fresh("roles");
	must(db, "CREATE ROLE trabajos_frontend LOGIN; CREATE ROLE trabajos_worker LOGIN; CREATE ROLE trabajos_observer LOGIN");
	assert_int_equal(migrate_apply(db, NULL, NULL, NULL), 0);
	assert_int_equal(migrate_grant(db, NULL), 0); // once more does no harm
	// one that nobody may read was forgotten in sql/grants.sql
	assert_int_equal(number(db, TABLES "NOT EXISTS (SELECT FROM " ROLES
					   " WHERE has_table_privilege(role, tablename::regclass, 'SELECT'))"),
		0);
	assert_int_equal(number(db, TABLES "EXISTS (SELECT FROM " ROLES
					   " WHERE has_table_privilege(role, tablename::regclass, 'TRUNCATE'))"),
		0);
	struct db *worker = database("roles", "trabajos_worker"), *frontend = database("roles", "trabajos_frontend");
	struct db *observer = database("roles", "trabajos_observer");
	must(observer, "SELECT predictions_keep(NULL, 5), predictions_score(5), predictions_learn(), scale_trim(5),"
		       " workers_retire('w', true), workers_keep('w')");
	must(observer, "INSERT INTO scale_actions (actuator, state, wanted, actual) VALUES ('advise', 'asked', 1, 0)");
	must(observer, "SELECT forecasts_score(5, 5), decisions_to_judge(0, 5), decisions_runs(0, 0, 5)");
	must(observer, "UPDATE scale_decisions SET judged_at = now()");
	must(frontend, "SELECT api_scale(5), ranges_told_keep(ARRAY[gen_random_uuid()], '{0}', '{0}', '{0}', '{0}')");
	db_close(observer);
	assert_int_equal(migrate_apply(worker, NULL, NULL, NULL), 0);
	must(worker, "SELECT * FROM trabajos_take('w', 1, 30, 0, NULL)");
	must(frontend, "UPDATE workers SET draining = true WHERE worker = 'w'");
	assert_int_not_equal(db_script(frontend, "UPDATE workers SET slots = 0", NULL), DB_OK);
	must(frontend, "SELECT * FROM trabajos_cancel(gen_random_uuid(), NULL, 'why')");
	assert_int_not_equal(db_script(worker, "CREATE TABLE of_a_worker (i integer)", NULL), DB_OK);
	assert_int_not_equal(db_script(frontend, "UPDATE attempts SET outcome = NULL", NULL), DB_OK);
	assert_int_not_equal(db_script(frontend, "DELETE FROM trabajos", NULL), DB_OK);
	db_close(worker);
	db_close(frontend);
	must(db, "DROP OWNED BY trabajos_frontend, trabajos_worker, trabajos_observer;"
		 " DROP ROLE trabajos_frontend, trabajos_worker, trabajos_observer");
	db_close(db);
}

static int start(void **state UNUSED) {
	return scratch_open(&scratch);
}

static int stop(void **state UNUSED) {
	scratch_close(&scratch);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_migration_is_applied_once),
		cmocka_unit_test(one_that_came_later_than_its_successor_is_applied_too),
		cmocka_unit_test(daemons_that_start_together_do_not_disturb_each_other),
		cmocka_unit_test(psql_gets_what_migrate_makes),
		cmocka_unit_test(a_migration_with_another_text_is_a_conflict),
		cmocka_unit_test(a_text_that_was_published_before_is_none),
		cmocka_unit_test(a_newer_database_is_a_conflict),
		cmocka_unit_test(a_migration_that_fails_leaves_nothing_behind),
		cmocka_unit_test(who_may_create_nothing_can_still_find_all_well),
		cmocka_unit_test(the_roles_of_daemons_get_what_is_listed_and_no_more),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
