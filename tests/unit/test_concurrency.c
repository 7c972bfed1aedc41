// Concurrency keys (sql/0002-states.sql), against a real PostgreSQL.
#include "tests/unit/states_rig.h"

static void of_one_key_no_more_run_than_the_limit(void **state UNUSED) {
	ADD(1, "ana", 0, "'k'", 2, false, "now()");
	ADD(2, "ana", 0, "'k'", 2, false, "now()");
	ADD(3, "ana", 0, "'k'", 2, false, "now()");
	ADD(4, "ben", 0, "'k'", 2, false, "now()"); // another user's key is another key
	assert_sound();
	assert_claims(9, "ana ben ana");
	assert_claims(9, "");
	assert_int_equal(FINISH(1, 1, "Finished"), 1);
	assert_claims(9, "ana");
	assert_int_equal(
		finish_one("00000000-0000-7000-8000-000000000002", 1, "Queued", 0), 1); // waits anew, and gets its place
	assert_sound();
	assert_claims(9, "ana");
	assert_sound();
}

static void a_newer_job_replaces_the_older_ones(void **state UNUSED) {
	ADD(9, "ana", 0, "'k'", 1, true, "now()");
	assert_claims(1, "ana");
	ADD(5, "ana", 0, "'k'", 1, true, "now()");
	ADD(2, "ana", 0, "'k'", 1, true, "now()");
	assert_says("SELECT concurrency_replace(10)", "2");
	assert_says("SELECT concurrency_replace(10)", "0");
	assert_says(
		"SELECT string_agg(right(key::text, 1) || status || (cancel_requested_at IS NOT NULL), ' ' ORDER BY key) FROM trabajos",
		"2Queuedfalse 5Cancelledtrue 9Runningtrue");
	assert_claims(1, "");
	assert_int_equal(FINISH(9, 1, "Cancelled"), 1);
	assert_claims(1, "ana");
	assert_sound();
}

static void the_newest_post_replaces_however_they_arrive(void **state UNUSED) {
	ADD(2, "ana", 0, "'k'", 1, true, "now()"); // posted after the next one
	ADD(7, "ana", 0, "'k'", 1, false, "now()");
	assert_says("SELECT concurrency_replace(10)", "1");
	assert_says("SELECT string_agg(right(key::text, 1) || status, ' ' ORDER BY key) FROM trabajos", "2Queued 7Cancelled");
	assert_sound();
}

// The claim begins, and waits while the job before ends.
static void by_its_attempts_none_begins_before_the_one_before_has_ended(void **state UNUSED) {
	struct db *claiming;
	ADD(1, "ana", 0, "'k'", 1, false, "now()");
	ADD(2, "ana", 0, "'k'", 1, false, "now()");
	assert_claims(1, "ana");
	assert_int_equal(db_open(&scratch.config, NULL, &claiming), 0);
	assert_int_equal(db_script(claiming, "BEGIN; SELECT now()", NULL), DB_OK);
	assert_int_equal(FINISH(1, 1, "Finished"), 1);
	assert_int_equal(db_script(claiming, "SELECT trabajos_take('worker-2', 1, 30, 0, NULL); COMMIT", NULL), DB_OK);
	db_close(claiming);
	assert_says(
		"SELECT b.started_at >= a.finished_at FROM attempts a, attempts b WHERE a.key = " KEY(1) " AND b.key = " KEY(2),
		"t");
}

// A transaction that began before the waiting job was posted gives its place back after that.
static void a_place_is_not_lost_between_an_older_transaction_and_a_newer_job(void **state UNUSED) {
	struct db *older;
	ADD(1, "ana", 0, "'k'", 1, false, "now()");
	assert_claims(1, "ana");
	assert_int_equal(db_open(&scratch.config, NULL, &older), 0);
	assert_int_equal(db_script(older, "BEGIN; SELECT now()", NULL), DB_OK);
	ADD(2, "ana", 0, "'k'", 1, false, "now()");
	assert_int_equal(
		db_script(older,
			"SELECT trabajos_cancel(" KEY(1) ", NULL, 'x'); UPDATE trabajos SET status = 'Finished' WHERE key = " KEY(
				1) "; UPDATE attempts SET finished_at = now(); INSERT INTO resultados VALUES ('ana-name', " KEY(1) ", 'Finished'); COMMIT",
			NULL),
		DB_OK);
	db_close(older);
	assert_sound();
	assert_claims(1, "ana");
}

static void the_limit_of_a_key_holds_under_claims_at_once(void **state UNUSED) {
	must("SELECT trabajos_add(gen_random_uuid(), 'ana', 'ana', false, 'u', '{}', 'f', NULL, 0::smallint, NULL, 0, 'k', 2, false, now(),"
	     " now()) FROM generate_series(1, 200)");
	claim_at_once(&(struct claimers){.most = 4,
		.running_most = 2,
		.end = "WITH one AS (SELECT t.key FROM trabajos t WHERE t.worker = $1 AND t.status = 'Running' LIMIT 1 FOR UPDATE),"
		       " gone AS (UPDATE trabajos t SET status = 'Finished' FROM one WHERE t.key = one.key RETURNING t.key, t.attempt,"
		       " t.usuario), visible AS (INSERT INTO resultados SELECT usuario, key, 'Finished' FROM gone)"
		       " UPDATE attempts a SET finished_at = now() FROM gone g WHERE a.key = g.key AND a.attempt = g.attempt"});
	assert_sound();
	assert_says("SELECT count(*) FROM concurrency c WHERE holds", "2");
	assert_says("SELECT count(*) > 5 FROM attempts", "t"); // they did claim
}

static void *finish_first(void *arg UNUSED) {
	return (void *)(intptr_t)FINISH(1, 1, "Finished");
}

// A heartbeat and a cancel change the rows after the end's snapshot was taken, and commit while it waits for them.
static void an_end_that_meets_a_heartbeat_and_a_cancel_is_written_whole(void **state UNUSED) {
	struct db *other;
	pthread_t end;
	void *written;
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	assert_int_equal(db_open(&scratch.config, NULL, &other), 0);
	for (int row = 0; row < 2; row++) {
		static const char *const changes[] = {"BEGIN; UPDATE attempts SET lease_until = now()",
			"BEGIN; SELECT trabajos_cancel(" KEY(1) ", NULL, 'x')"};
		must("UPDATE trabajos SET status = 'Running'; UPDATE attempts SET finished_at = NULL; TRUNCATE resultados, outbox");
		assert_int_equal(db_script(other, changes[row], NULL), DB_OK);
		assert_int_equal(pthread_create(&end, NULL, finish_first, NULL), 0);
		assert_int_equal(db_script(other,
					 "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP"
					 " PERFORM pg_sleep(0.005); END LOOP; END $$; COMMIT",
					 NULL),
			DB_OK);
		pthread_join(end, &written);
		assert_int_equal((intptr_t)written, 1);
		assert_says(
			"SELECT t.status || ' ' || (t.cancel_requested_at IS NOT NULL) || ' ' || (a.finished_at IS NOT NULL)"
			" FROM trabajos t JOIN attempts a ON a.key = t.key",
			row ? "Finished true true" : "Finished false true");
		assert_sound();
	}
	db_close(other);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(of_one_key_no_more_run_than_the_limit, empty),
		cmocka_unit_test_setup(by_its_attempts_none_begins_before_the_one_before_has_ended, empty),
		cmocka_unit_test_setup(a_newer_job_replaces_the_older_ones, empty),
		cmocka_unit_test_setup(the_newest_post_replaces_however_they_arrive, empty),
		cmocka_unit_test_setup(a_place_is_not_lost_between_an_older_transaction_and_a_newer_job, empty),
		cmocka_unit_test_setup(the_limit_of_a_key_holds_under_claims_at_once, empty),
		cmocka_unit_test_setup(an_end_that_meets_a_heartbeat_and_a_cancel_is_written_whole, empty),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
