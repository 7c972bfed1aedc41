// Decisions judged by what came of them.

#include "lib/mem.h"
#include "observer/hindsight.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define S     1000
#define NOW   (1000000 * (int64_t)S) // the decision
#define NEVER HINDSIGHT_NEVER

static const struct hindsight_case minute = {.at_ms = NOW,
	.until_ms = NOW + 10 * S,
	.actual = 1,
	.slots = 1,
	.most = 16,
	.deadline_ms = 60 * S,
	.start_ms = 10 * S,
	.run_ms = 10 * S};

static struct hindsight judged(const struct hindsight_run *runs, size_t count, const struct hindsight_case *of) {
	struct hindsight hindsight;
	hindsight_judge(runs, count, of, &hindsight);
	return hindsight;
}

// So many at the same time, as they were claimed, one after the other.
static void fill(struct hindsight_run *runs, size_t count, int64_t eligible_ms, int64_t started_ms, int64_t run_ms) {
	for (size_t i = 0; i < count; i++, started_ms += run_ms)
		runs[i] = (struct hindsight_run){
			.eligible_ms = eligible_ms, .started_ms = started_ms, .ended_ms = started_ms + run_ms};
}

static void what_happened_is_counted_while_it_held(void **state) {
	(void)state;
	const struct hindsight_run runs[] = {
		{NOW - 70 * S, NOW - 5 * S, NOW, 0},          // late, but before
		{NOW - 55 * S, NOW + 6 * S, NOW + 20 * S, 0}, // late by a second; both while it held
		{NOW - 50 * S, NOW + 9 * S, NOW + 20 * S, 0}, // in time
		{NOW - 51 * S, NEVER, NEVER, 0},              // late at its end, and waits still
		{NOW - 40 * S, NOW + 90 * S, NOW + 99 * S, 0} // late, afterwards
	};
	struct hindsight_case of = minute;
	of.actual = 2;
	of.draining = 1;
	struct hindsight hindsight = judged(runs, 5, &of);
	assert_int_equal(hindsight.claimed, 2);
	assert_int_equal(hindsight.late, 2);
	assert_int_equal(hindsight.worker_ms, 30 * S);
	assert_false(hindsight.partly);
}

static void who_has_nothing_to_do_needs_nobody_but_what_must_be(void **state) {
	(void)state;
	struct hindsight_case of = minute;
	assert_int_equal(judged(NULL, 0, &of).needed, 0);
	of.fewest = 3; // busy, or SCALE_MIN
	assert_int_equal(judged(NULL, 0, &of).needed, 3);
}

// The one that is there starts a job at 0, 30 and 60 s, a new one at about 10 and 40 s.
static void a_burst_needs_as_many_as_start_it_in_time(void **state) {
	(void)state;
	struct hindsight_run runs[9];
	fill(runs, 9, NOW, NOW, 30 * S);
	assert_int_equal(judged(runs, 9, &minute).needed, 4);
	assert_int_equal(judged(runs, 3, &minute).needed, 1);
	struct hindsight_case of = minute;
	of.slots = 3;
	assert_int_equal(judged(runs, 9, &of).needed, 1);
	of = minute;
	of.most = 2;
	assert_int_equal(judged(runs, 9, &of).needed, 2);
}

static void what_runs_holds_its_slot(void **state) {
	(void)state;
	struct hindsight_run runs[2];
	fill(runs, 1, NOW - 30 * S, NOW - 20 * S, 3600 * S);
	fill(runs + 1, 1, NOW, NOW + 3600 * S, S);
	struct hindsight_case of = minute;
	of.fewest = 1;
	assert_int_equal(judged(runs, 2, &of).needed, 2);
	runs[0].ended_ms = NOW + 20 * S;
	assert_int_equal(judged(runs, 2, &of).needed, 1);
}

// Due before any new one is there: then soon after that.
static void what_is_late_already_is_to_start_soon(void **state) {
	(void)state;
	struct hindsight_run runs[6];
	fill(runs, 6, NOW - 100 * S, NOW, 20 * S);
	struct hindsight_case of = minute;
	of.actual = 0;
	int64_t needed = judged(runs, 6, &of).needed;
	assert_in_range((uintmax_t)needed, 4, 6);
	for (size_t i = 0; i < 6; i++) runs[i].started_ms = runs[i].ended_ms = NEVER; // run_ms counts
	assert_in_range((uintmax_t)judged(runs, 6, &of).needed, 2, 4);
}

static void what_came_later_is_in_the_way_but_others_decided_on_it(void **state) {
	(void)state;
	struct hindsight_run runs[41];
	fill(runs, 1, NOW, NOW, S);
	fill(runs + 1, 40, NOW + 20 * S, NOW + 20 * S, 30 * S);
	assert_int_equal(judged(runs, 41, &minute).needed, 1);
}

static void more_workers_do_not_help_who_is_at_a_users_limit(void **state) {
	(void)state;
	struct hindsight_run runs[9];
	fill(runs, 9, NOW, NOW, 30 * S);
	struct hindsight_case of = minute;
	of.user_running = 1;
	assert_int_equal(judged(runs, 9, &of).needed, 1);
	for (int i = 0; i < 9; i++) runs[i].user = i;
	assert_int_equal(judged(runs, 9, &of).needed, 4);
}

static void a_long_queue_is_judged_by_its_oldest_jobs(void **state) {
	(void)state;
	size_t count = HINDSIGHT_JOBS + 10;
	AUTO_FREE struct hindsight_run *runs = mem_zalloc_array(count, sizeof *runs);
	fill(runs, count, NOW - S, NOW, 10 * S);
	struct hindsight hindsight = judged(runs, count, &minute);
	assert_true(hindsight.partly);
	assert_int_equal(hindsight.needed, minute.most);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_happened_is_counted_while_it_held),
		cmocka_unit_test(who_has_nothing_to_do_needs_nobody_but_what_must_be),
		cmocka_unit_test(a_burst_needs_as_many_as_start_it_in_time),
		cmocka_unit_test(what_runs_holds_its_slot),
		cmocka_unit_test(what_is_late_already_is_to_start_soon),
		cmocka_unit_test(what_came_later_is_in_the_way_but_others_decided_on_it),
		cmocka_unit_test(more_workers_do_not_help_who_is_at_a_users_limit),
		cmocka_unit_test(a_long_queue_is_judged_by_its_oldest_jobs),
	};
	return cmocka_run_group_tests_name("hindsight", tests, NULL, NULL);
}
