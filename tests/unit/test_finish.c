// The ends of attempts on their way into a real PostgreSQL: many in one statement, each with an answer of its own.
#include "lib/db.h"
#include "lib/log.h"
#include "lib/migrate.h"
#include "tests/unit/scratch_db.h"
#include "worker/finish.h"
#include "worker/output.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MOST = 4, PATIENCE_MS = 20000 };

static struct scratch_db scratch;
static struct db *db;

static void must(const char *sql) {
	AUTO_ERROR struct error error = {0};
	if (db_script(db, sql, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
}

static void assert_says(const char *sql, const char *expected) {
	AUTO_ERROR struct error error = {0};
	const struct db_statement statement = {"", sql};
	struct db_result *result = NULL;
	struct db *asking;
	assert_int_equal(db_open(&scratch.config, NULL, &asking), 0);
	if (db_execute(asking, &statement, NULL, &result, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
	assert_string_equal(db_rows(result) ? db_get(result, 0, 0) : "no row", expected);
	db_result_free(result);
	db_close(asking);
}

#define KEY(n)  "00000000-0000-7000-8000-00000000000" #n
#define RUNNING "SELECT count(*) FROM trabajos WHERE status = 'Running'"

// ---- a worker that has nothing but its ledger, and up to four attempts that end

struct attempt {
	struct finish_entry entry;
	bool over, ours;
	enum db_status status;
	enum error_kind kind;
};

struct rig {
	struct loop_timer *patience;
	struct worker worker;
	struct db_config config;
	struct attempt attempts[MOST];
	size_t awaited;
};

static struct rig rig;

static void done(enum db_status status, bool ours, const struct error *error, void *arg) {
	struct attempt *attempt = arg;
	assert_false(attempt->over);
	attempt->over = true;
	attempt->ours = ours;
	attempt->status = status;
	attempt->kind = error ? error->kind : ERROR_NONE;
	if (rig.awaited && --rig.awaited == 0) loop_stop(rig.worker.loop);
}

static void patience_lost(void *arg UNUSED) {
	fail_msg("%zu ends were not answered", rig.awaited);
}

static void run_until(size_t answers) {
	rig.awaited = answers;
	loop_timer_set(rig.patience, PATIENCE_MS);
	loop_run(rig.worker.loop);
	loop_timer_stop(rig.patience);
}

static struct finish_entry *end(size_t i, const char *key, int64_t attempt, const char *status) {
	struct attempt *made = &rig.attempts[i];
	*made = (struct attempt){.entry = {.key = key,
					 .attempt = attempt,
					 .status = status,
					 .outcome = mem_strdup("{\"code\": \"ok\"}"),
					 .detail = mem_strdup("{}"),
					 .execution_ms = 7,
					 .output = output_new(1000),
					 .done = done,
					 .arg = made}};
	return &made->entry;
}

static void session_state(int connected UNUSED, const char *why UNUSED, void *arg UNUSED) {
	if (db_session_ready(rig.worker.ledger)) loop_stop(rig.worker.loop);
}

static void connect_with(const char *options) {
	rig.config = scratch.config;
	rig.config.options = (char *)(uintptr_t)options;
	rig.worker.ledger = db_session_open(rig.worker.loop, &rig.config);
	db_session_watch(rig.worker.ledger, session_state, NULL);
	run_until(1);
	db_session_watch(rig.worker.ledger, NULL, NULL);
	rig.worker.finisher = finisher_new(&rig.worker);
}

// Three jobs of one owner, all of them running: claimed once.
static int three_run(void **state UNUSED) {
	must("TRUNCATE trabajos, workers");
	must("SELECT trabajos_add(('00000000-0000-7000-8000-00000000000' || n)::uuid, 'ana', 'ana-name', false, 'u', '{}', 'f', NULL,"
	     " 0::smallint, NULL, 2, NULL, 1, false, now(), now() - interval '1 s') FROM generate_series(1, 3) n");
	must("SELECT trabajos_claim('worker-1', 9, 30, 0, NULL)");
	assert_says(RUNNING, "3");
	rig = (struct rig){.worker.loop = loop_new()};
	rig.patience = loop_timer_new(rig.worker.loop, patience_lost, NULL);
	return 0;
}

static int clear(void **state UNUSED) {
	finisher_free(rig.worker.finisher);
	db_session_close(rig.worker.ledger);
	loop_timer_free(rig.patience);
	for (size_t i = 0; i < MOST; i++) {
		free(rig.attempts[i].entry.outcome);
		free(rig.attempts[i].entry.detail);
		output_free(rig.attempts[i].entry.output);
	}
	loop_free(rig.worker.loop);
	return 0;
}

// ---- tests

static void each_end_is_answered_and_a_fenced_one_writes_nothing(void **state UNUSED) {
	connect_with("");
	finish_attempt(rig.worker.finisher, end(0, KEY(1), 1, "Finished"));
	finish_attempt(rig.worker.finisher, end(1, KEY(2), 2, "Finished")); // never was
	finish_attempt(rig.worker.finisher, end(2, KEY(3), 1, "Failed"));
	output_add(rig.attempts[0].entry.output, 1, "hello", 5, 0);
	run_until(3);
	for (size_t i = 0; i < 3; i++) assert_int_equal(rig.attempts[i].status, DB_OK);
	assert_true(rig.attempts[0].ours);
	assert_false(rig.attempts[1].ours);
	assert_true(rig.attempts[2].ours);
	assert_says("SELECT string_agg(right(key, 1) || status, ' ' ORDER BY key) FROM resultados", "1Finished 3Failed");
	assert_says("SELECT convert_from(data, 'UTF8') FROM logs WHERE key = '" KEY(1) "'", "hello");
	assert_says(RUNNING, "1");
}

static void an_end_whose_values_are_refused_keeps_no_other_from_the_ledger(void **state UNUSED) {
	connect_with("");
	finish_attempt(rig.worker.finisher, end(0, KEY(1), 1, "Finished"));
	finish_attempt(rig.worker.finisher, end(1, KEY(2), 1, "Finished"));
	finish_attempt(rig.worker.finisher, end(2, KEY(3), 1, "Finished"));
	free(rig.attempts[1].entry.outcome);
	rig.attempts[1].entry.outcome = mem_strdup("{\"message\": \"\\u0000\"}"); // text that jsonb cannot hold
	run_until(3);
	assert_true(rig.attempts[0].ours && rig.attempts[2].ours);
	assert_int_equal(rig.attempts[1].status, DB_BAD_DATA);
	assert_false(rig.attempts[1].ours);
	assert_says(RUNNING, "1");

	// Its worker leaves the refused values out, and that is written.
	free(rig.attempts[1].entry.outcome);
	free(rig.attempts[1].entry.detail);
	output_free(rig.attempts[1].entry.output);
	finish_attempt(rig.worker.finisher, end(1, KEY(2), 1, "Failed"));
	run_until(1);
	assert_true(rig.attempts[1].ours);
	assert_says(RUNNING, "0");
}

static void an_end_that_meets_a_lock_is_not_written_and_can_be_tried_again(void **state UNUSED) {
	connect_with("options='-c lock_timeout=10ms'");
	must("BEGIN; SELECT FROM trabajos WHERE key = '" KEY(1) "' FOR UPDATE");
	finish_attempt(rig.worker.finisher, end(0, KEY(1), 1, "Finished"));
	run_until(1);
	must("COMMIT");
	assert_int_equal(rig.attempts[0].status, DB_RETRY);
	assert_says(RUNNING, "3");
	rig.attempts[0].over = false;
	finish_attempt(rig.worker.finisher, &rig.attempts[0].entry);
	run_until(1);
	assert_true(rig.attempts[0].ours);
	assert_says(RUNNING, "2");
}

static void a_statement_that_cannot_run_is_told_to_each(void **state UNUSED) {
	connect_with("");
	must("ALTER TABLE dead_letters RENAME TO gone");
	finish_attempt(rig.worker.finisher, end(0, KEY(1), 1, "Finished"));
	finish_attempt(rig.worker.finisher, end(1, KEY(2), 1, "Finished"));
	run_until(2);
	must("ALTER TABLE gone RENAME TO dead_letters");
	for (size_t i = 0; i < 2; i++) assert_int_equal(rig.attempts[i].status, DB_FAILED);
	assert_says(RUNNING, "3");
}

static void ends_wait_for_the_ledger_and_land_when_it_is_back(void **state UNUSED) {
	connect_with("");
	must("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'unit' AND pid <> pg_backend_pid()");
	finish_attempt(rig.worker.finisher, end(0, KEY(1), 1, "Finished"));
	run_until(1);
	// Where it was sent before the loss showed, nothing is known of it; whoever asks again learns it.
	if (rig.attempts[0].status != DB_OK) {
		assert_int_equal(rig.attempts[0].status, DB_UNAVAILABLE);
		rig.attempts[0].over = false;
		finish_attempt(rig.worker.finisher, &rig.attempts[0].entry);
		run_until(1);
		assert_int_equal(rig.attempts[0].status, DB_OK);
	}
	assert_says(RUNNING, "2");
}

static void an_end_that_was_not_sent_is_told_so_when_the_worker_stops(void **state UNUSED) {
	connect_with("");
	finish_attempt(rig.worker.finisher, end(0, KEY(1), 1, "Finished"));
	finish_attempt(rig.worker.finisher, end(1, KEY(2), 1, "Finished"));
	finisher_free(STEAL(rig.worker.finisher));
	for (size_t i = 0; i < 2; i++) {
		assert_true(rig.attempts[i].over);
		assert_int_equal(rig.attempts[i].status, DB_UNAVAILABLE);
		assert_int_equal(rig.attempts[i].kind, ERROR_UNAVAILABLE);
	}
	assert_says(RUNNING, "3");
	finisher_free(NULL);
}

static int start(void **state UNUSED) {
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	AUTO_ERROR struct error error = {0};
	if (scratch_open(&scratch) || db_open(&scratch.config, &error, &db)) return -1;
	return migrate_apply(db, NULL, NULL, &error);
}

static int stop(void **state UNUSED) {
	db_close(db);
	scratch_close(&scratch);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_end_is_answered_and_a_fenced_one_writes_nothing, three_run, clear),
		cmocka_unit_test_setup_teardown(
			an_end_whose_values_are_refused_keeps_no_other_from_the_ledger, three_run, clear),
		cmocka_unit_test_setup_teardown(
			an_end_that_meets_a_lock_is_not_written_and_can_be_tried_again, three_run, clear),
		cmocka_unit_test_setup_teardown(a_statement_that_cannot_run_is_told_to_each, three_run, clear),
		cmocka_unit_test_setup_teardown(ends_wait_for_the_ledger_and_land_when_it_is_back, three_run, clear),
		cmocka_unit_test_setup_teardown(an_end_that_was_not_sent_is_told_so_when_the_worker_stops, three_run, clear),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
