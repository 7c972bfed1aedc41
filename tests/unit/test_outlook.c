// When jobs of the queue will start, from figures alone.

#include "lib/mem.h"
#include "observer/outlook.h"
#include "observer/runs.h"
#include "observer/startup.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static struct sketch all_of(int64_t ms) {
	struct sketch sketch = {0};
	for (int i = 0; i < 500; i++) sketch_add(&sketch, ms);
	return sketch;
}

// The range for a place that is one of the forecast's.
static void assert_place(const struct outlook *forecast, int64_t place, int64_t least_ms, int64_t most_ms) {
	for (size_t i = 0; i < forecast->count; i++) {
		if (forecast->places[i] != place) continue;
		assert_true(forecast->low_ms[i] <= forecast->median_ms[i] && forecast->median_ms[i] <= forecast->high_ms[i]);
		assert_in_range(forecast->median_ms[i], least_ms, most_ms);
		return;
	}
	fail_msg("no such place");
}

static void quantiles_are_right_within_the_width_of_a_bucket(void **state UNUSED) {
	struct sketch sketch = {0};
	for (int i = 1; i <= 900; i++) sketch_add(&sketch, i * 10);
	assert_in_range(sketch_quantile_ms(&sketch, 0.5), 4500 * 9 / 10, 4500 * 11 / 10);
	assert_in_range(sketch_quantile_ms(&sketch, 0.95), 8550 * 9 / 10, 8550 * 11 / 10);
	assert_in_range((int64_t)sketch_mean_ms(&sketch), 4505 * 9 / 10, 4505 * 11 / 10);
}

static void what_is_old_fades(void **state UNUSED) {
	struct sketch sketch = all_of(100);
	for (int i = 0; i < 5000; i++) sketch_add(&sketch, 10000);
	assert_in_range(sketch_quantile_ms(&sketch, 0.05), 9000, 11000);
}

static void a_run_that_took_longer_than_all_before_is_taken_to_last_on(void **state UNUSED) {
	struct sketch sketch = all_of(1000);
	assert_true(sketch_draw_ms(&sketch, 5000, 0) >= 5000);
	assert_true(sketch_draw_ms(&sketch, 5000, 0.9) > 10000);
	assert_true(sketch_draw_ms(&sketch, 500, 0.5) >= 500);
}

static void without_a_slot_nothing_is_foretold(void **state UNUSED) {
	struct sketch runs = all_of(1000);
	const struct outlook_input input = {.runs = &runs};
	struct outlook forecast;
	outlook_make(&input, &forecast);
	assert_int_equal(forecast.count, 0);
}

static void a_free_slot_takes_the_first_at_once_and_the_others_wait_their_rounds(void **state UNUSED) {
	struct sketch runs = all_of(1000);
	const struct outlook_lane lane = {.jobs = 5000, .weight = 1};
	const struct outlook_input input = {.slots = 2, .lanes = &lane, .lane_count = 1, .runs = &runs};
	struct outlook forecast;
	outlook_make(&input, &forecast);
	assert_place(&forecast, 2, 0, 0);
	assert_place(&forecast, 3, 800, 1300);
	assert_place(&forecast, 200, 85000, 115000);
	assert_place(&forecast, 10000, 4400000, 5600000);
	assert_place(&forecast, 1000000, 440000000, 560000000);
}

static void workers_that_are_coming_take_jobs_when_they_are_there(void **state UNUSED) {
	struct sketch runs = all_of(1000);
	const struct outlook_lane lane = {.jobs = 100, .weight = 1};
	const struct outlook_input input = {
		.starting_slots = 1, .start_ms = 4000, .lanes = &lane, .lane_count = 1, .runs = &runs};
	struct outlook forecast;
	outlook_make(&input, &forecast);
	assert_place(&forecast, 1, 2500, 5500);
}

static void a_running_job_is_awaited_for_what_it_still_takes(void **state UNUSED) {
	struct sketch runs = all_of(10000);
	const struct outlook_running running = {.age_ms = 4000};
	const struct outlook_lane lane = {.jobs = 1, .weight = 1};
	const struct outlook_input input = {
		.slots = 1, .running = &running, .running_count = 1, .lanes = &lane, .lane_count = 1, .runs = &runs};
	struct outlook forecast;
	outlook_make(&input, &forecast);
	assert_place(&forecast, 1, 4500, 7500);
}

static void each_job_takes_what_its_owners_jobs_take(void **state UNUSED) {
	struct sketch slow = all_of(9000), quick = all_of(1000);
	const struct outlook_lane lanes[] = {
		{.jobs = 500, .weight = 1, .runs = &slow}, {.jobs = 500, .weight = 1, .runs = &quick}};
	const struct outlook_input input = {.slots = 1, .lanes = lanes, .lane_count = 2, .runs = &quick};
	struct outlook forecast;
	outlook_make(&input, &forecast);
	assert_place(&forecast, 27, 110000, 150000); // 26 before it, one of each in turn: 130 s
}

static void the_same_input_gives_the_same_forecast(void **state UNUSED) {
	struct sketch runs = all_of(700);
	const struct outlook_lane lane = {.jobs = 3000, .weight = 1};
	const struct outlook_input input = {.slots = 7, .lanes = &lane, .lane_count = 1, .runs = &runs};
	struct outlook one, two;
	outlook_make(&input, &one);
	outlook_make(&input, &two);
	assert_memory_equal(&one, &two, sizeof one);
}

static void runs_are_known_by_owner_and_plan_in_bounded_memory(void **state UNUSED) {
	struct runs *runs = runs_new();
	for (int i = 0; i < 2000; i++) {
		AUTO_FREE char *owner = mem_format("owner-%d", i);
		runs_add(runs, owner, i % 2 ? "make" : NULL, 1000);
	}
	assert_null(runs_of_owner(runs, "owner-1"));
	assert_non_null(runs_of_owner(runs, "owner-1999"));
	AUTO_JSON json_t *plans = runs_plans(runs);
	assert_int_equal(json_object_size(plans), 2);
	assert_non_null(json_object_get(plans, "none"));
	runs_free(runs);
}

static void the_start_up_time_is_the_median_from_asking_to_being_there(void **state UNUSED) {
	struct startup startup = {0};
	startup_actual(&startup, 0, 0);
	assert_int_equal(startup_ms(&startup), 0);
	startup_wanted(&startup, 0, 2);
	startup_actual(&startup, 3000, 1);
	startup_wanted(&startup, 3000, 3); // the second of the first two, and one more
	startup_actual(&startup, 8000, 3);
	assert_int_equal(startup_ms(&startup), 5000); // 3, 5 and 8 s
}

static void a_worker_that_is_wanted_no_more_does_not_count(void **state UNUSED) {
	struct startup startup = {0};
	startup_wanted(&startup, 0, 5);
	startup_wanted(&startup, 1000, 0);
	startup_actual(&startup, 90000, 1); // somebody started one by hand
	assert_int_equal(startup_ms(&startup), 0);
	startup_wanted(&startup, 90000, 2);
	startup_actual(&startup, 90000 + STARTUP_LOST_MS + 1, 2);
	assert_int_equal(startup_ms(&startup), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_are_right_within_the_width_of_a_bucket),
		cmocka_unit_test(what_is_old_fades),
		cmocka_unit_test(a_run_that_took_longer_than_all_before_is_taken_to_last_on),
		cmocka_unit_test(without_a_slot_nothing_is_foretold),
		cmocka_unit_test(a_free_slot_takes_the_first_at_once_and_the_others_wait_their_rounds),
		cmocka_unit_test(workers_that_are_coming_take_jobs_when_they_are_there),
		cmocka_unit_test(a_running_job_is_awaited_for_what_it_still_takes),
		cmocka_unit_test(each_job_takes_what_its_owners_jobs_take),
		cmocka_unit_test(the_same_input_gives_the_same_forecast),
		cmocka_unit_test(runs_are_known_by_owner_and_plan_in_bounded_memory),
		cmocka_unit_test(the_start_up_time_is_the_median_from_asking_to_being_there),
		cmocka_unit_test(a_worker_that_is_wanted_no_more_does_not_count),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
