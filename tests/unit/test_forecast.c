// How many jobs a slot begins: against what chance itself does.

#include "lib/attr.h"
#include "observer/forecast.h"

#include <math.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static const int64_t none[SAMPLE_QUANTILES];

static struct forecast of_mean(int64_t mean_ms) {
	struct forecast forecast;
	forecast_init(&forecast, none, mean_ms, 100, &(struct sample){0});
	return forecast;
}

static double busy_begins(const struct forecast *forecast, double age_ms, double h_ms) {
	return forecast_busy_begins(forecast, age_ms, h_ms, forecast_cut_ms(forecast, h_ms));
}

static bool is_near(double a, double b) {
	return fabs(a - b) < 1e-6;
}

static void a_free_slot_begins_one_job_at_least(void **state) {
	(void)state;
	struct forecast forecast = of_mean(60000);
	assert_true(is_near(forecast_free_begins(&forecast, 0), 1));
	assert_true(is_near(forecast_free_begins(&forecast, -5), 1));
	assert_true(is_near(forecast_free_begins(&forecast, 30000), 1));
	assert_true(is_near(forecast_free_begins(&forecast, 180000), 3));
}

static void a_busy_slot_begins_none_before_its_run_ends(void **state) {
	(void)state;
	struct forecast forecast = of_mean(60000);
	assert_true(is_near(busy_begins(&forecast, 10000, 40000), 0));
	assert_true(is_near(busy_begins(&forecast, 10000, 0), 0));
	assert_true(is_near(busy_begins(&forecast, 50000, 10000), 1)); // at the last moment
	assert_true(is_near(busy_begins(&forecast, 50000, 130000), 2));
}

static void a_run_that_outlasts_all_known_ones_is_expected_to_take_as_long_again(void **state) {
	(void)state;
	struct forecast forecast = of_mean(1000);
	assert_true(is_near(busy_begins(&forecast, 100000, 1000), 1000.0 / 101000));
	assert_true(busy_begins(&forecast, 100000, 100000) > 0.5);
}

static uint64_t bits = 7;

static double uniform(void) {
	bits = bits * 6364136223846793005u + 1442695040888963407u;
	return (double)(bits >> 11) * 0x1p-53;
}

static double pareto(void) {
	return fmin(600000, 5000 * pow(1 - uniform(), -1 / 1.5));
}

static int smaller_first(const void *a, const void *b) {
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

static struct forecast of_pareto(void) {
	static const double levels[SAMPLE_QUANTILES] = {SAMPLE_LEVELS};
	static double runs[100000];
	int64_t quantiles[SAMPLE_QUANTILES];
	for (size_t i = 0; i < COUNT_OF(runs); i++) runs[i] = pareto();
	qsort(runs, COUNT_OF(runs), sizeof *runs, smaller_first);
	for (int i = 0; i < SAMPLE_QUANTILES; i++) quantiles[i] = (int64_t)runs[(size_t)(levels[i] * (COUNT_OF(runs) - 1))];
	struct forecast forecast;
	forecast_init(&forecast, quantiles, 0, 100, &(struct sample){0});
	return forecast;
}

static double begins_by_chance(double h_ms) {
	int begun = 0, slots = 20000;
	for (int i = 0; i < slots; i++) {
		for (double at_ms = 0; at_ms < h_ms; at_ms += pareto()) begun++;
	}
	return (double)begun / slots;
}

static void heavy_tails_are_forecast_on_the_safe_side_and_not_far_off(void **state) {
	(void)state;
	struct forecast forecast = of_pareto();
	for (int seconds = 10; seconds <= 640; seconds *= 4) {
		double promised = forecast_free_begins(&forecast, seconds * 1000), seen = begins_by_chance(seconds * 1000);
		assert_true(promised < seen * 1.1);
		assert_true(promised > seen * 0.5);
	}
}

static void in_an_overload_the_running_ones_tell_what_the_ended_ones_hide(void **state) {
	(void)state;
	struct forecast forecast;
	struct sample sample = {.running = 10, .running_age_ms = 300000};
	forecast_init(&forecast, none, 1000, 10, &sample);
	assert_true(is_near(forecast_mean_ms(&forecast), (1000 + 600000) / 2.0));
	for (int i = 0; i < SAMPLE_TENTHS; i++) sample.running_at_ms[i] = i < 5 ? 1 : 300000;
	forecast_init(&forecast, none, 1000, 10, &sample);
	assert_true(
		is_near(forecast_mean_ms(&forecast), (1000 * 1.5 + 600000 * 0.5) / 2)); // the young ones are as the ended ones
}

static void runs_that_do_not_end_are_longer_than_those_before(void **state) {
	(void)state;
	struct forecast forecast;
	struct sample sample = {.running = 8, .running_age_ms = 1500, .ended = 40, .ended_ms = SAMPLE_PACE_MS};
	forecast_init(&forecast, none, 3000, 100, &sample); // 8 slots, 15 s: that many should have ended
	assert_true(is_near(forecast.points[0].ms, 3000));
	sample.ended = 0;
	sample.running_age_ms = 15000;
	forecast_init(&forecast, none, 100, 100, &sample); // 1200 should have
	assert_true(forecast.points[0].ms > 30000);
	sample.ended_ms = 0; // nobody counted them
	forecast_init(&forecast, none, 100, 100, &sample);
	assert_true(is_near(forecast.points[0].ms, 100));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_free_slot_begins_one_job_at_least),
		cmocka_unit_test(a_busy_slot_begins_none_before_its_run_ends),
		cmocka_unit_test(a_run_that_outlasts_all_known_ones_is_expected_to_take_as_long_again),
		cmocka_unit_test(heavy_tails_are_forecast_on_the_safe_side_and_not_far_off),
		cmocka_unit_test(runs_that_do_not_end_are_longer_than_those_before),
		cmocka_unit_test(in_an_overload_the_running_ones_tell_what_the_ended_ones_hide),
	};
	return cmocka_run_group_tests_name("forecast", tests, NULL, NULL);
}
