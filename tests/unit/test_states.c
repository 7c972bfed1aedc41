// The transitions of a job in SQL (sql/0002-states.sql and the worker's statements), against a real PostgreSQL.
#include "tests/unit/states_rig.h"

// ---- claim

static void the_owner_with_the_fewest_running_jobs_goes_first(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ana", 0);
	ADD_PLAIN(3, "ana", 0);
	ADD_PLAIN(4, "ben", 0);
	assert_claims(2, "ana ben");
	ADD_PLAIN(5, "eva", 0);
	assert_claims(1, "eva");
	assert_claims(9, "ana ana");
	assert_claims(9, "");
	assert_sound();
}

static void priority_orders_an_owners_own_jobs_only(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ana", 9);
	ADD_PLAIN(3, "ben", 0);
	free(claim(2, 0, NULL));
	assert_says("SELECT string_agg(right(key::text, 1), '' ORDER BY key) FROM trabajos WHERE status = 'Running'", "23");
	assert_sound();
}

// More of them than a claim of one job reads candidates, so that their order in the table must not matter.
static void of_many_owners_with_the_same_turn_the_oldest_job_goes_first(void **state UNUSED) {
	must("SELECT trabajos_add(gen_random_uuid(), to_char(i, '\"owner-\"FM000'), 'u', false, 'u', '{}', 'f', NULL, 0::smallint, NULL, 0,"
	     " NULL, 1, false, now(), now() - i * interval '1 s') FROM generate_series(1, 100) i");
	assert_claims(1, "owner-100");
	assert_claims(2, "owner-099 owner-098");
	assert_sound();
}

static void an_administrators_priority_crosses_users(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	must("SELECT trabajos_add(" KEY(
		2) ", 'root', 'root', true, 'u', '{}', 'f', NULL, 5::smallint, NULL, 0, NULL, 1, false, now(), now())");
	must("SELECT trabajos_add(" KEY(
		3) ", 'root', 'root', true, 'u', '{}', 'f', NULL, 4::smallint, NULL, 0, NULL, 1, false, now(), now())");
	must("SELECT trabajos_add(" KEY(
		4) ", 'root', 'root', true, 'u', '{}', 'f', NULL, (-4)::smallint, NULL, 0, NULL, 1, false, now(), now())");
	assert_claims(2, "root root");
	assert_claims(1, "ana");
	assert_claims(1, "root");
	assert_sound();
}

static void add_jobs_of_two(void) {
	for (int i = 0; i < 40; i++) {
		AUTO_FREE char *sql = mem_format(
			"SELECT trabajos_add(gen_random_uuid(), '%s', '%s-name', false, 'u', '{}', 'f', NULL, 0::smallint, NULL, 0, NULL, 1,"
			" false, now(), now())",
			i % 2 ? "ana" : "ben", i % 2 ? "ana" : "ben");
		must(sql);
	}
}

static void weights_share_the_slots(void **state UNUSED) {
	add_jobs_of_two();
	free(claim(16, 0, "{\"ana-name\": 3}"));
	assert_says("SELECT string_agg(owner || jobs, ' ' ORDER BY owner) FROM"
		    " (SELECT owner, count(*) AS jobs FROM trabajos WHERE status = 'Running' GROUP BY owner) r",
		"ana12 ben4");
	assert_sound();
}

// A name can change hands.
static void of_an_owner_and_a_name_with_weights_the_owner_counts(void **state UNUSED) {
	add_jobs_of_two();
	free(claim(16, 0, "{\"ana-name\": 1, \"ana\": 3, \"ben-name\": 1}"));
	assert_says("SELECT count(*) FROM trabajos WHERE status = 'Running' AND owner = 'ana'", "12");
}

static void a_draining_worker_claims_nothing(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	must("INSERT INTO workers (worker, host, pid, version, slots, isolation, draining) VALUES ('worker-1', 'h', 1, 'v', 1, 'full', true)");
	assert_claims(1, "");
	must("UPDATE workers SET draining = false");
	assert_claims(1, "ana");
}

static void a_missed_lane_is_found_again_and_an_empty_one_removed(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	must("DELETE FROM lanes; INSERT INTO lanes VALUES (0, 'nobody')");
	assert_claims(1, "");
	must("SELECT lanes_refresh()");
	assert_says("SELECT string_agg(owner, ' ') FROM lanes", "ana");
	assert_claims(1, "ana");
}

static void the_limit_of_a_user_holds_under_claims_at_once(void **state UNUSED) {
	must("SELECT trabajos_add(gen_random_uuid(), 'ana', 'ana', false, 'u', '{}', 'f', NULL, 0::smallint, NULL, 0, NULL, 1, false, now(),"
	     " now()) FROM generate_series(1, 20)");
	claim_at_once(&(struct claimers){.most = 2,
		.user_limit = 3,
		.running_most = 3,
		.end = "WITH one AS (SELECT t.key FROM trabajos t WHERE t.worker = $1 AND t.status = 'Running' LIMIT 1 FOR UPDATE),"
		       " gone AS (UPDATE trabajos t SET status = 'Queued', worker = NULL FROM one WHERE t.key = one.key RETURNING t.key,"
		       " t.attempt, t.owner, t.eligible_at), ended AS (UPDATE attempts a SET finished_at = now() FROM gone g"
		       " WHERE a.key = g.key AND a.attempt = g.attempt)"
		       " INSERT INTO queue SELECT 0, owner, 0, eligible_at, key, attempt FROM gone"});
	assert_sound();
	assert_says("SELECT count(*) > 5 FROM attempts", "t"); // they did claim
}

// ---- fence

static void the_late_worker_writes_nothing(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	must("UPDATE trabajos SET status = 'Queued'; UPDATE attempts SET finished_at = now();"
	     " SELECT trabajos_enqueue(" KEY(1) ")");
	assert_int_equal(FINISH(1, 1, "Finished"), 0);
	assert_claims(1, "ana");
	assert_int_equal(FINISH(1, 1, "Finished"), 0);
	assert_says("SELECT count(*) FROM resultados", "0");
	assert_int_equal(FINISH(1, 2, "Finished"), 1);
	assert_int_equal(FINISH(1, 2, "Failed"), 0);
	assert_says("SELECT concat_ws(' ', status, attempt) FROM trabajos", "Finished 2");
	assert_says("SELECT concat_ws(' ', key, attempt) FROM outbox", "00000000-0000-7000-8000-000000000001 2");
	assert_sound();
}

static void an_attempt_that_is_tried_again_waits_for_its_moment(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	assert_int_equal(finish_one("00000000-0000-7000-8000-000000000001", 1, "Queued", 3600000), 1);
	assert_sound();
	assert_claims(1, "");
	must("SELECT trabajos_promote(10)");
	assert_claims(1, "");
	must("UPDATE trabajos SET eligible_at = now(); UPDATE delayed SET eligible_at = now()");
	assert_says("SELECT trabajos_promote(10)", "1");
	assert_sound();
	assert_claims(1, "ana");
	assert_int_equal(FINISH(1, 2, "Failed"), 1);
	assert_says("SELECT count(*) FROM dead_letters", "1");
	assert_sound();
}

// ---- delay, cancel, replay

static void a_delayed_job_comes_in_time(void **state UNUSED) {
	ADD(1, "ana", 0, "NULL", 1, false, "now() + interval '1 h'");
	assert_sound();
	assert_claims(1, "");
	must("UPDATE trabajos SET eligible_at = now() - interval '1 s'; UPDATE delayed SET eligible_at = now() - interval '1 s'");
	assert_says("SELECT trabajos_promote(10)", "1");
	assert_says("SELECT trabajos_promote(10)", "0");
	assert_claims(1, "ana");
}

static void a_cancelled_job_is_not_tried_again(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	assert_says("SELECT answer FROM trabajos_cancel(" KEY(1) ", 'ana', 'x')", "asked");
	assert_int_equal(finish_one("00000000-0000-7000-8000-000000000001", 1, "Queued", 60000), 1);
	assert_says("SELECT status || ' ' || (outcome ->> 'code') FROM trabajos", "Cancelled cancelled");
	assert_says("SELECT outcome ->> 'code' FROM attempts", "exit");
	// its worker believes that it is queued: the record is the sweeper's, now
	assert_says("SELECT count(*) FROM outbox WHERE publish_after <= now()", "1");
	assert_says("SELECT count(*) FROM dead_letters", "0");
	assert_sound();
}

static void a_queued_job_is_cancelled_at_once_and_only_once(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 3);
	ADD(2, "ana", 0, "NULL", 1, false, "now() + interval '1 h'");
	ADD(3, "ana", 0, "'k'", 1, false, "now()");
	ADD(4, "ana", 0, "'k'", 1, false, "now()");
	assert_says("SELECT answer || ' ' || state FROM trabajos_cancel(" KEY(1) ", 'ben', 'x')", "NULL");
	assert_says("SELECT answer FROM trabajos_cancel(" KEY(1) ", 'ben', 'x')", "unknown");
	assert_says("SELECT answer || ' ' || state FROM trabajos_cancel(" KEY(1) ", 'ana', 'x')", "cancelled Cancelled");
	assert_says("SELECT answer || ' ' || state FROM trabajos_cancel(" KEY(1) ", 'ana', 'x')", "ended Cancelled");
	assert_says("SELECT answer FROM trabajos_cancel(" KEY(2) ", NULL, 'x')", "cancelled");
	assert_says("SELECT answer FROM trabajos_cancel(" KEY(3) ", NULL, 'x')", "cancelled");
	assert_says("SELECT count(*) FROM outbox WHERE attempt = 1", "3");
	assert_sound();
	assert_claims(9, "ana"); // the fourth has the place of the third
	assert_says("SELECT answer || ' ' || state FROM trabajos_cancel(" KEY(4) ", NULL, 'x')", "asked Running");
	assert_int_equal(FINISH(4, 1, "Cancelled"), 1);
	assert_sound();
}

static void a_replay_keeps_key_fence_and_history(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_says("SELECT answer FROM trabajos_replay(" KEY(1) ", NULL)", "active");
	assert_claims(1, "ana");
	assert_int_equal(FINISH(1, 1, "Failed"), 1);
	assert_says("SELECT answer FROM trabajos_replay(" KEY(1) ", 'ben')", "unknown");
	assert_says("SELECT answer || ' ' || state FROM trabajos_replay(" KEY(1) ", 'ana')", "queued Queued");
	assert_says(
		"SELECT (SELECT count(*) FROM resultados) + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM dead_letters)",
		"0");
	assert_says("SELECT concat_ws(' ', attempt, user_failures, (SELECT count(*) FROM attempts)) FROM trabajos", "1 0 1");
	assert_sound();
	assert_says("SELECT answer FROM trabajos_cancel(" KEY(1) ", NULL, 'x')", "cancelled");
	assert_says("SELECT attempt FROM outbox", "2"); // above that of the first result
	assert_says("SELECT answer FROM trabajos_replay(" KEY(1) ", NULL)", "queued");
	assert_claims(1, "ana");
	assert_int_equal(FINISH(1, 3, "Finished"), 1);
	assert_sound();
}

static void a_deleted_job_leaves_nothing_behind(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ana", 3);
	ADD(3, "ana", 0, "NULL", 1, false, "now() + interval '1 h'");
	ADD(4, "ana", 0, "'k'", 1, false, "now()");
	ADD(5, "ana", 0, "'k'", 1, false, "now()");
	assert_claims(1, "ana");
	assert_int_equal(FINISH(2, 1, "Failed"), 1);
	must("INSERT INTO logs VALUES (" KEY(2) ", 1, 1, 1, now(), 'x')");
	must("DELETE FROM trabajos WHERE key <> " KEY(5));
	assert_sound();
	assert_says("SELECT string_agg(right(key::text, 1), '') FROM queue", "5"); // the place is free
	must("DELETE FROM trabajos");
	ADD_PLAIN(6, "ana", 0);
	must("TRUNCATE trabajos, queue, resultados");
	assert_says("SELECT (SELECT count(*) FROM queue) + (SELECT count(*) FROM delayed) + (SELECT count(*) FROM concurrency)"
		    " + (SELECT count(*) FROM resultados) + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM dead_letters)"
		    " + (SELECT count(*) FROM attempts) + (SELECT count(*) FROM logs)",
		"0");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_owner_with_the_fewest_running_jobs_goes_first, empty),
		cmocka_unit_test_setup(priority_orders_an_owners_own_jobs_only, empty),
		cmocka_unit_test_setup(of_many_owners_with_the_same_turn_the_oldest_job_goes_first, empty),
		cmocka_unit_test_setup(an_administrators_priority_crosses_users, empty),
		cmocka_unit_test_setup(weights_share_the_slots, empty),
		cmocka_unit_test_setup(of_an_owner_and_a_name_with_weights_the_owner_counts, empty),
		cmocka_unit_test_setup(a_draining_worker_claims_nothing, empty),
		cmocka_unit_test_setup(a_missed_lane_is_found_again_and_an_empty_one_removed, empty),
		cmocka_unit_test_setup(the_limit_of_a_user_holds_under_claims_at_once, empty),
		cmocka_unit_test_setup(the_late_worker_writes_nothing, empty),
		cmocka_unit_test_setup(an_attempt_that_is_tried_again_waits_for_its_moment, empty),
		cmocka_unit_test_setup(a_delayed_job_comes_in_time, empty),
		cmocka_unit_test_setup(a_cancelled_job_is_not_tried_again, empty),
		cmocka_unit_test_setup(a_queued_job_is_cancelled_at_once_and_only_once, empty),
		cmocka_unit_test_setup(a_replay_keeps_key_fence_and_history, empty),
		cmocka_unit_test_setup(a_deleted_job_leaves_nothing_behind, empty),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
