// What an actuator does so that there are as many workers as wanted.

#include "observer/fleet_plan.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static struct fleet_unit units[8];
static struct fleet_worker workers[8];
static struct fleet_view view;
static struct fleet_plan plan;

static int clear(void **state UNUSED) {
	memset(units, 0, sizeof units);
	memset(workers, 0, sizeof workers);
	view = (struct fleet_view){.units = units, .workers = workers};
	return 0;
}

static int free_plan(void **state UNUSED) {
	fleet_plan_clear(&plan);
	return 0;
}

static struct fleet_unit *add_unit(int64_t pid) {
	struct fleet_unit *unit = &units[view.unit_count++];
	snprintf(unit->host, sizeof unit->host, "here");
	snprintf(unit->name, sizeof unit->name, "%lld", (long long)pid);
	unit->pid = pid;
	return unit;
}

static struct fleet_worker *add_worker(int64_t pid, int64_t running, int64_t age_ms) {
	struct fleet_worker *worker = &workers[view.worker_count++];
	*worker = (struct fleet_worker){.pid = pid, .running = running, .age_ms = age_ms};
	snprintf(worker->host, sizeof worker->host, "here");
	return worker;
}

static struct fleet_worker *add_both(int64_t pid, int64_t running, int64_t age_ms) {
	add_unit(pid);
	return add_worker(pid, running, age_ms);
}

static void make(int64_t wanted) {
	view.wanted = wanted;
	fleet_plan_make(&view, &plan);
}

#define assert_nothing_to_do()                                                                                                 \
	do {                                                                                                                   \
		assert_int_equal(plan.start, 0);                                                                               \
		assert_int_equal(plan.keep_count, 0);                                                                          \
		assert_int_equal(plan.retire_most, 0);                                                                         \
	} while (0)

static void from_nothing_as_many_are_started_as_are_wanted(void **state UNUSED) {
	make(3);
	assert_int_equal(plan.start, 3);
}

static void a_unit_that_has_not_registered_is_neither_started_twice_nor_ended(void **state UNUSED) {
	add_unit(1);
	make(1);
	assert_nothing_to_do();
	fleet_plan_clear(&plan);
	make(0);
	assert_int_equal(plan.retire_count, 0);
	assert_int_equal(plan.starting, 1);
}

static void idle_ones_retire_before_busy_ones_and_young_ones_before_old_ones(void **state UNUSED) {
	add_both(1, 0, 9000);
	add_both(2, 1, 1000);
	add_both(3, 0, 5000);
	make(2);
	assert_int_equal(plan.retire_most, 1);
	assert_true(plan.only_idle);
	assert_int_equal(plan.retire[0].unit->pid, 3);
	assert_int_equal(plan.retire[1].unit->pid, 1); // in its place, should the first have begun a job
	assert_int_equal(plan.retire[2].unit->pid, 2);
}

static void a_busy_one_is_marked_only_where_fewer_are_wanted_than_are_busy(void **state UNUSED) {
	add_both(1, 1, 9000);
	add_both(2, 2, 1000);
	make(1);
	assert_false(plan.only_idle);
	assert_int_equal(plan.retire_most, 1);
}

static void one_that_retires_is_taken_back_when_it_is_needed_again(void **state UNUSED) {
	struct fleet_worker *busy = add_both(1, 1, 1000), *idle = add_both(2, 0, 1000);
	busy->draining = busy->retiring = idle->draining = idle->retiring = true;
	make(1);
	assert_int_equal(plan.keep_count, 1);
	assert_int_equal(plan.keep[0].unit->pid, 1);
	assert_int_equal(plan.start, 0);
	assert_int_equal(plan.retire_most, 1); // the other goes on leaving
	assert_int_equal(plan.retire[0].unit->pid, 2);
}

static void one_that_was_marked_by_an_observer_before_is_ended_by_this_one(void **state UNUSED) {
	struct fleet_worker *left = add_both(1, 0, 1000);
	add_both(2, 0, 1000);
	left->draining = left->retiring = true;
	make(1);
	assert_int_equal(plan.retire_most, 1);
	assert_int_equal(plan.retire[0].unit->pid, 1);
	assert_int_equal(plan.start, 0);
}

static void what_an_operator_drains_is_left_alone_and_does_not_count(void **state UNUSED) {
	add_both(1, 0, 1000)->draining = true;
	make(1);
	assert_int_equal(plan.start, 1);
	assert_int_equal(plan.retire_count, 0);
}

static void other_peoples_workers_count_and_are_not_touched(void **state UNUSED) {
	add_worker(7, 0, 1000);
	add_worker(8, 0, 1000);
	make(3);
	assert_int_equal(plan.start, 1);
	fleet_plan_clear(&plan);
	make(0);
	assert_int_equal(plan.retire_count, 0);
}

static void a_unit_that_has_ended_does_not_count_though_its_row_lives_on(void **state UNUSED) {
	add_unit(1)->gone = true;
	add_worker(1, 0, 1000);
	make(1);
	assert_int_equal(plan.start, 1);
}

static void enough_is_enough(void **state UNUSED) {
	add_both(1, 0, 1000);
	add_both(2, 3, 1000);
	make(2);
	assert_nothing_to_do();
}

int main(void) {
#define PLAN_TEST(name) cmocka_unit_test_setup_teardown(name, clear, free_plan)
	const struct CMUnitTest tests[] = {
		PLAN_TEST(from_nothing_as_many_are_started_as_are_wanted),
		PLAN_TEST(a_unit_that_has_not_registered_is_neither_started_twice_nor_ended),
		PLAN_TEST(idle_ones_retire_before_busy_ones_and_young_ones_before_old_ones),
		PLAN_TEST(a_busy_one_is_marked_only_where_fewer_are_wanted_than_are_busy),
		PLAN_TEST(one_that_retires_is_taken_back_when_it_is_needed_again),
		PLAN_TEST(one_that_was_marked_by_an_observer_before_is_ended_by_this_one),
		PLAN_TEST(what_an_operator_drains_is_left_alone_and_does_not_count),
		PLAN_TEST(other_peoples_workers_count_and_are_not_touched),
		PLAN_TEST(a_unit_that_has_ended_does_not_count_though_its_row_lives_on),
		PLAN_TEST(enough_is_enough),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
