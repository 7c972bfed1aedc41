#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static struct metric accepted = {
	.name = "trabajos_test_requests_total", .labels = "code=\"200\"", .help = "Requests.", .type = METRIC_COUNTER};
static struct metric waiting = {.name = "trabajos_test_waiting_jobs", .help = "Jobs that wait.", .type = METRIC_GAUGE};
static struct metric refused = {
	.name = "trabajos_test_requests_total", .labels = "code=\"401\"", .help = "Requests.", .type = METRIC_COUNTER};
static struct metric age = {.name = "trabajos_test_age_seconds", .help = "Age.", .type = METRIC_GAUGE, .scale = 1000};
static struct metric took = {.name = "trabajos_test_wait_seconds", .help = "Wait.", .type = METRIC_HISTOGRAM};
static struct metric labelled = {
	.name = "trabajos_test_run_seconds", .labels = "plan=\"make\"", .help = "Run.", .type = METRIC_HISTOGRAM};

static int setup(void **state) {
	(void)state;
	struct metric *all[] = {&accepted, &waiting, &refused, &age, &took, &labelled};
	for (size_t i = 0; i < COUNT_OF(all); i++) metrics_register(all[i]);
	return 0;
}

static void has(const char *page, const char *part) {
	if (!strstr(page, part)) fail_msg("\"%s\" is missing in\n%s", part, page);
}

static void metrics_of_a_name_stand_together_under_one_head(void **state) {
	(void)state;
	metric_add(&accepted, 2);
	metric_add(&accepted, 1);
	metric_add(&refused, 5);
	AUTO_FREE char *page = metrics_render();
	has(page, "# HELP trabajos_test_requests_total Requests.\n# TYPE trabajos_test_requests_total counter\n"
		  "trabajos_test_requests_total{code=\"200\"} 3\ntrabajos_test_requests_total{code=\"401\"} 5\n# HELP ");
	assert_int_equal(metric_get(&accepted), 3);
}

static void gauges_go_up_and_down_and_show_base_units(void **state) {
	(void)state;
	metric_set(&waiting, 7);
	metric_add(&waiting, -9);
	metric_set(&age, 1250);
	AUTO_FREE char *page = metrics_render();
	has(page, "# TYPE trabajos_test_waiting_jobs gauge\ntrabajos_test_waiting_jobs -2\n");
	has(page, "\ntrabajos_test_age_seconds 1.25\n");
}

static void registering_again_changes_nothing(void **state) {
	(void)state;
	AUTO_FREE char *before = metrics_render();
	metrics_register(&waiting);
	metrics_register(&took);
	AUTO_FREE char *after = metrics_render();
	const char *mark = "# HELP process_";
	*strstr(before, mark) = *strstr(after, mark) = '\0';
	assert_string_equal(before, after);
}

static void an_empty_histogram_counts_nothing(void **state) {
	(void)state;
	assert_int_equal(metric_count(&took), 0);
}

static void a_histogram_shows_cumulative_buckets_in_seconds(void **state) {
	(void)state;
	metric_observe_ms(&took, 0);
	metric_observe_ms(&took, 1);
	metric_observe_ms(&took, 12);
	metric_observe_ms(&took, 1500);
	metric_observe_ms(&took, 7200000); // beyond all bounds
	AUTO_FREE char *page = metrics_render();
	has(page, "# TYPE trabajos_test_wait_seconds histogram\ntrabajos_test_wait_seconds_bucket{le=\"0.001\"} 2\n");
	has(page, "\ntrabajos_test_wait_seconds_bucket{le=\"0.01\"} 2\ntrabajos_test_wait_seconds_bucket{le=\"0.015\"} 3\n");
	has(page, "\ntrabajos_test_wait_seconds_bucket{le=\"1\"} 3\ntrabajos_test_wait_seconds_bucket{le=\"1.5\"} 4\n");
	has(page, "\ntrabajos_test_wait_seconds_bucket{le=\"3600\"} 4\ntrabajos_test_wait_seconds_bucket{le=\"+Inf\"} 5\n"
		  "trabajos_test_wait_seconds_sum 7201.513\ntrabajos_test_wait_seconds_count 5\n");
}

static void labels_of_a_histogram_come_before_the_bound(void **state) {
	(void)state;
	metric_observe_ms(&labelled, 100);
	AUTO_FREE char *page = metrics_render();
	has(page, "\ntrabajos_test_run_seconds_bucket{plan=\"make\",le=\"0.1\"} 1\n");
	has(page, "\ntrabajos_test_run_seconds_sum{plan=\"make\"} 0.1\ntrabajos_test_run_seconds_count{plan=\"make\"} 1\n");
}

static double value_of(const char *page, const char *name) {
	AUTO_FREE char *line = mem_format("\n%s ", name);
	const char *at = strstr(page, line);
	if (!at) fail_msg("%s is missing", name);
	return strtod(at + strlen(line), NULL);
}

static void the_process_and_its_build_are_described(void **state) {
	(void)state;
	AUTO_FREE char *page = metrics_render();
	double now_s = (double)loop_wall_ms() / 1000;
	assert_true(value_of(page, "process_resident_memory_bytes") > 100000);
	assert_true(value_of(page, "process_virtual_memory_bytes") >= value_of(page, "process_resident_memory_bytes"));
	assert_true(value_of(page, "process_start_time_seconds") > now_s - 120);
	assert_true(value_of(page, "process_start_time_seconds") < now_s + 2);
	assert_true(value_of(page, "process_cpu_seconds_total") < 120);
	double open_fds = value_of(page, "process_open_fds");
	assert_true(open_fds >= 3 && open_fds < 20);
	has(page, "\ntrabajos_build_info{version=\"");
	assert_int_equal(page[strlen(page) - 1], '\n');
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_up(void *arg) {
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		metric_add(&waiting, 1);
		metric_observe_ms(&labelled, i);
	}
	return NULL;
}

static void several_threads_lose_no_count(void **state) {
	(void)state;
	metric_set(&waiting, 0);
	int64_t before = metric_count(&labelled);
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
	AUTO_FREE char *page = metrics_render();
	has(page, "trabajos_test_waiting_jobs");
	for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	assert_int_equal(metric_get(&waiting), THREADS * ROUNDS);
	assert_int_equal(metric_count(&labelled) - before, THREADS * ROUNDS);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metrics_of_a_name_stand_together_under_one_head),
		cmocka_unit_test(gauges_go_up_and_down_and_show_base_units),
		cmocka_unit_test(registering_again_changes_nothing),
		cmocka_unit_test(an_empty_histogram_counts_nothing),
		cmocka_unit_test(a_histogram_shows_cumulative_buckets_in_seconds),
		cmocka_unit_test(labels_of_a_histogram_come_before_the_bound),
		cmocka_unit_test(the_process_and_its_build_are_described),
		cmocka_unit_test(several_threads_lose_no_count),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
