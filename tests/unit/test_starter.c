#include "lib/log.h"
#include "lib/mem.h"
#include "lib/starter.h"

#include <stdatomic.h>
#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static struct loop *loop;
static atomic_int runs;
static int failures; // of the step, before it succeeds
static int done_calls, failed_calls;
static int gate[2]; // a step that reads from it hangs until it is closed

static int run(void *arg, struct error *error) {
	(void)arg;
	if (atomic_fetch_add(&runs, 1) < failures) return error_set(error, ERROR_UNAVAILABLE, "nobody there");
	return 0;
}

static int run_hopeless(void *arg, struct error *error) {
	(void)arg;
	runs++;
	return error_set(error, ERROR_INPUT, "NAME: no such thing");
}

static int run_hanging(void *arg, struct error *error) {
	(void)arg, (void)error;
	char c;
	return read(gate[0], &c, 1) == 0 ? 0 : -1;
}

static void done(void *arg) {
	(void)arg;
	done_calls++;
	loop_stop(loop);
}

static void failed(const struct error *error, void *arg) {
	(void)arg;
	assert_int_equal(error->kind, ERROR_INPUT);
	assert_string_equal(error_text(error), "NAME: no such thing");
	failed_calls++;
	loop_stop(loop);
}

static struct starter *begin(int (*step)(void *arg, struct error *error)) {
	return starter_run(loop, &(struct starter_step){.name = "test", .run = step, .done = done, .failed = failed});
}

static void a_step_is_repeated_until_it_succeeds(void **state) {
	(void)state;
	failures = 2;
	struct starter *starter = begin(run);
	loop_run(loop);
	assert_int_equal(runs, 3);
	assert_int_equal(done_calls, 1);
	assert_true(starter_done(starter, NULL));
	assert_int_equal(starter_stop(starter, 1000), 0);
}

static void look(void *arg) {
	struct starter *starter = arg;
	AUTO_FREE char *why = NULL;
	if (!starter_done(starter, &why) && strstr(why, "nobody there")) loop_stop(loop);
}

static void a_step_that_fails_says_why_and_can_be_stopped_between_two_tries(void **state) {
	(void)state;
	failures = 1000000;
	struct starter *starter = begin(run);
	struct loop_timer *timer = loop_timer_new(loop, look, starter);
	while (runs < 2) {
		loop_timer_set(timer, 1);
		loop_run(loop);
	}
	loop_timer_free(timer);
	assert_int_equal(starter_stop(starter, 5000), 0);
	assert_int_equal(done_calls, 0);
}

static void a_step_that_fails_by_the_configuration_is_not_repeated(void **state) {
	(void)state;
	struct starter *starter = begin(run_hopeless);
	loop_run(loop);
	AUTO_FREE char *why = NULL;
	assert_int_equal(runs, 1);
	assert_int_equal(failed_calls, 1);
	assert_int_equal(done_calls, 0);
	assert_false(starter_done(starter, &why));
	assert_string_equal(why, "NAME: no such thing");
	assert_int_equal(starter_stop(starter, 1000), 0);
}

static void a_step_that_hangs_does_not_hold_up_the_stop(void **state) {
	(void)state;
	struct starter *starter = begin(run_hanging);
	AUTO_FREE char *why = NULL;
	assert_false(starter_done(starter, &why));
	assert_string_equal(why, "not asked yet");
	assert_int_equal(starter_stop(starter, 20), -1);
	close(gate[1]);
	assert_int_equal(starter_stop(starter, 5000), 0);
	assert_int_equal(done_calls, 0);
}

static void nothing_is_to_be_stopped_where_nothing_was_started(void **state) {
	(void)state;
	starter_ask(NULL);
	assert_int_equal(starter_stop(NULL, 0), 0);
}

static int start(void **state) {
	(void)state;
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_JSON);
	loop = loop_new();
	runs = 0;
	done_calls = failed_calls = 0;
	return pipe2(gate, 0);
}

static int end(void **state) {
	(void)state;
	close(gate[0]);
	loop_free(loop);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(a_step_is_repeated_until_it_succeeds),
		TEST(a_step_that_fails_says_why_and_can_be_stopped_between_two_tries),
		TEST(a_step_that_fails_by_the_configuration_is_not_repeated),
		TEST(a_step_that_hangs_does_not_hold_up_the_stop),
		TEST(nothing_is_to_be_stopped_where_nothing_was_started),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
