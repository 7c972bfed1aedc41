// The rule: how many workers there should be, from figures alone.

#include "lib/json.h"
#include "observer/rule.h"
#include "observer/serve.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define START_MS 10000

// Three quarters of the deadline are planned with: 45 s.
static const struct rule_limits limits = {.deadline_ms = 60000, .max = 1000, .start_ms = START_MS};

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

static void add_workers(struct sample *sample, int64_t idle, int64_t busy) {
	sample->idle = idle;
	sample->busy = sample->running = busy;
	sample->slots = idle + busy;
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

// The same figures, sample after sample each second from at_ms until so long after it; the last decision's number.
static int64_t wanted_after(const struct rule_limits *bounds, struct sample *sample, struct rule_state *state, int64_t ms) {
	struct rule_decision decision = {0};
	for (int64_t end_ms = sample->at_ms + ms; sample->at_ms <= end_ms; sample->at_ms += 1000)
		rule_number(bounds, sample, state, &decision);
	return decision.wanted;
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

// A new slot has 45 - 10 s for runs of 12 s; one that is free now has 45 s; one whose run has taken 6 s has 39 s.
static void the_number_is_the_formula_s(void **state) {
	(void)state;
	struct sample sample = queue_of(100, 0, 12000);
	assert_int_equal(wanted(&limits, &sample), 35); // 100 / (35 / 12)
	sample.last_slots = 4;
	assert_int_equal(wanted(&limits, &sample), 9);
	add_workers(&sample, 10, 0);
	assert_int_equal(wanted(&limits, &sample), 10 + 22); // (100 - 10 * 45 / 12) / (35 / 12)
	add_workers(&sample, 0, 10);
	sample.running_age_ms = 6000;
	assert_int_equal(wanted(&limits, &sample), 10 + 24); // (100 - 10 * 39 / 12) / (35 / 12)
}

// Rule 1 of rule.h for young jobs and no worker: N / ((T - margin - D) / S).
static int64_t by_the_formula(int64_t jobs, int64_t run_ms) {
	int64_t margin_ms = 2 * run_ms;
	if (margin_ms < limits.deadline_ms / 10) margin_ms = limits.deadline_ms / 10;
	if (margin_ms > limits.deadline_ms / 4) margin_ms = limits.deadline_ms / 4;
	int64_t left_ms = limits.deadline_ms - margin_ms - START_MS;
	return (jobs * run_ms + left_ms - 1) / left_ms;
}

static void twice_the_queue_or_half_the_service_time_move_the_number_as_the_formula_says(void **state) {
	(void)state;
	static const struct {
		int64_t jobs, run_ms, number;
	} cases[] = {{100, 12000, 35}, {200, 12000, 69}, {100, 6000, 16}, {200, 6000, 32}, {100, 3000, 7}, {200, 3000, 14}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct sample sample = queue_of(cases[i].jobs, 0, cases[i].run_ms);
		assert_int_equal(by_the_formula(cases[i].jobs, cases[i].run_ms), cases[i].number);
		assert_int_equal(wanted(&limits, &sample), cases[i].number);
	}
}

static void more_jobs_never_need_fewer_workers(void **state) {
	(void)state;
	int64_t before = 0;
	for (int64_t jobs = 1; jobs <= 2000; jobs++) {
		struct sample sample = queue_of(jobs, 0, 30000);
		int64_t now = wanted(&(struct rule_limits){.deadline_ms = 60000, .max = 100000, .start_ms = START_MS}, &sample);
		assert_true(now >= before && now <= jobs);
		before = now;
	}
	assert_int_equal(before, 1715); // 2000 / (35 / 30)
}

static void an_older_queue_needs_more(void **state) {
	(void)state;
	struct sample young = queue_of(100, 0, 10000), old = queue_of(100, 15000, 10000), late = queue_of(100, 90000, 10000);
	assert_int_equal(wanted(&limits, &young), 29);
	assert_int_equal(wanted(&limits, &old), 50);
	assert_int_equal(wanted(&limits, &late), 67); // within a start and a quarter of the deadline: 15 s
}

static void one_old_job_does_not_make_the_young_ones_urgent(void **state) {
	(void)state;
	struct sample sample = queue_of(700, 0, 10000);
	int64_t young = wanted(&limits, &sample);
	sample.oldest_ms = sample.ranks[0].age_ms = 59000;
	assert_int_equal(wanted(&limits, &sample), young);
}

static void slots_that_long_runs_hold_are_not_counted_on(void **state) {
	(void)state;
	struct sample sample = queue_of(50, 0, 12000);
	add_workers(&sample, 0, 20);
	sample.running_age_ms = 1000;
	int64_t moving = wanted(&limits, &sample);
	assert_int_equal(moving, 20); // which begin 20 * 34 / 12
	sample.running_age_ms = 3600000;
	assert_true(wanted(&limits, &sample) > moving + 20);
}

static void workers_that_start_are_not_asked_for_twice(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct sample sample = queue_of(100, 0, 12000);
	assert_int_equal(wanted_after(&limits, &sample, &memory, 0), 35);
	for (int i = 0; i < 9; i++) {
		sample.oldest_ms = sample.ranks[0].age_ms = sample.ranks[1].age_ms = 1000 * (i + 1);
		int64_t now = wanted_after(&limits, &sample, &memory, 0);
		assert_true(now >= 35 && now <= 37);
	}
	assert_int_equal(memory.actual, 0);
	add_workers(&sample, 37, 0);
	wanted_after(&limits, &sample, &memory, 0);
	assert_int_equal(memory.asked_count, 0);
}

static void workers_that_never_come_are_asked_for_anew(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct sample sample = queue_of(100, 0, 12000);
	wanted_after(&limits, &sample, &memory, 10 * START_MS);
	assert_true(wanted_after(&limits, &sample, &memory, 0) >= 35);
	assert_true(memory.asked[0].at_ms > sample.at_ms - 5 * START_MS);
}

static void an_idle_worker_goes_when_it_was_idle_for_as_long_as_a_start_costs(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct sample sample = queue_of(0, 0, 1000);
	add_workers(&sample, 3, 0);
	assert_int_equal(wanted_after(&limits, &sample, &memory, START_MS - 1000), 3);
	assert_int_equal(wanted_after(&limits, &sample, &memory, 2000), 0);
	struct rule_limits patient = limits;
	patient.idle_ms = 60000;
	memory = (struct rule_state){0};
	assert_int_equal(wanted_after(&patient, &sample, &memory, 58000), 3);
	assert_int_equal(wanted_after(&patient, &sample, &memory, 6000), 0);
}

static void a_start_that_costs_more_keeps_idle_ones_longer_if_jobs_arrive(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct rule_limits slow = limits;
	slow.start_ms = 60000;
	slow.deadline_ms = 600000;
	struct sample sample = queue_of(0, 0, 1);
	sample.arrivals = 10; // two in a minute
	add_workers(&sample, 5, 0);
	assert_int_equal(wanted_after(&slow, &sample, &memory, 15000), 2);
	assert_int_equal(wanted_after(&slow, &sample, &memory, 40000), 2);
	assert_int_equal(wanted_after(&slow, &sample, &memory, 15000), 0);
}

static void what_was_used_a_moment_ago_is_kept(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct sample free = queue_of(0, 0, 1000), used = free;
	add_workers(&free, 3, 0);
	add_workers(&used, 1, 2);
	for (int i = 0; i < 20; i++) {
		int64_t now = wanted_after(&limits, &free, &memory, START_MS / 2);
		assert_int_equal(now, i < 1 ? 3 : 2); // the third one nobody used
		used.at_ms = free.at_ms;
		wanted_after(&limits, &used, &memory, 0);
		free.at_ms = used.at_ms;
	}
}

static void a_busy_worker_is_never_sent_home(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct sample sample = queue_of(0, 0, 1000);
	sample.idle = 1;
	sample.busy = 3;
	sample.slots = 16;
	sample.running = 3;
	assert_int_equal(wanted_after(&limits, &sample, &memory, 100000), 3);
	struct rule_decision decision;
	rule_decide(&limits, &sample, &memory, &decision);
	assert_int_equal(decision.actual, 4);
	assert_int_equal(decision.bound, RULE_BUSY);
	rule_decision_clear(&decision);
}

static void the_floor_holds_between_bursts(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct sample sample = queue_of(0, 0, 12000);
	sample.arrivals = 300; // one a second of 12 s each
	sample.lately = 60;
	sample.lately_ms = SAMPLE_LATELY_MS;
	add_workers(&sample, 20, 0);
	assert_int_equal(wanted_after(&limits, &sample, &memory, 10 * START_MS), 12);
	struct rule_decision decision;
	rule_decide(&limits, &sample, &memory, &decision);
	assert_int_equal(decision.bound, RULE_FLOOR);
	assert_non_null(strstr(decision.reason, "1 jobs/s of 12 s on average keep 12 workers"));
	rule_decision_clear(&decision);
	sample.lately = 0; // the last burst is over
	assert_int_equal(wanted_after(&limits, &sample, &memory, 0), 0);
}

// Halfin and Whitt: 100 slots' worth of runs that are much longer than the deadline need about two roots more.
static void the_floor_is_the_square_root_staffing_s(void **state) {
	(void)state;
	struct sample sample = queue_of(0, 0, 3600000);
	sample.arrivals = 100;
	sample.arrivals_ms = 3600000;
	add_workers(&sample, 1000, 0);
	struct rule_decision decision = decide(&limits, &sample);
	assert_in_range(decision.floor, 117, 122);
	rule_decision_clear(&decision);
}

static void the_floor_brings_workers_where_a_start_takes_longer_than_the_deadline(void **state) {
	(void)state;
	struct sample sample = queue_of(0, 0, 12000);
	sample.arrivals = 300;
	assert_int_equal(wanted(&limits, &sample), 0);
	struct rule_limits strict = limits;
	strict.deadline_ms = 5000;
	assert_in_range(wanted(&strict, &sample), 13, 20);
}

static void jobs_that_wait_beside_free_workers_bring_no_more(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct sample sample = queue_of(100, 30000, 12000);
	add_workers(&sample, 6, 4);
	wanted_after(&limits, &sample, &memory, 15000);
	struct rule_decision decision;
	rule_decide(&limits, &sample, &memory, &decision);
	assert_int_equal(decision.needed, 4);
	rule_decision_clear(&decision);
	memory = (struct rule_state){0};
	add_workers(&sample, 1, 9); // one that can not claim does not speak for the others
	wanted_after(&limits, &sample, &memory, 15000);
	rule_decide(&limits, &sample, &memory, &decision);
	assert_true(decision.needed > 30);
	rule_decision_clear(&decision);
}

static void jobs_over_their_user_s_limit_bring_none(void **state) {
	(void)state;
	struct sample sample = queue_of(100, 1000, 12000);
	sample.held = 100;
	assert_int_equal(wanted(&limits, &sample), 0);
	sample.held = 50;
	struct sample half = queue_of(50, 1000, 12000);
	assert_int_equal(wanted(&limits, &sample), wanted(&limits, &half));
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
	assert_int_equal(decision.needed, 100);
	assert_non_null(strstr(decision.reason, "SCALE_MAX, 100 would be needed"));
	rule_decision_clear(&decision);
	struct rule_limits none = {.deadline_ms = 60000, .min = 0, .max = 0};
	assert_int_equal(wanted(&none, &sample), 0);
}

static void the_steps_bound_what_changes_at_once(void **state) {
	(void)state;
	struct rule_limits steps = limits;
	steps.step_up = 5;
	steps.step_down = 2;
	struct rule_state memory = {0};
	struct sample sample = queue_of(100, 0, 60000);
	assert_int_equal(wanted_after(&steps, &sample, &memory, 0), 5);
	assert_int_equal(wanted_after(&steps, &sample, &memory, 5000), 5); // until those are there
	add_workers(&sample, 0, 5);
	assert_int_equal(wanted_after(&steps, &sample, &memory, 0), 10);
	memory = (struct rule_state){0};
	sample = queue_of(0, 0, 1000);
	add_workers(&sample, 9, 0);
	assert_int_equal(wanted_after(&steps, &sample, &memory, 2 * START_MS), 7);
}

static void jobs_that_run_long_correct_the_mean_of_those_that_ended(void **state) {
	(void)state;
	struct sample sample = queue_of(10, 0, 100);
	sample.runs = 10;
	add_workers(&sample, 0, 10);
	sample.running_age_ms = 60000;
	struct rule_decision decision = decide(&limits, &sample);
	assert_in_range(decision.run_ms, 60000, 61000); // half of them 0.1 s, half of them twice what they have taken
	rule_decision_clear(&decision);
}

static void the_last_known_mean_stays_when_nothing_ends(void **state) {
	(void)state;
	struct rule_state memory = {0};
	struct rule_decision decision;
	struct sample sample = queue_of(10, 0, 2000);
	rule_number(&limits, &sample, &memory, &decision);
	sample.runs = sample.run_mean_ms = 0;
	rule_number(&limits, &sample, &memory, &decision);
	assert_int_equal(decision.run_ms, 2000);
	memory = (struct rule_state){0};
	rule_number(&limits, &sample, &memory, &decision);
	assert_int_equal(decision.run_ms, RULE_UNKNOWN_RUN_MS);
}

static void the_reason_is_a_sentence_for_people(void **state) {
	(void)state;
	struct sample sample = queue_of(41, 38000, 12000);
	sample.run_p50_ms = 12000;
	add_workers(&sample, 0, 5);
	sample.slots = sample.running = 20;
	struct rule_decision decision = decide(&limits, &sample);
	assert_string_equal(decision.reason,
		"9 workers: 41 jobs wait, the oldest 38 s, median run 12 s; 5 would break the 60 s deadline for 21 of them");
	rule_decision_clear(&decision);
	sample = queue_of(1, 90000, 250);
	decision = decide(&limits, &sample);
	assert_string_equal(decision.reason,
		"1 worker: 1 job waits, the oldest 90 s and past the deadline of 60 s, runs taken as 0.25 s; no worker is there");
	rule_decision_clear(&decision);
	sample = (struct sample){.arrivals_ms = SAMPLE_FLOW_MS};
	decision = decide(&limits, &sample);
	assert_string_equal(decision.reason, "0 workers: nothing waits");
	rule_decision_clear(&decision);
	sample = queue_of(0, 0, 3000);
	add_workers(&sample, 2, 0);
	decision = decide(&limits, &sample);
	assert_string_equal(decision.reason, "2 workers: nothing waits; 0 would do, an idle one is kept for 10 s");
	rule_decision_clear(&decision);
}

static void contradicting_options_are_refused(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	struct rule_limits read;
	struct rule_options given = {.deadline_s = 30, .min = 3, .max = 2};
	assert_int_equal(rule_limits_of(&given, &read, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	given.max = 3;
	assert_int_equal(rule_limits_of(&given, &read, &error), 0);
	assert_int_equal(read.deadline_ms, 30000);
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
		cmocka_unit_test(twice_the_queue_or_half_the_service_time_move_the_number_as_the_formula_says),
		cmocka_unit_test(more_jobs_never_need_fewer_workers),
		cmocka_unit_test(an_older_queue_needs_more),
		cmocka_unit_test(one_old_job_does_not_make_the_young_ones_urgent),
		cmocka_unit_test(slots_that_long_runs_hold_are_not_counted_on),
		cmocka_unit_test(workers_that_start_are_not_asked_for_twice),
		cmocka_unit_test(workers_that_never_come_are_asked_for_anew),
		cmocka_unit_test(an_idle_worker_goes_when_it_was_idle_for_as_long_as_a_start_costs),
		cmocka_unit_test(a_start_that_costs_more_keeps_idle_ones_longer_if_jobs_arrive),
		cmocka_unit_test(what_was_used_a_moment_ago_is_kept),
		cmocka_unit_test(a_busy_worker_is_never_sent_home),
		cmocka_unit_test(the_floor_holds_between_bursts),
		cmocka_unit_test(the_floor_is_the_square_root_staffing_s),
		cmocka_unit_test(the_floor_brings_workers_where_a_start_takes_longer_than_the_deadline),
		cmocka_unit_test(jobs_that_wait_beside_free_workers_bring_no_more),
		cmocka_unit_test(jobs_over_their_user_s_limit_bring_none),
		cmocka_unit_test(workers_that_drain_do_not_count),
		cmocka_unit_test(the_bounds_hold_and_are_named),
		cmocka_unit_test(the_steps_bound_what_changes_at_once),
		cmocka_unit_test(jobs_that_run_long_correct_the_mean_of_those_that_ended),
		cmocka_unit_test(the_last_known_mean_stays_when_nothing_ends),
		cmocka_unit_test(the_reason_is_a_sentence_for_people),
		cmocka_unit_test(contradicting_options_are_refused),
		cmocka_unit_test(a_huge_backlog_does_not_overflow),
		cmocka_unit_test(stale_figures_say_so),
	};
	return cmocka_run_group_tests_name("rule", tests, NULL, NULL);
}
