// The rule: how many workers there should be, from figures alone.

#include "lib/json.h"
#include "observer/rule.h"
#include "observer/serve.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static const struct rule_limits limits = {.deadline_ms = 60000, .min = 0, .max = 1000};

// All of them of one age.
static struct sample queue_of(int64_t jobs, int64_t age_ms, int64_t run_ms) {
	struct sample sample = {.queued = jobs,
		.oldest_ms = age_ms,
		.arrivals_ms = SAMPLE_FLOW_MS,
		.runs = 100,
		.run_mean_ms = run_ms,
		.last_slots = 1};
	if (jobs > 0) sample.ranks[sample.rank_count++] = (struct sample_rank){.place = 1, .age_ms = age_ms};
	if (jobs > 1) sample.ranks[sample.rank_count++] = (struct sample_rank){.place = jobs, .age_ms = age_ms};
	return sample;
}

static struct rule_decision decide(const struct rule_limits *bounds, const struct sample *sample) {
	struct rule_state state = {0};
	struct rule_decision decision;
	rule_decide(bounds, sample, &state, &decision);
	return decision;
}

static int64_t wanted(const struct rule_limits *bounds, const struct sample *sample) {
	struct rule_decision decision = decide(bounds, sample);
	int64_t number = decision.wanted;
	rule_decision_clear(&decision);
	return number;
}

static void nothing_to_do_needs_scale_min(void **state) {
	(void)state;
	struct sample sample = {.arrivals_ms = SAMPLE_FLOW_MS};
	assert_int_equal(wanted(&limits, &sample), 0);
	struct rule_limits two = {.deadline_ms = 60000, .min = 2, .max = 16};
	assert_int_equal(wanted(&two, &sample), 2);
	sample = queue_of(0, 0, 5000);
	assert_int_equal(wanted(&limits, &sample), 0);
}

static void one_queued_job_brings_a_worker_from_zero(void **state) {
	(void)state;
	struct sample sample = queue_of(1, 0, 0);
	sample.runs = 0;
	sample.last_slots = 0;
	assert_int_equal(wanted(&limits, &sample), 1);
}

static void a_record_in_kafka_brings_a_worker_from_zero(void **state) {
	(void)state;
	struct sample sample = {.arrivals_ms = SAMPLE_FLOW_MS, .kafka_waits = LAG_SOME};
	struct rule_decision decision = decide(&limits, &sample);
	assert_int_equal(decision.wanted, 1);
	assert_int_equal(decision.bound, RULE_KAFKA);
	rule_decision_clear(&decision);
	sample.kafka_waits = LAG_UNKNOWN;
	assert_int_equal(wanted(&limits, &sample), 0);
}

// 60 s for jobs of 12 s, 22 s of them left: a slot begins two rounds.
static void the_number_is_the_formula_s(void **state) {
	(void)state;
	struct sample sample = queue_of(41, 38000, 12000);
	assert_int_equal(wanted(&limits, &sample), 21);
	sample.last_slots = 4;
	assert_int_equal(wanted(&limits, &sample), 6);
	sample.running = 8; // they share the rounds
	assert_int_equal(wanted(&limits, &sample), 7);
}

static void doubling_the_queue_doubles_the_workers(void **state) {
	(void)state;
	for (int64_t jobs = 10; jobs <= 1280; jobs *= 2) {
		struct sample once = queue_of(jobs, 0, 30000), twice = queue_of(2 * jobs, 0, 30000);
		assert_int_equal(wanted(&(struct rule_limits){.deadline_ms = 60000, .max = 100000}, &once), (jobs + 2) / 3);
		assert_int_equal(
			wanted(&(struct rule_limits){.deadline_ms = 60000, .max = 100000}, &twice), (2 * jobs + 2) / 3);
	}
}

static void halving_the_service_time_lets_each_slot_begin_twice_the_rounds(void **state) {
	(void)state;
	int64_t run_ms[] = {30000, 15000, 7500}, rounds[] = {3, 5, 9};
	for (size_t i = 0; i < COUNT_OF(run_ms); i++) {
		struct sample sample = queue_of(900, 0, run_ms[i]);
		assert_int_equal(wanted(&limits, &sample), (900 + rounds[i] - 1) / rounds[i]);
	}
}

static void an_older_queue_needs_more(void **state) {
	(void)state;
	struct sample young = queue_of(100, 0, 10000), old = queue_of(100, 50000, 10000), late = queue_of(100, 90000, 10000);
	assert_int_equal(wanted(&limits, &young), 15);
	assert_int_equal(wanted(&limits, &old), 50);
	assert_int_equal(wanted(&limits, &late), 100);
}

static void one_old_job_does_not_make_the_young_ones_urgent(void **state) {
	(void)state;
	struct sample sample = queue_of(700, 0, 10000);
	sample.oldest_ms = sample.ranks[0].age_ms = 59000;
	assert_int_equal(wanted(&limits, &sample), 100);
}

static void arrivals_alone_keep_workers(void **state) {
	(void)state;
	struct sample sample = queue_of(0, 0, 12000);
	sample.arrivals = 300; // one a second of 12 s each
	struct rule_decision decision = decide(&limits, &sample);
	assert_int_equal(decision.wanted, 12);
	assert_int_equal(decision.bound, RULE_FLOOR);
	assert_non_null(strstr(decision.reason, "1 jobs/s keep 12 slots busy"));
	rule_decision_clear(&decision);
	sample.arrivals = 1; // a trickle
	assert_int_equal(wanted(&limits, &sample), 1);
}

static void a_busy_worker_is_never_sent_home(void **state) {
	(void)state;
	struct sample sample = queue_of(0, 0, 1000);
	sample.idle = 1;
	sample.busy = 3;
	sample.slots = 16;
	sample.running = 3;
	struct rule_decision decision = decide(&limits, &sample);
	assert_int_equal(decision.wanted, 3);
	assert_int_equal(decision.actual, 4);
	assert_int_equal(decision.bound, RULE_BUSY);
	rule_decision_clear(&decision);
}

static void workers_that_drain_do_not_count(void **state) {
	(void)state;
	struct sample sample = queue_of(1, 0, 1000);
	sample.draining = 5;
	sample.draining_running = sample.running = 5;
	struct rule_decision decision = decide(&limits, &sample);
	assert_int_equal(decision.wanted, 1);
	assert_int_equal(decision.actual, 0);
	rule_decision_clear(&decision);
}

static void the_bounds_hold_and_are_named(void **state) {
	(void)state;
	struct rule_limits few = {.deadline_ms = 60000, .min = 1, .max = 4};
	struct sample sample = queue_of(100, 0, 60000);
	struct rule_decision decision = decide(&few, &sample);
	assert_int_equal(decision.wanted, 4);
	assert_int_equal(decision.needed, 50);
	assert_non_null(strstr(decision.reason, "SCALE_MAX, 50 would be needed"));
	rule_decision_clear(&decision);
	struct rule_limits none = {.deadline_ms = 60000, .min = 0, .max = 0};
	assert_int_equal(wanted(&none, &sample), 0);
}

static void jobs_that_run_long_correct_the_mean_of_those_that_ended(void **state) {
	(void)state;
	struct sample sample = queue_of(10, 0, 100);
	sample.running = 2;
	sample.running_age_ms = 60000;
	struct rule_decision decision = decide(&limits, &sample);
	assert_int_equal(decision.run_ms, 60000);
	assert_int_equal(decision.wanted, 6);
	rule_decision_clear(&decision);
}

static void the_last_known_mean_stays_when_nothing_ends(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct rule_decision decision;
	struct sample sample = queue_of(10, 0, 2000);
	rule_decide(&limits, &sample, &memory, &decision);
	rule_decision_clear(&decision);
	sample.runs = sample.run_mean_ms = 0;
	rule_decide(&limits, &sample, &memory, &decision);
	assert_int_equal(decision.run_ms, 2000);
	rule_decision_clear(&decision);
	memory = (struct rule_state){0};
	rule_decide(&limits, &sample, &memory, &decision);
	assert_int_equal(decision.run_ms, RULE_UNKNOWN_RUN_MS);
	rule_decision_clear(&decision);
}

static void the_reason_is_a_sentence_for_people(void **state) {
	(void)state;
	struct sample sample = queue_of(41, 38000, 12000);
	sample.busy = 5;
	sample.slots = 20;
	struct rule_decision decision = decide(&limits, &sample);
	assert_string_equal(
		decision.reason, "6 workers: 41 jobs wait, the oldest 38 s, mean run 12 s; 5 would break the 60 s deadline");
	rule_decision_clear(&decision);
	sample = queue_of(1, 90000, 250);
	decision = decide(&limits, &sample);
	assert_string_equal(decision.reason,
		"1 worker: 1 job waits, the oldest 90 s and past the deadline of 60 s, mean run 0.25 s; no worker is there");
	rule_decision_clear(&decision);
	sample = (struct sample){.arrivals_ms = SAMPLE_FLOW_MS};
	decision = decide(&limits, &sample);
	assert_string_equal(decision.reason, "0 workers: nothing waits");
	rule_decision_clear(&decision);
}

static void a_huge_backlog_does_not_overflow(void **state) {
	(void)state;
	struct sample sample = queue_of(2000000000, 100000000, 86400000);
	sample.busy = 10000;
	sample.slots = 1000000;
	sample.arrivals = SAMPLE_MOST;
	sample.arrivals_ms = 1;
	assert_int_equal(wanted(&limits, &sample), limits.max);
}

static void stale_figures_say_so(void **state) {
	(void)state;
	struct sample sample = queue_of(3, 1000, 1000);
	struct serve_state shown = {.any = true, .sample = sample, .limits = &limits, .actuator = "advise"};
	shown.decision = decide(&limits, &sample);
	AUTO_FREE char *fresh = serve_body(&shown, 0), *stale = serve_body(&shown, 34000);
	AUTO_JSON json_t *read = NULL;
	assert_int_equal(json_read(stale, strlen(stale), 65536, &read, NULL), 0);
	assert_int_equal(json_integer_value(json_object_get(read, "deseados")), 1);
	assert_int_equal(json_integer_value(json_object_get(read, "actuales")), 0);
	assert_non_null(strstr(json_text(read, "motivo"), "stale: these figures are 34 s old"));
	assert_null(strstr(fresh, "34 s old"));
	rule_decision_clear(&shown.decision);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_to_do_needs_scale_min),
		cmocka_unit_test(one_queued_job_brings_a_worker_from_zero),
		cmocka_unit_test(a_record_in_kafka_brings_a_worker_from_zero),
		cmocka_unit_test(the_number_is_the_formula_s),
		cmocka_unit_test(doubling_the_queue_doubles_the_workers),
		cmocka_unit_test(halving_the_service_time_lets_each_slot_begin_twice_the_rounds),
		cmocka_unit_test(an_older_queue_needs_more),
		cmocka_unit_test(one_old_job_does_not_make_the_young_ones_urgent),
		cmocka_unit_test(arrivals_alone_keep_workers),
		cmocka_unit_test(a_busy_worker_is_never_sent_home),
		cmocka_unit_test(workers_that_drain_do_not_count),
		cmocka_unit_test(the_bounds_hold_and_are_named),
		cmocka_unit_test(jobs_that_run_long_correct_the_mean_of_those_that_ended),
		cmocka_unit_test(the_last_known_mean_stays_when_nothing_ends),
		cmocka_unit_test(the_reason_is_a_sentence_for_people),
		cmocka_unit_test(a_huge_backlog_does_not_overflow),
		cmocka_unit_test(stale_figures_say_so),
	};
	return cmocka_run_group_tests_name("rule", tests, NULL, NULL);
}
