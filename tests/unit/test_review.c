// Past decisions in the ledger get what came of them: against a real PostgreSQL.

#include "observer/review.h"
#include "tests/unit/states_rig.h"

static const struct review_config config = {.start_ms = 10000};

static int empty_all(void **state) {
	must("TRUNCATE scale_decisions RESTART IDENTITY");
	return empty(state);
}

// A decision of so many seconds ago, by one worker of one slot; deadline 60 s.
#define DECIDE(ago_s, wanted)                                                                                                      \
	must("INSERT INTO scale_decisions (at, wanted, actual, bound, reason, actuator, sample) VALUES (now() - interval '" #ago_s \
	     " s', " #wanted                                                                                                       \
	     ", 1, 'deadline', 'r', 'advise', '{\"workers\": {\"busy\": 0, \"draining\": 0, \"slots\": 1, \"start_ms\":"           \
	     " 2000}, \"runs\": {\"taken_as_ms\": 5000}, \"limits\": {\"deadline_s\": 60, \"min\": 0, \"max\": 16}}')")

// n jobs that might run so many seconds ago, were claimed later, and ran for so long.
#define RAN(n, ago_s, wait_s, run_s)                                                                                           \
	must("WITH made AS (INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, attempt,"     \
	     " status) SELECT gen_random_uuid(), 'a', 'a', 'https://a.example/r', 'f', now() - interval '" #ago_s              \
	     " s', now() - interval '" #ago_s " s', 1, 'Finished' FROM generate_series(1, " #n ") RETURNING key, eligible_at)" \
	     " INSERT INTO attempts (key, attempt, worker, owner, started_at, finished_at) SELECT key, 1, 'w', 'a',"           \
	     " eligible_at + interval '" #wait_s " s', eligible_at + interval '" #wait_s " s' + interval '" #run_s             \
	     " s' FROM made")

static int64_t round_of(void) {
	AUTO_ERROR struct error error = {0};
	int64_t judged = review_round(db, &config, &error);
	if (judged < 0) fail_msg("%s", error_text(&error));
	return judged;
}

static void a_decision_is_judged_once_when_its_deadline_has_passed(void **state UNUSED) {
	DECIDE(300, 1);
	DECIDE(240, 1);
	DECIDE(180, 1); // held until a moment ago: what will come of that is not known yet
	DECIDE(30, 1);
	assert_int_equal(round_of(), 2);
	assert_int_equal(round_of(), 0);
	assert_says(
		"SELECT string_agg(id || ' ' || (judged_at IS NOT NULL) || ' ' || coalesce(extract(epoch FROM until - at)::int::text,"
		" '-'), ', ' ORDER BY id) FROM scale_decisions",
		"1 true 60, 2 true 60, 3 false -, 4 false -");
}

static void it_says_what_happened_and_what_would_have_done(void **state UNUSED) {
	DECIDE(300, 1);
	DECIDE(290, 2);
	DECIDE(190, 2);
	RAN(9, 300, 90, 30); // in a row on one, as it were: all went over the deadline while the second one held
	assert_int_equal(round_of(), 2);
	assert_says(
		"SELECT string_agg(claimed || ' ' || late || ' ' || worker_ms / 1000 || ' ' || decision_verdict(wanted, needed) || ' '"
		" || partly, ', ' ORDER BY id) FROM scale_decisions",
		"0 0 10 more false, 9 9 100 more false");
	assert_says(
		"SELECT more || ' ' || late || ' ' || (needed_ms > worker_ms) FROM decisions_summary(now() - interval '1 hour')",
		"2 9 true");
}

static void too_many_are_said_as_well(void **state UNUSED) {
	DECIDE(300, 5);
	DECIDE(240, 1);
	RAN(1, 299, 0, 5);
	assert_int_equal(round_of(), 1);
	assert_says("SELECT needed || ' ' || decision_verdict(wanted, needed) FROM scale_decisions WHERE id = 1", "1 fewer");
	assert_says("SELECT api_scale(2) #>> '{decisions,1,outcome,verdict}'", "fewer");
	assert_says("SELECT api_scale(2) #>> '{decisions,0,outcome}'", "NULL");
	assert_says("SELECT api_scale(1) #>> '{score,decisions,fewer}'", "1");
}

static void nobody_decided_for_longer_than_ten_minutes_counts_no_further(void **state UNUSED) {
	DECIDE(7200, 1);
	DECIDE(10, 1);
	assert_int_equal(round_of(), 1);
	assert_says("SELECT extract(epoch FROM until - at)::int FROM scale_decisions WHERE judged_at IS NOT NULL", "600");
}

static void what_waits_for_its_key_is_not_held_against_it(void **state UNUSED) {
	DECIDE(300, 1);
	DECIDE(150, 1);
	RAN(3, 290, 100, 5);
	must("UPDATE trabajos SET concurrency_key = 'k'");
	assert_int_equal(round_of(), 1);
	assert_says("SELECT late FROM scale_decisions WHERE id = 1", "0");
}

static void what_waits_still_is_late(void **state UNUSED) {
	DECIDE(300, 0);
	DECIDE(150, 0);
	must("INSERT INTO queue SELECT 0, 'a', 0, now() - interval '299 s', gen_random_uuid(), 0 FROM generate_series(1, 3) i");
	assert_int_equal(round_of(), 1);
	assert_says("SELECT late || ' ' || (needed > 0) FROM scale_decisions WHERE id = 1", "3 true");
}

static void a_round_takes_a_bounded_number(void **state UNUSED) {
	must("INSERT INTO scale_decisions (at, wanted, actual, bound, reason, actuator, sample)"
	     " SELECT now() - interval '1 hour' + i * interval '1 s', 1, 1, 'min', 'r', 'advise', '{}' FROM generate_series(1, 300) i");
	assert_int_equal(round_of(), 256);
	assert_int_equal(round_of(), 44);
}

int main(void) {
#define REVIEW_TEST(name) cmocka_unit_test_setup(name, empty_all)
	const struct CMUnitTest tests[] = {
		REVIEW_TEST(a_decision_is_judged_once_when_its_deadline_has_passed),
		REVIEW_TEST(it_says_what_happened_and_what_would_have_done),
		REVIEW_TEST(too_many_are_said_as_well),
		REVIEW_TEST(nobody_decided_for_longer_than_ten_minutes_counts_no_further),
		REVIEW_TEST(what_waits_for_its_key_is_not_held_against_it),
		REVIEW_TEST(what_waits_still_is_late),
		REVIEW_TEST(a_round_takes_a_bounded_number),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
