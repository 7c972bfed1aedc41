// What the ledger remembers as a period to play again: against a real PostgreSQL.

#include "lib/migrate.h"
#include "observer/replay_ledger.h"
#include "tests/unit/scratch_db.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define DEADLINE_MS 60000

static struct scratch_db scratch;
static struct db *db;

static void run(const char *sql) {
	AUTO_ERROR struct error error = {0};
	if (db_script(db, sql, &error) != DB_OK) fail_msg("%s", error_text(&error));
}

static int empty(void **state) {
	(void)state;
	run("TRUNCATE trabajos CASCADE; TRUNCATE attempts, workers, scale_decisions");
	return 0;
}

static int open_db(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	if (scratch_open(&scratch) || db_open(&scratch.config, &error, &db) || migrate_apply(db, NULL, NULL, &error)) return -1;
	return 0;
}

static int close_db(void **state) {
	(void)state;
	db_close(db);
	scratch_close(&scratch);
	return 0;
}

// Job n of the owner was posted so many seconds ago, waited, and ran.
static void add_run(int n, const char *owner, int posted_ago_s, int wait_s, int run_s) {
	AUTO_FREE char *sql = mem_format(
		"INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, attempt, status)"
		" VALUES (('00000000-0000-4000-8000-' || lpad('%d', 12, '0'))::uuid, '%s', 'u', 'https://a/b', '', now() - interval '%d s',"
		" now() - interval '%d s', 1, 'Finished');"
		"INSERT INTO attempts (key, attempt, owner, worker, started_at, finished_at)"
		" VALUES (('00000000-0000-4000-8000-' || lpad('%d', 12, '0'))::uuid, 1, '%s', 'w%d', now() - interval '%d s', now() - interval '%d s')",
		n, owner, posted_ago_s, posted_ago_s, n, owner, n % 3, posted_ago_s - wait_s, posted_ago_s - wait_s - run_s);
	run(sql);
}

static int read_back(struct replay_trace *trace, struct replay_ledger *ledger, struct error *error) {
	return replay_ledger_read(&scratch.config, 24, DEADLINE_MS, trace, ledger, error);
}

static bool is_about(int64_t a, int64_t b) { // rows of different statements have different moments of now()
	return a > b - 1500 && a < b + 1500;
}

static void runs_come_back_with_their_arrival_their_time_and_their_user(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	struct replay_ledger ledger;
	AUTO_ERROR struct error error = {0};
	add_run(1, "ana", 1000, 0, 20);
	add_run(2, "bea", 900, 30, 5);
	add_run(3, "ana", 800, 90, 100);
	add_run(4, "old", 90000, 0, 5); // ended more than a day ago
	run("INSERT INTO scale_decisions (wanted, actual, bound, reason, actuator, sample) VALUES (5, 3, 'deadline', '', 'advise', '{}'),"
	    " (1, 3, 'kept', '', 'advise', '{}');"
	    "UPDATE scale_decisions SET judged_at = now(), until = at + interval '10 s', needed = 3, late = 2, claimed = 4, worker_ms = 9"
	    " WHERE wanted = 1;"
	    "INSERT INTO workers (worker, host, pid, version, slots, isolation) VALUES ('w1', 'h', 1, '0', 4, 'full')");
	assert_int_equal(read_back(&trace, &ledger, &error), 0);
	assert_int_equal(trace.count, 3);
	assert_int_equal(trace.users, 2);
	assert_int_equal(trace.jobs[0].arrival_ms, 0);
	assert_true(is_about(trace.jobs[1].arrival_ms, 100000) && is_about(trace.jobs[2].arrival_ms, 200000));
	assert_int_equal(trace.jobs[2].run_ms, 100000);
	assert_int_equal(trace.jobs[0].user, trace.jobs[2].user);
	assert_int_equal(ledger.runs, 3);
	assert_int_equal(ledger.in_time, 2);
	assert_int_equal(ledger.p50_ms, 30000);
	assert_int_equal(ledger.p95_ms, 90000);
	assert_int_equal(ledger.slots, 4);
	assert_int_equal(ledger.at_once, 1);
	assert_int_equal(ledger.workers, 1);
	assert_int_equal(ledger.decisions, 2);
	assert_int_equal(ledger.most, 5);
	assert_int_equal(ledger.least, 1);
	assert_int_equal(ledger.there_most, 3);
	assert_int_equal(ledger.judged, 1);
	assert_int_equal(ledger.more, 1);
	assert_int_equal(ledger.late, 2);
	assert_int_equal(ledger.needed_ms, 30000);
	assert_int_equal(ledger.worst_count, 1);
	assert_int_equal(ledger.worst[0].needed, 3);
	replay_trace_clear(&trace);
}

// A first attempt that was lost, and a second one that had to wait for its backoff until 100 s ago.
static void each_attempt_is_a_job_that_arrived_when_it_might_be_claimed(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	struct replay_ledger ledger;
	AUTO_ERROR struct error error = {0};
	add_run(1, "ana", 1000, 10, 100);
	run("INSERT INTO attempts (key, attempt, owner, worker, started_at, finished_at) SELECT key, 2, owner, 'w9',"
	    " now() - interval '80 s', now() - interval '50 s' FROM trabajos;"
	    "UPDATE trabajos SET attempt = 2, eligible_at = now() - interval '100 s'");
	assert_int_equal(read_back(&trace, &ledger, &error), 0);
	assert_int_equal(trace.count, 2);
	assert_true(is_about(trace.jobs[1].arrival_ms, 900000));
	assert_int_equal(trace.jobs[1].run_ms, 30000);
	assert_int_equal(ledger.at_once, 1);
	assert_int_equal(ledger.workers, 1);
	assert_true(is_about(ledger.p50_ms, 10000));
	assert_true(is_about(ledger.p95_ms, 20000));
	replay_trace_clear(&trace);
}

static void the_workers_are_those_that_what_ran_at_once_took(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	struct replay_ledger ledger;
	AUTO_ERROR struct error error = {0};
	for (int i = 0; i < 9; i++) add_run(i, "ana", 1000 - i, 0, i < 5 ? 100 : 2);
	run("INSERT INTO workers (worker, host, pid, version, slots, isolation) VALUES ('w1', 'h', 1, '0', 4, 'full')");
	assert_int_equal(read_back(&trace, &ledger, &error), 0);
	assert_true(ledger.at_once == 6 || ledger.at_once == 7); // one ends as the next but one begins
	assert_int_equal(ledger.workers, 2);
	replay_trace_clear(&trace);
}

static void an_empty_ledger_says_so(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	struct replay_ledger ledger;
	AUTO_ERROR struct error error = {0};
	assert_int_equal(read_back(&trace, &ledger, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_string_equal(error_text(&error), "ledger: no run ended in the last 24 h");
}

static void a_database_that_is_away_is_named(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	struct replay_ledger ledger;
	AUTO_ERROR struct error error = {0};
	struct db_config away = scratch.config;
	char nobody[] = "1";
	away.port = nobody;
	assert_int_equal(replay_ledger_read(&away, 24, DEADLINE_MS, &trace, &ledger, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAVAILABLE);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(runs_come_back_with_their_arrival_their_time_and_their_user, empty),
		cmocka_unit_test_setup(each_attempt_is_a_job_that_arrived_when_it_might_be_claimed, empty),
		cmocka_unit_test_setup(the_workers_are_those_that_what_ran_at_once_took, empty),
		cmocka_unit_test_setup(an_empty_ledger_says_so, empty),
		cmocka_unit_test_setup(a_database_that_is_away_is_named, empty),
	};
	return cmocka_run_group_tests_name("replay_ledger", tests, open_db, close_db);
}
