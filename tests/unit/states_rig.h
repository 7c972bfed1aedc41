// The ledger in a scratch PostgreSQL, and the worker's own statements on it, for tests of transitions.
#pragma once

#include "lib/db.h"
#include "lib/mem.h"
#include "lib/migrate.h"
#include "tests/unit/scratch_db.h"
#include "worker/statements.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct scratch_db scratch;
static struct db *db;

static inline void must(const char *sql) {
	AUTO_ERROR struct error error = {0};
	if (db_script(db, sql, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
}

// The first value of a question asked once, as text; owned.
static inline char *ask(const char *sql) {
	AUTO_ERROR struct error error = {0};
	const struct db_statement statement = {"", sql};
	struct db_result *result = NULL;
	struct db *asking;
	assert_int_equal(db_open(&scratch.config, NULL, &asking), 0);
	if (db_execute(asking, &statement, NULL, &result, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
	const char *value = db_rows(result) ? db_get(result, 0, 0) : NULL;
	char *text = mem_strdup(value ? value : "NULL");
	db_result_free(result);
	db_close(asking);
	return text;
}

#define assert_says(sql, expected)                                                                                             \
	do {                                                                                                                   \
		AUTO_FREE char *said_ = ask(sql);                                                                              \
		assert_string_equal(said_, expected);                                                                          \
	} while (0)

// Every state has its row in its table, and only there.
static inline void assert_sound(void) {
	assert_says("SELECT count(*) FROM trabajos t WHERE (t.status = 'Queued') <> ("
		    " EXISTS (SELECT FROM queue q WHERE q.key = t.key AND q.attempt = t.attempt)"
		    " OR EXISTS (SELECT FROM delayed d WHERE d.key = t.key AND d.eligible_at = t.eligible_at)"
		    " OR EXISTS (SELECT FROM concurrency c WHERE c.key = t.key AND NOT c.holds))",
		"0");
	assert_says(
		"SELECT count(*) FROM queue q LEFT JOIN trabajos t ON t.key = q.key WHERE t.status IS DISTINCT FROM 'Queued'",
		"0");
	assert_says(
		"SELECT count(*) FROM delayed d LEFT JOIN trabajos t ON t.key = d.key WHERE t.status IS DISTINCT FROM 'Queued'",
		"0");
	assert_says("SELECT count(*) FROM trabajos t WHERE (t.status = 'Running') <> EXISTS (SELECT FROM attempts a"
		    " WHERE a.key = t.key AND a.attempt = t.attempt AND a.finished_at IS NULL)",
		"0");
	assert_says("SELECT count(*) FROM attempts a JOIN trabajos t ON t.key = a.key"
		    " WHERE a.finished_at IS NULL AND (t.status <> 'Running' OR t.attempt <> a.attempt)",
		"0");
	assert_says("SELECT count(*) FROM trabajos t FULL JOIN resultados r ON r.key = t.key::text"
		    " WHERE coalesce(t.status, '') IN ('Finished', 'Failed', 'Cancelled') <> (r.key IS NOT NULL)",
		"0");
	assert_says("SELECT count(*) FROM (SELECT * FROM trabajos WHERE status IN ('Failed', 'Cancelled')) t"
		    " FULL JOIN unsuccessful u ON u.key = t.key AND u.status = t.status AND u.posted_at = t.posted_at"
		    " AND u.owner = t.owner AND u.usuario = t.usuario WHERE t.key IS NULL OR u.key IS NULL",
		"0");
	assert_says("SELECT count(*) FROM trabajos t WHERE t.concurrency_key IS NOT NULL AND"
		    " (t.status IN ('Queued', 'Running')) <> EXISTS (SELECT FROM concurrency c WHERE c.key = t.key)",
		"0");
}

#define KEY(n) "'00000000-0000-7000-8000-00000000000" #n "'"

// A job of an owner's; the rest: further columns of trabajos as "name = value" pairs are not needed here.
#define ADD(n, owner, priority, shared, limit, replace, eligible)                                                              \
	must("SELECT trabajos_add(" KEY(                                                                                       \
		n) ", '" owner "', '" owner "-name', false, 'https://a.example/r', '{}', 'f', NULL, " #priority                \
		   "::smallint, NULL, 2, " shared ", " #limit ", " #replace ", now() - interval '" #n " s', " eligible ")")
#define ADD_PLAIN(n, owner, priority) ADD(n, owner, priority, "NULL", 1, false, "now() - interval '1 s'")

static inline char *claim(int most, int user_limit, const char *weights) {
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	struct db_params *params = db_params_new();
	db_text(params, "worker-1");
	db_int(params, most);
	db_int(params, 30);
	db_int(params, user_limit);
	db_text(params, weights);
	if (db_execute(db, &worker_claim, params, &result, &error) != DB_OK) fail_msg("%s", error_text(&error));
	char *owners = mem_strdup("");
	for (size_t row = 0; row < db_rows(result); row++) {
		if (!db_get(result, row, 1)) continue;
		char *longer = mem_format("%s%s%s", owners, *owners ? " " : "", db_get(result, row, 3));
		free(owners);
		owners = longer;
	}
	db_result_free(result);
	db_params_free(params);
	return owners;
}

#define assert_claims(most, expected)                                                                                          \
	do {                                                                                                                   \
		AUTO_FREE char *owners_ = claim(most, 0, NULL);                                                                \
		assert_string_equal(owners_, expected);                                                                        \
	} while (0)

// Ends the running attempt of one job; how many were ours.
static inline int64_t finish_one(const char *key, int64_t attempt, const char *status, int64_t delay_ms) {
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	struct db_params *params = db_params_new();
	const char *outcome = "{\"code\": \"exit\"}", *none = NULL;
	int64_t zero = 0, one = 1;
	db_text_array(params, &key, 1);
	db_int_array(params, &attempt, 1);
	db_text_array(params, &status, 1);
	db_int_array(params, &delay_ms, 1);
	db_int_array(params, &one, 1);
	db_text_array(params, &outcome, 1);
	db_text_array(params, &outcome, 1);
	db_int_array(params, &zero, 1);
	db_text_array(params, &none, 1);
	db_int_array(params, &one, 1);
	db_int_array(params, &zero, 1);
	for (int i = 0; i < 4; i++) db_int_array(params, NULL, 0);
	db_bytes_array(params, NULL, NULL, 0);
	if (db_execute(db, &worker_finish, params, &result, &error) != DB_OK) fail_msg("%s", error_text(&error));
	int64_t rows = (int64_t)db_rows(result);
	db_result_free(result);
	db_params_free(params);
	return rows;
}

#define FINISH(n, attempt, status) finish_one("00000000-0000-7000-8000-00000000000" #n, attempt, status, 0)

// Claims at once by several workers, each of which ends one of its own in every round.
struct claimers {
	int most, user_limit; // of a claim
	int64_t running_most; // at any time, over all of them
	const char *end;      // a statement; $1: the worker
};

enum { CLAIMERS = 4, CLAIM_ROUNDS = 30 };

struct claimer_thread {
	const struct claimers *claimers;
	int number;
	pthread_t thread;
	unsigned failed, over;
};

static inline bool claimer_runs(struct db *mine, const struct db_statement *statement, struct db_params *params) {
	enum db_status status = db_execute(mine, statement, params, NULL, NULL);
	db_params_free(params);
	return status == DB_OK || status == DB_RETRY; // others were in the way
}

static inline void *claimer_run(void *arg) {
	static const struct db_statement running = {"running", "SELECT count(*) FROM attempts WHERE finished_at IS NULL"};
	struct claimer_thread *self = arg;
	const struct db_statement end = {"end", self->claimers->end};
	AUTO_FREE char *name = mem_format("worker-%d", self->number);
	struct db *mine;
	assert_int_equal(db_open(&scratch.config, NULL, &mine), 0);
	for (int round = 0; round < CLAIM_ROUNDS; round++) {
		struct db_result *result = NULL;
		struct db_params *params = db_params_new(), *mine_only = db_params_new();
		db_text(params, name);
		db_int(params, self->claimers->most);
		db_int(params, 30);
		db_int(params, self->claimers->user_limit);
		db_text(params, NULL);
		self->failed += !claimer_runs(mine, &worker_claim, params);
		bool counted = db_execute(mine, &running, NULL, &result, NULL) == DB_OK;
		self->failed += !counted;
		self->over += counted && db_get_int(result, 0, 0) > self->claimers->running_most;
		db_result_free(result);
		db_text(mine_only, name);
		self->failed += !claimer_runs(mine, &end, mine_only);
	}
	db_close(mine);
	return NULL;
}

static inline void claim_at_once(const struct claimers *claimers) {
	struct claimer_thread threads[CLAIMERS];
	for (int i = 0; i < CLAIMERS; i++) {
		threads[i] = (struct claimer_thread){.claimers = claimers, .number = i};
		assert_int_equal(pthread_create(&threads[i].thread, NULL, claimer_run, &threads[i]), 0);
	}
	for (int i = 0; i < CLAIMERS; i++) pthread_join(threads[i].thread, NULL);
	for (int i = 0; i < CLAIMERS; i++) {
		assert_int_equal(threads[i].failed, 0);
		assert_int_equal(threads[i].over, 0);
	}
}

static inline int empty(void **state UNUSED) {
	must("TRUNCATE trabajos, workers");
	return 0;
}

static inline int start(void **state UNUSED) {
	return scratch_open(&scratch) || db_open(&scratch.config, NULL, &db) || migrate_apply(db, NULL, NULL, NULL) ? -1 : 0;
}

static inline int stop(void **state UNUSED) {
	db_close(db);
	scratch_close(&scratch);
	return 0;
}
