#include "lib/migrate.h"

#include "lib/digest.h"
#include "lib/mem.h"

#include <stdbool.h>

// Each step is a transaction that holds the lock, so that no lock outlives a lost connection, and daemons that start
// together apply a migration once. What is needed to find out that all is well is reading, and no right to create.
#define LOCK "SELECT pg_advisory_xact_lock(hashtextextended('trabajos migraciones', 0))"

// A migration goes through whole tables, also on a connection with steady_plans.
#define ANY_PLAN                                                                                                               \
	"SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL enable_hashjoin = on;"                     \
	" SET LOCAL enable_mergejoin = on; SET LOCAL statement_timeout = 0; "

static const struct db_statement exists = {"migrate_exists", "SELECT to_regclass('migraciones') IS NOT NULL"};
static const struct db_statement list = {"migrate_list", "SELECT version, sha256 FROM migraciones ORDER BY version"};
static const struct db_statement find = {"migrate_find", "SELECT sha256 FROM migraciones WHERE version = $1::integer"};
static const struct db_statement record = {
	"migrate_record", "INSERT INTO migraciones (version, name, sha256) VALUES ($1::integer, $2::text, $3::text)"};

static const char create[] =
	"BEGIN; " LOCK "; CREATE TABLE IF NOT EXISTS migraciones (version integer PRIMARY KEY,"
	" name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); COMMIT";

static int failed(enum db_status status, struct error *error) {
	if (status == DB_OK) return 0;
	return error_wrap(error, "migrations");
}

static const struct migration *migration_of(int64_t version) {
	for (const struct migration *migration = migrations; migration->version; migration++)
		if (migration->version == version) return migration;
	return NULL;
}

static bool was_superseded(int64_t version, const char *sum) {
	for (const struct migration_superseded *one = migrate_superseded; one->version; one++)
		if (one->version == version && !strcmp(one->sha256, sum)) return true;
	return false;
}

static int compare(int64_t version, const char *applied_sum, struct error *error) {
	const struct migration *ours = migration_of(version);
	if (was_superseded(version, applied_sum)) return 0;
	if (!ours)
		return error_set(error, ERROR_CONFLICT,
			"the database has migration %lld, which this program does not know: it is newer", (long long)version);
	char sum[DIGEST_TEXT];
	digest_sha256_hex(ours->sql, strlen(ours->sql), sum);
	if (!strcmp(sum, applied_sum)) return 0;
	return error_set(error, ERROR_CONFLICT, "migration %d-%s was applied to the database with another text", ours->version,
		ours->name);
}

// Compares what was applied with what we have; *applied lists it, NULL: nothing. db_result_free.
static int check_applied(struct db *db, struct db_result **applied, struct error *error) {
	struct db_result *result = NULL;
	if (failed(db_execute(db, &exists, NULL, &result, error), error)) return -1;
	bool there = db_get_int(result, 0, 0);
	db_result_free(result);
	if (!there) return failed(db_script(db, create, error), error);
	if (failed(db_execute(db, &list, NULL, applied, error), error)) return -1;
	int outcome = 0;
	for (size_t row = 0; !outcome && row < db_rows(*applied); row++)
		outcome = compare(db_get_int(*applied, row, 0), db_get(*applied, row, 1), error);
	return outcome;
}

static bool was_applied(const struct db_result *applied, int64_t version) {
	for (size_t row = 0; applied && row < db_rows(applied); row++)
		if (db_get_int(applied, row, 0) == version) return true;
	return false;
}

// 1: somebody else was quicker.
static int apply_locked(struct db *db, const struct migration *migration, struct error *error) {
	char sum[DIGEST_TEXT];
	digest_sha256_hex(migration->sql, strlen(migration->sql), sum);
	struct db_params *params = db_params_new();
	db_int(params, migration->version);
	struct db_result *result = NULL;
	enum db_status status = db_execute(db, &find, params, &result, error);
	bool there = status == DB_OK && db_rows(result);
	db_result_free(result);
	if (status == DB_OK && !there) {
		db_text(params, migration->name);
		db_text(params, sum);
		status = db_script(db, migration->sql, error);
		if (status == DB_OK) status = db_execute(db, &record, params, NULL, error);
	}
	db_params_free(params);
	if (status != DB_OK) return error_wrap(error, "migration %d-%s", migration->version, migration->name);
	return there;
}

static int apply(struct db *db, const struct migration *migration, struct error *error) {
	if (failed(db_script(db, "BEGIN; " ANY_PLAN LOCK, error), error)) return -1;
	int outcome = apply_locked(db, migration, error);
	if (outcome < 0) {
		(void)!db_script(db, "ROLLBACK", NULL);
		return -1;
	}
	return failed(db_script(db, "COMMIT", error), error) ? -1 : outcome;
}

int migrate_grant(struct db *db, struct error *error) {
	enum db_status status = db_script(db, "BEGIN; " LOCK, error);
	if (status == DB_OK) status = db_script(db, migrate_grants, error);
	if (status == DB_OK) status = db_script(db, "COMMIT", error);
	if (status == DB_OK) return 0;
	(void)!db_script(db, "ROLLBACK", NULL);
	return error_wrap(error, "rights of the daemons' roles");
}

int migrate_apply(
	struct db *db, void (*applied)(const struct migration *migration, void *arg), void *arg, struct error *error) {
	struct db_result *before = NULL;
	bool any = false;
	int outcome = check_applied(db, &before, error);
	// whatever is missing: one with a lower number may have come later than its successor
	for (const struct migration *migration = migrations; outcome >= 0 && migration->version; migration++) {
		if (was_applied(before, migration->version)) continue;
		outcome = apply(db, migration, error);
		if (outcome == 0) any = true;
		if (outcome == 0 && applied) applied(migration, arg);
	}
	db_result_free(before);
	if (outcome < 0) return -1;
	return any ? migrate_grant(db, error) : 0;
}
