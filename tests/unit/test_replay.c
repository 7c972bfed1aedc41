// The simulator: what it makes of periods whose end is known, and what the rule makes of the models.

#include "lib/mem.h"
#include "observer/replay_csv.h"
#include "observer/replay_model.h"
#include "observer/replay_report.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define HOUR_MS 3600000

static const struct replay_config config = {
	.limits = {.deadline_ms = 60000, .max = 128, .start_ms = 10000}, .slots = 1, .partitions = 128, .seed = 1};

static struct replay_outcome play(
	const struct replay_trace *trace, const struct replay_config *with, enum replay_kind kind, int64_t number) {
	struct replay_outcome outcome;
	replay_run(trace, with, &(struct replay_policy){.kind = kind, .number = number}, &outcome);
	return outcome;
}

static void add(struct replay_trace *trace, int64_t arrival_ms, int64_t run_ms, int32_t user, int count) {
	struct replay_job job = {.arrival_ms = arrival_ms, .run_ms = run_ms, .user = user};
	for (int i = 0; i < count; i++) replay_trace_add(trace, &job);
}

static struct replay_config at_once(void) {
	struct replay_config fast = config;
	fast.limits.start_ms = 1;
	return fast;
}

// ---- the system

static void one_worker_takes_one_job_after_the_other(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	struct replay_config fast = at_once();
	add(&trace, 1000, 10000, 0, 5);
	replay_trace_finish(&trace);
	struct replay_outcome outcome = play(&trace, &fast, REPLAY_FIXED, 1);
	assert_int_equal(outcome.p50_ms, 20000);
	assert_int_equal(outcome.most_ms, 40000);
	assert_int_equal(outcome.worker_ms, 51000); // until the last one ends
	assert_int_equal(outcome.work_ms, 50000);
	outcome = play(&trace, &fast, REPLAY_FIXED, 5);
	assert_int_equal(outcome.most_ms, 0);
	fast.slots = 5;
	outcome = play(&trace, &fast, REPLAY_FIXED, 1);
	assert_int_equal(outcome.most_ms, 0);
	replay_trace_clear(&trace);
}

static void another_user_s_job_waits_for_one_slot_only(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	struct replay_config fast = at_once();
	fast.limits.deadline_ms = 9600;
	add(&trace, 1000, 10000, 0, 100);
	add(&trace, 1500, 10000, 1, 1);
	replay_trace_finish(&trace);
	assert_int_equal(
		play(&trace, &fast, REPLAY_FIXED, 2).in_time, 3); // two at once, and the other's before the next of these
	trace.jobs[100].user = 0;
	assert_int_equal(play(&trace, &fast, REPLAY_FIXED, 2).in_time, 2);
	replay_trace_clear(&trace);
}

static void the_same_seed_gives_the_same_outcome(void **state) {
	(void)state;
	struct replay_trace once = {0}, again = {0};
	for (int64_t model = 3; replay_model_names[model]; model++) {
		replay_model_make(model, 5, &once);
		replay_model_make(model, 5, &again);
		assert_int_equal(once.count, again.count);
		struct replay_outcome first = play(&once, &config, REPLAY_RULE, 0),
				      second = play(&again, &config, REPLAY_RULE, 0);
		assert_memory_equal(&first, &second, sizeof first);
		replay_trace_clear(&once);
		replay_trace_clear(&again);
	}
}

// ---- KEDA and the HPA

static struct replay_trace steps(int64_t jobs, int64_t run_ms) {
	struct replay_trace trace = {.span_ms = HOUR_MS};
	add(&trace, 1, run_ms, 0, (int)jobs);
	replay_trace_finish(&trace);
	return trace;
}

static void keda_begins_with_a_poll_and_the_hpa_doubles(void **state) {
	(void)state;
	struct replay_config fast = at_once();
	struct replay_trace trace = steps(100, 10 * HOUR_MS);
	struct replay_outcome outcome = play(&trace, &fast, REPLAY_KEDA, 1);
	// 1 at 30 s, 5 in the same sync, then 10, 20, 40, 80, 100
	assert_int_equal(outcome.ups, 7);
	assert_int_equal(outcome.most_workers, 100);
	assert_int_equal(outcome.p50_ms, 30000 + 4 * 15000 - 1);
	assert_int_equal(outcome.most_ms, 30000 + 5 * 15000 - 1);
	fast.partitions = 12;
	replay_trace_clear(&trace);
	trace = steps(100, 60000);
	outcome = play(&trace, &fast, REPLAY_KEDA, 1);
	assert_int_equal(outcome.most_workers, 12);
	replay_trace_clear(&trace);
}

static void the_hpa_goes_down_after_300_s_and_keda_to_zero(void **state) {
	(void)state;
	struct replay_config fast = at_once();
	struct replay_trace trace = steps(10, 60000);
	struct replay_outcome outcome = play(&trace, &fast, REPLAY_KEDA, 1);
	assert_int_equal(outcome.killed, 0);
	assert_int_equal(outcome.most_workers, 10);
	// all begin within 45 s, end within 105 s, and idle for 300 s or 315 s
	assert_in_range(outcome.worker_ms, 10 * (60000 + 270000), 10 * (90000 + 345000));
	replay_trace_clear(&trace);
}

// Ten run for an hour, ninety for a moment: what the HPA takes away hits long ones too, which begin anew.
static void the_hpa_kills_what_is_busy_and_the_rule_does_not(void **state) {
	(void)state;
	struct replay_trace trace = {.span_ms = HOUR_MS};
	struct replay_config fast = at_once();
	add(&trace, 1, HOUR_MS, 0, 10);
	add(&trace, 2, 20000, 0, 90);
	replay_trace_finish(&trace);
	struct replay_outcome keda = play(&trace, &fast, REPLAY_KEDA, 2), rule = play(&trace, &fast, REPLAY_RULE, 0);
	assert_true(keda.killed > 0);
	assert_true(keda.most_ms > 300000); // counted until the run that ended
	assert_int_equal(rule.killed, 0);
	assert_true(rule.most_ms <= 60000);
	assert_true(keda.worker_ms > keda.work_ms);
	replay_trace_clear(&trace);
}

// ---- the rule

static void the_rule_keeps_the_deadline_on_every_model(void **state) {
	(void)state;
	for (int64_t model = 0; replay_model_names[model]; model++) {
		struct replay_trace trace = {0};
		replay_model_make(model, 1, &trace);
		struct replay_outcome outcome = play(&trace, &config, REPLAY_RULE, 0);
		assert_int_equal(outcome.jobs, trace.count);
		assert_true((double)outcome.in_twice >= 0.99 * (double)trace.count);
		assert_true((double)outcome.in_time >= 0.95 * (double)trace.count);
		assert_true(outcome.worker_ms >= outcome.work_ms);
		assert_true(outcome.worker_ms < 2 * outcome.work_ms);
		assert_int_equal(outcome.killed, 0);
		replay_trace_clear(&trace);
	}
}

// After a hundred runs of 0.15 s come some of 3 s: the last minutes tell of the former.
static void another_kind_of_job_is_noticed_by_what_does_not_end(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	struct replay_config strict = config;
	strict.limits.deadline_ms = 20000;
	strict.limits.start_ms = 5000;
	for (int i = 0; i < 100; i++) add(&trace, 1000 + i * 50, 150, 0, 1);
	for (int i = 0; i < 400; i++) add(&trace, 180000 + i * 50, 3000, 0, 1);
	replay_trace_finish(&trace);
	struct replay_outcome outcome = play(&trace, &strict, REPLAY_RULE, 0);
	assert_int_equal(outcome.in_time, outcome.jobs);
	replay_trace_clear(&trace);
}

static void the_rule_goes_to_zero_and_comes_back(void **state) {
	(void)state;
	struct replay_trace trace = {.span_ms = 4 * HOUR_MS};
	add(&trace, 0, 5000, 0, 1);
	add(&trace, 2 * HOUR_MS, 5000, 0, 1);
	replay_trace_finish(&trace);
	struct replay_outcome outcome = play(&trace, &config, REPLAY_RULE, 0);
	assert_int_equal(outcome.started, 2);
	assert_true(outcome.worker_ms < 2 * 60000);
	assert_true(outcome.most_ms <= 15000);
	replay_trace_clear(&trace);
}

// ---- CSV, tables, plot

static int read_text(const char *text, struct replay_trace *trace, struct error *error) {
	AUTO_FCLOSE FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	return replay_csv_read(file, "jobs.csv", trace, error);
}

static void a_csv_is_read_and_written(void **state) {
	(void)state;
	struct replay_trace trace = {0};
	AUTO_ERROR struct error error = {0};
	assert_int_equal(read_text("arrival_s,duration_s,user\r\n1700000010.5,2,bea\r\n\n1700000000,0.25,ana\n1700000011,3,bea",
				 &trace, &error),
		0);
	assert_int_equal(trace.count, 3);
	assert_int_equal(trace.users, 2);
	assert_int_equal(trace.jobs[0].run_ms, 250);
	assert_int_equal(trace.jobs[2].arrival_ms, 11000);
	assert_int_equal(trace.jobs[1].user, trace.jobs[2].user);
	AUTO_FREE char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	replay_csv_write(&trace, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, "arrival_s,duration_s,user\n0.000,0.250,1\n10.500,2.000,0\n11.000,3.000,0\n");
	replay_trace_clear(&trace);
}

static void a_bad_csv_is_refused_with_its_line(void **state) {
	(void)state;
	static const char *const bad[] = {"1,2\n3\n", "1,2\nx,2\n", "1,2\n-1,2\n", "1,2\nnan,2\n", "1,2\n1,inf\n", "1,2\n1;2\n",
		"1,2\n1,9999999\n", "1,2\n1e300,1\n", "1,2\n,1\n", "1,2\n1,\n"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct replay_trace trace = {0};
		AUTO_ERROR struct error error = {0};
		assert_int_equal(read_text(bad[i], &trace, &error), -1);
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_non_null(strstr(error_text(&error), "jobs.csv:2: no "));
		replay_trace_clear(&trace);
	}
	struct replay_trace trace = {0};
	AUTO_ERROR struct error error = {0};
	assert_int_equal(read_text("\n", &trace, &error), -1);
	assert_string_equal(error_text(&error), "jobs.csv: no jobs in it");
}

static void tables_and_plot_name_every_policy(void **state) {
	(void)state;
	struct replay_trace trace = steps(10, 5000);
	struct replay_outcome outcomes[3] = {play(&trace, &config, REPLAY_RULE, 0), play(&trace, &config, REPLAY_KEDA, 5),
		play(&trace, &config, REPLAY_FIXED, 2)};
	AUTO_FREE char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	replay_report_text(&trace, &config, outcomes, 3, out);
	replay_report_csv(outcomes, 3, out);
	replay_report_svg(&trace, outcomes, 3, out);
	assert_int_equal(fclose(out), 0);
	static const char *const parts[] = {
		"10 jobs in 1.0 hours", "\nkeda 5 ", "\nkeda,5,10,", "\nfixed,2,10,", "<svg ", ">keda 5: ", "</svg>\n"};
	for (size_t i = 0; i < COUNT_OF(parts); i++) assert_non_null(strstr(text, parts[i]));
	assert_null(strstr(text, "nan"));
	replay_trace_clear(&trace);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_worker_takes_one_job_after_the_other),
		cmocka_unit_test(another_user_s_job_waits_for_one_slot_only),
		cmocka_unit_test(the_same_seed_gives_the_same_outcome),
		cmocka_unit_test(keda_begins_with_a_poll_and_the_hpa_doubles),
		cmocka_unit_test(the_hpa_goes_down_after_300_s_and_keda_to_zero),
		cmocka_unit_test(the_hpa_kills_what_is_busy_and_the_rule_does_not),
		cmocka_unit_test(the_rule_keeps_the_deadline_on_every_model),
		cmocka_unit_test(another_kind_of_job_is_noticed_by_what_does_not_end),
		cmocka_unit_test(the_rule_goes_to_zero_and_comes_back),
		cmocka_unit_test(a_csv_is_read_and_written),
		cmocka_unit_test(a_bad_csv_is_refused_with_its_line),
		cmocka_unit_test(tables_and_plot_name_every_policy),
	};
	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
