// What the ledger says to those who wait, how it is scored, and how a worker is retired.

#include "tests/unit/states_rig.h"

#define WORKER(name)                                                                                                           \
	must("INSERT INTO workers (worker, host, pid, version, slots, isolation) VALUES ('" name "', 'h', 1, '0', 1, 'full')")

// Two slots, a second each: the k-th job starts in about k/2 seconds. Others' lanes as given: owners, queued, running.
#define FORETELL(starting, owners, queued, running)                                                                                     \
	must("INSERT INTO scale_forecast (slots, starting, run_ms, places, low_ms, median_ms, high_ms, ranks, owners, queued, running," \
	     " arrivals_per_ks, weights) SELECT 2, " #starting ", 1000, '{1,11,101}', '{0,4000,40000}', '{0,5000,50000}',"              \
	     " '{0,6000,60000}', array_fill(0, ARRAY[cardinality(o)]), o, '" queued "', '" running                                      \
	     "', array_fill(0, ARRAY[cardinality(o)]), array_fill(1.0, ARRAY[cardinality(o)])"                                          \
	     " FROM (SELECT '" owners "'::text[] AS o) g")

#define WAITING(n, limit, what) "SELECT api_waiting(t, " #limit ")" what " FROM trabajos t WHERE key = " KEY(n)

static int empty_all(void **state) {
	must("TRUNCATE scale_forecast, predictions, prediction_errors, ranges_told, scale_decisions, scale_actions");
	return empty(state);
}

static void an_idle_worker_is_retired_and_claims_nothing_any_more(void **state UNUSED) {
	WORKER("worker-1");
	ADD_PLAIN(1, "a", 0);
	assert_says("SELECT running || ' ' || marked FROM workers_retire('worker-1', true)", "0 true");
	assert_claims(1, "");
	assert_says("SELECT workers_keep('worker-1')", "t");
	assert_claims(1, "a");
}

static void a_busy_worker_is_passed_over_or_ends_what_it_has(void **state UNUSED) {
	WORKER("worker-1");
	ADD_PLAIN(1, "a", 0);
	ADD_PLAIN(2, "a", 0);
	assert_claims(1, "a");
	assert_says("SELECT running || ' ' || marked FROM workers_retire('worker-1', true)", "1 false");
	assert_says("SELECT draining FROM workers", "f");
	assert_says("SELECT running || ' ' || marked FROM workers_retire('worker-1', false)", "1 true");
	assert_claims(1, "");
	assert_int_equal(FINISH(1, 1, "Finished"), 1);
	assert_says("SELECT running || ' ' || marked FROM workers_retire('worker-1', true)", "0 true");
}

static void what_an_operator_drains_is_neither_retired_nor_taken_back(void **state UNUSED) {
	WORKER("worker-1");
	must("UPDATE workers SET draining = true");
	assert_says("SELECT marked FROM workers_retire('worker-1', true)", "f");
	assert_says("SELECT workers_keep('worker-1')", "f");
	assert_says("SELECT draining FROM workers", "t");
}

static void a_claim_that_looked_before_the_mark_is_awaited(void **state UNUSED) {
	struct db *other;
	WORKER("worker-1");
	ADD_PLAIN(1, "a", 0);
	assert_int_equal(db_open(&scratch.config, NULL, &other), 0);
	must("BEGIN");
	assert_claims(1, "a");
	const struct db_statement now = {"", "SET lock_timeout = '50ms'"},
				  retire = {"", "SELECT running FROM workers_retire('worker-1', true)"};
	struct db_result *result = NULL;
	assert_int_equal(db_execute(other, &now, NULL, NULL, NULL), DB_OK);
	assert_int_equal(db_execute(other, &retire, NULL, NULL, NULL), DB_RETRY);
	must("COMMIT");
	assert_int_equal(db_execute(other, &retire, NULL, &result, NULL), DB_OK);
	assert_int_equal(db_get_int(result, 0, 0), 1);
	db_result_free(result);
	db_close(other);
}

static void the_place_in_line_counts_what_fair_share_lets_go_first(void **state UNUSED) {
	WORKER("worker-2");
	ADD_PLAIN(3, "a", 0);
	ADD_PLAIN(2, "a", 0);
	ADD_PLAIN(1, "a", 0);
	FORETELL(0, "{a,b,c}", "{3,10,1}", "{0,0,5}");
	// the third of its own; of b as many have a turn before it or at the same time, c has had its share
	assert_says(WAITING(1, 0, "->>'own_position'"), "3");
	assert_says(WAITING(1, 0, "->>'position'"), "6");
	assert_says(WAITING(1, 0, "->>'reason'"), "own_jobs");
	assert_says(WAITING(3, 0, "->>'reason'"), "turn");
	must("UPDATE scale_forecast SET queued = '{3,0,0}'");
	assert_says(WAITING(3, 0, "->>'reason'"), "no_free_slot");
}

static void the_range_lies_between_what_was_played(void **state UNUSED) {
	WORKER("worker-2");
	ADD_PLAIN(1, "a", 0);
	FORETELL(0, "{a,b}", "{1,0}", "{0,0}");
	assert_says(WAITING(1, 0, "->'eta_s'->>'low'"), "0.0");
	must("UPDATE scale_forecast SET queued = '{1,20}', ranks = '{0,-5}'"); // b is an administrator in a hurry
	assert_says(WAITING(1, 0, "->>'position'"), "21");
	assert_says(WAITING(1, 0, "->>'eta_s'"), "{\"low\": 8.0, \"high\": 12.0}");
	must("UPDATE scale_forecast SET at = now() - interval '31 s'");
	assert_says(WAITING(1, 0, "->>'eta_s'"), "NULL");
}

static void without_workers_it_is_said_whether_some_are_coming(void **state UNUSED) {
	ADD_PLAIN(1, "a", 0);
	assert_says(WAITING(1, 0, "->>'reason'"), "no_worker");
	FORETELL(2, "{a}", "{1}", "{0}");
	assert_says(WAITING(1, 0, "->>'reason'"), "workers_starting");
	assert_says(WAITING(1, 0, "->>'workers_starting'"), "2");
}

static void who_is_at_the_users_limit_waits_for_the_users_own_jobs(void **state UNUSED) {
	WORKER("worker-1");
	ADD_PLAIN(2, "a", 0);
	ADD_PLAIN(1, "a", 0);
	assert_claims(1, "a");
	FORETELL(0, "{a}", "{1}", "{1}");
	assert_says(WAITING(1, 1, "->>'reason'"), "user_limit");
	assert_says(WAITING(1, 1, "->'eta_s'->>'high'"), "2.0");
}

static void what_is_delayed_starts_no_earlier_than_it_may(void **state UNUSED) {
	ADD(1, "a", 0, "NULL", 1, false, "now() + interval '1 hour'");
	FORETELL(0, "{a}", "{0}", "{0}");
	assert_says(WAITING(1, 0, "->>'reason'"), "delayed");
	assert_says("SELECT (api_waiting(t, 0)->'eta_s'->>'low')::float8 BETWEEN 3590 AND 3600 FROM trabajos t", "t");
}

static void what_was_foretold_is_scored_when_the_job_starts(void **state UNUSED) {
	WORKER("worker-1");
	ADD_PLAIN(2, "a", 0);
	ADD_PLAIN(1, "a", 0);
	FORETELL(0, "{a}", "{2}", "{0}");
	assert_says("SELECT predictions_keep(NULL, 5)", "2");
	assert_says("SELECT predictions_keep(NULL, 5)", "0"); // once for each time that it waits
	must("UPDATE predictions SET look_at = now()");
	assert_says("SELECT scored FROM predictions_score(100)", "0");
	assert_says("SELECT count(*) FROM predictions WHERE started_ms IS NULL AND look_at > now()", "2");
	assert_claims(1, "a");
	must("UPDATE predictions SET look_at = now(), low_ms = 0, high_ms = 60000");
	assert_says("SELECT scored || ' ' || inside FROM predictions_score(100)", "1 1");
	must("SELECT trabajos_cancel(" KEY(1) ", NULL, 'test')");
	must("UPDATE predictions SET look_at = now()");
	must("SELECT predictions_score(100)");
	assert_says("SELECT count(*) FROM predictions", "1");
}

// Told so many seconds ago that it starts within the range, in ms.
#define TELL(n, attempt, ago_s, low, high)                                                                                     \
	must("SELECT ranges_told_keep(ARRAY[" KEY(n) "]::uuid[], ARRAY[" #attempt                                              \
						     "], ARRAY[((extract(epoch FROM now()) - " #ago_s                          \
						     ") * 1000)::bigint], ARRAY[" #low "::bigint], ARRAY[" #high "::bigint])")
#define TOLD_SCORE "SELECT string_agg(which || ' ' || scored || ' ' || inside || ' ' || early || ' ' || late, ', ')"
#define LOOK       must("UPDATE ranges_told SET look_at = now(); SELECT ranges_told_look(100, 100)")

static void of_what_was_told_the_first_and_the_newest_are_scored(void **state UNUSED) {
	WORKER("worker-1");
	ADD_PLAIN(1, "a", 0);
	TELL(1, 0, 30, 40000, 50000); // too late
	TELL(1, 0, 20, 0, 1000);
	TELL(1, 0, 10, 9000, 12000); // this came
	assert_says("SELECT told || ' ' || first_high_ms || ' ' || newest_high_ms FROM ranges_told", "3 50000 12000");
	LOOK;
	assert_says(TOLD_SCORE " FROM forecasts_score(10, 100)", "sample 0 0 0 0, first 0 0 0 0, newest 0 0 0 0");
	assert_claims(1, "a");
	LOOK;
	assert_says(TOLD_SCORE " FROM forecasts_score(10, 100)", "sample 0 0 0 0, first 1 0 1 0, newest 1 1 0 0");
	assert_says("SELECT api_scale(1) #>> '{score,told,newest,inside}'", "1");
}

static void a_batch_has_several_words_on_one_job_and_several_waits_of_it(void **state UNUSED) {
	must("SELECT ranges_told_keep(ARRAY[" KEY(1) ", " KEY(2) ", " KEY(1) ", " KEY(
		1) "]::uuid[], ARRAY[0, 0, 0, 1],"
		   " ARRAY[2000, 3000, 1000, 9000]::bigint[], ARRAY[1, 2, 3, 4]::bigint[], ARRAY[5, 6, 7, 8]::bigint[])");
	assert_says(
		"SELECT string_agg(told || ' ' || first_low_ms || ' ' || newest_low_ms, ', ' ORDER BY key, attempt) FROM ranges_told",
		"2 3 1, 1 4 4, 1 2 2");
}

static void told_ranges_of_what_never_starts_or_is_too_much_go(void **state UNUSED) {
	ADD_PLAIN(1, "a", 0);
	TELL(1, 0, 5, 0, 1000);
	TELL(2, 0, 5, 0, 1000); // no such job
	LOOK;
	assert_says("SELECT count(*) FROM ranges_told", "1");
	must("INSERT INTO ranges_told (key, attempt, told, first_at, first_low_ms, first_high_ms, newest_at, newest_low_ms, newest_high_ms,"
	     " look_at) SELECT gen_random_uuid(), 0, 1, now(), 0, 0, now(), 0, 0, now() + interval '1 h' FROM generate_series(1, 150)");
	must("SELECT ranges_told_look(100, 100)");
	assert_says("SELECT count(*) FROM ranges_told", "100");
	must("UPDATE ranges_told SET first_at = now() - interval '3 days'; SELECT ranges_told_look(100, 100)");
	assert_says("SELECT count(*) FROM ranges_told", "0");
}

static void ranges_learn_from_what_came(void **state UNUSED) {
	WORKER("worker-2");
	ADD_PLAIN(1, "a", 0);
	FORETELL(0, "{a,b}", "{1,20}", "{0,0}"); // 10 s, in the middle
	must("UPDATE scale_forecast SET ranks = '{0,-5}'");
	// they came at half of it, give or take
	must("INSERT INTO predictions SELECT gen_random_uuid(), 0, now(), 1, 10000, 8000, 12000, 4000 + i * 20, now()"
	     " FROM generate_series(1, 100) i");
	must("SELECT predictions_learn()");
	assert_says("SELECT (r->>'low')::float8 BETWEEN 4 AND 4.5 AND (r->>'high')::float8 BETWEEN 5.5 AND 6.2"
		    " FROM (SELECT api_waiting(t, 0)->'eta_s' AS r FROM trabajos t) w",
		"t");
}

static void decisions_are_bounded(void **state UNUSED) {
	must("INSERT INTO scale_decisions (wanted, actual, bound, reason, actuator, sample)"
	     " SELECT i, 0, 'min', 'r', 'advise', '{}' FROM generate_series(1, 100) i");
	must("SELECT scale_trim(10)");
	assert_says("SELECT count(*) || ' ' || min(wanted) FROM scale_decisions", "10 91");
}

static void places_beyond_the_count_are_estimated(void **state UNUSED) {
	must("INSERT INTO queue SELECT 0, 'a', 0, now() - (20000 - i) * interval '1 s', gen_random_uuid(), 0 FROM generate_series(1, 20000) i");
	must("ANALYZE queue");
	assert_says("SELECT estimated FROM queue_ahead(0::smallint, 'a', 0::smallint, now() - interval '10000 s', " KEY(1) ")",
		"t");
	assert_says(
		"SELECT jobs BETWEEN 9000 AND 11000 FROM queue_ahead(0::smallint, 'a', 0::smallint, now() - interval '10000 s', " KEY(
			1) ")",
		"t");
	assert_says("SELECT jobs BETWEEN 998 AND 1002 AND NOT estimated"
		    " FROM queue_ahead(0::smallint, 'a', 0::smallint, now() - interval '19000 s', " KEY(1) ")",
		"t");
}

int main(void) {
#define WAITING_TEST(name) cmocka_unit_test_setup(name, empty_all)
	const struct CMUnitTest tests[] = {
		WAITING_TEST(an_idle_worker_is_retired_and_claims_nothing_any_more),
		WAITING_TEST(a_busy_worker_is_passed_over_or_ends_what_it_has),
		WAITING_TEST(what_an_operator_drains_is_neither_retired_nor_taken_back),
		WAITING_TEST(a_claim_that_looked_before_the_mark_is_awaited),
		WAITING_TEST(the_place_in_line_counts_what_fair_share_lets_go_first),
		WAITING_TEST(the_range_lies_between_what_was_played),
		WAITING_TEST(without_workers_it_is_said_whether_some_are_coming),
		WAITING_TEST(who_is_at_the_users_limit_waits_for_the_users_own_jobs),
		WAITING_TEST(what_is_delayed_starts_no_earlier_than_it_may),
		WAITING_TEST(what_was_foretold_is_scored_when_the_job_starts),
		WAITING_TEST(of_what_was_told_the_first_and_the_newest_are_scored),
		WAITING_TEST(a_batch_has_several_words_on_one_job_and_several_waits_of_it),
		WAITING_TEST(told_ranges_of_what_never_starts_or_is_too_much_go),
		WAITING_TEST(ranges_learn_from_what_came),
		WAITING_TEST(decisions_are_bounded),
		WAITING_TEST(places_beyond_the_count_are_estimated),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
