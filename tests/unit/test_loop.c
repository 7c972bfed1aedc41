#include "lib/mem.h"
#include "tests/unit/loop_rig.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

// ---- timers

static char trace[64];

static void note(void *arg) {
	const char *mark = arg;
	size_t length = strlen(trace);
	assert_true(length + 1 < sizeof(trace));
	trace[length] = *mark;
	trace[length + 1] = '\0';
}

static void timers_fire_in_the_order_of_their_deadlines_and_not_before(void **state) {
	(void)state;
	trace[0] = '\0';
	struct loop_timer *a = loop_timer_new(loop, note, (char[]){"a"}), *b = loop_timer_new(loop, note, (char[]){"b"});
	struct loop_timer *c = loop_timer_new(loop, note, (char[]){"c"}), *d = loop_timer_new(loop, note, (char[]){"d"});
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	int64_t start_us = loop_now_us();
	loop_timer_set(end, 30);
	loop_timer_set(c, 20);
	loop_timer_set(a, 5);
	loop_timer_set(b, 10);
	loop_timer_set(d, 20); // same delay, set later
	loop_run(loop);
	assert_in_range(loop_now_us() - start_us, 30000, 5000000);
	assert_string_equal(trace, "abcd");
	assert_false(loop_timer_active(a));
	loop_timer_free(a);
	loop_timer_free(b);
	loop_timer_free(c);
	loop_timer_free(d);
	loop_timer_free(end);
}

static void a_timer_can_be_moved_and_stopped(void **state) {
	(void)state;
	trace[0] = '\0';
	struct loop_timer *a = loop_timer_new(loop, note, (char[]){"a"}), *b = loop_timer_new(loop, note, (char[]){"b"});
	struct loop_timer *c = loop_timer_new(loop, note, (char[]){"c"}), *end = loop_timer_new(loop, stop, NULL);
	loop_timer_set(a, 1);
	loop_timer_set(b, 2);
	loop_timer_set(c, 3);
	loop_timer_set(a, 10); // later
	loop_timer_set(end, 1000);
	loop_timer_set(end, 20); // earlier
	loop_timer_stop(c);
	loop_timer_stop(c); // again is harmless
	assert_false(loop_timer_active(c));
	assert_true(loop_timer_active(a));
	loop_run(loop);
	assert_string_equal(trace, "ba");
	loop_timer_free(a);
	loop_timer_free(b);
	loop_timer_free(c);
	loop_timer_free(end);
	loop_timer_free(NULL);
}

static struct loop_timer *mine, *others;

static void free_both(void *arg) {
	note(arg);
	loop_timer_free(mine);
	loop_timer_free(others);
}

static void a_timer_may_free_itself_and_others_that_are_due(void **state) {
	(void)state;
	trace[0] = '\0';
	mine = loop_timer_new(loop, free_both, (char[]){"m"});
	others = loop_timer_new(loop, note, (char[]){"o"});
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	loop_timer_set(mine, 0);
	loop_timer_set(others, 0);
	loop_timer_set(end, 5);
	loop_run(loop);
	assert_string_equal(trace, "m");
	loop_timer_free(end);
}

struct ticker {
	struct loop_timer *timer;
	int ticks;
};

static void tick(void *arg) {
	struct ticker *ticker = arg;
	ticker->ticks++;
	loop_timer_set(ticker->timer, 0);
}

static void stop_on_event(uint32_t events, void *arg) {
	(void)events;
	(void)arg;
	loop_stop(loop);
}

static void a_timer_that_sets_itself_with_delay_0_does_not_starve_descriptors(void **state) {
	(void)state;
	struct ticker ticker = {.ticks = 0};
	ticker.timer = loop_timer_new(loop, tick, &ticker);
	loop_timer_set(ticker.timer, -1); // as 0
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	struct loop_fd *watch = loop_fd_add(loop, ends[0], 0, stop_on_event, NULL);
	close(ends[1]); // a hang-up comes though nothing was asked for
	loop_run(loop);
	assert_in_range(ticker.ticks, 0, 2);
	loop_fd_remove(watch);
	close(ends[0]);
	loop_timer_free(ticker.timer);
}

enum { MANY = 10000, STEP_MS = 20 };
// Between which moments each is due, in microseconds; and the latest moment at which one that has fired was due at the earliest.
static struct { int64_t earliest, latest; } due_of[MANY];
static int64_t reached, fired;

static void in_order(void *arg) {
	size_t which = (size_t)(intptr_t)arg;
	if (due_of[which].latest < reached) fail_msg("timer %zu came after one that was due later", which);
	if (due_of[which].earliest > reached) reached = due_of[which].earliest;
	fired++;
}

static void set_noting(struct loop_timer *timer, size_t which, int64_t delay_ms) {
	due_of[which].earliest = loop_now_us() + delay_ms * 1000;
	loop_timer_set(timer, delay_ms);
	due_of[which].latest = loop_now_us() + 1 + delay_ms * 1000;
}

static void ten_thousand_timers_stay_in_order_through_moves_and_stops(void **state) {
	(void)state;
	static struct loop_timer *timers[MANY];
	unsigned random = 12345;
	int64_t expected = 0;
	reached = fired = 0;
	for (int i = 0; i < MANY; i++) timers[i] = loop_timer_new(loop, in_order, (void *)(intptr_t)i);
	for (int i = 0; i < 5 * MANY; i++) {
		random = random * 1103515245 + 12345;
		int which = (int)(random >> 8) % MANY;
		if (random >> 28 == 0) {
			loop_timer_stop(timers[which]);
		} else {
			loop_timer_set(timers[which], random >> 16);
		}
	}
	for (int i = 0; i < MANY; i++) {
		random = random * 1103515245 + 12345;
		if (loop_timer_active(timers[i])) set_noting(timers[i], (size_t)i, 100 + (random >> 8) % 5 * STEP_MS);
		expected += loop_timer_active(timers[i]);
	}
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	loop_timer_set(end, 100 + 6 * STEP_MS);
	loop_run(loop);
	assert_in_range(expected, MANY / 2, MANY - 1);
	assert_int_equal(fired, expected);
	for (int i = 0; i < MANY; i++) loop_timer_free(timers[i]);
	loop_timer_free(end);
}

// ---- descriptors

struct reader {
	struct loop_fd *watch;
	int ends[2];
	int calls;
	struct reader *victim; // removed by the first that is called
};

static void reader_open(struct reader *reader, void (*fn)(uint32_t events, void *arg)) {
	reader->calls = 0;
	assert_int_equal(pipe2(reader->ends, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(write(reader->ends[1], "x", 1), 1);
	reader->watch = loop_fd_add(loop, reader->ends[0], EPOLLIN, fn, reader);
}

static void reader_close(struct reader *reader) {
	loop_fd_remove(reader->watch);
	close(reader->ends[0]);
	close(reader->ends[1]);
}

static void remove_self_and_victim(uint32_t events, void *arg) {
	struct reader *reader = arg;
	assert_true(events & EPOLLIN);
	reader->calls++;
	loop_fd_remove(reader->watch);
	loop_fd_remove(reader->victim->watch);
	reader->watch = reader->victim->watch = NULL;
	loop_stop(loop);
}

static void count_and_stop_at_100(uint32_t events, void *arg) {
	struct reader *reader = arg;
	assert_true(events & EPOLLIN);
	if (++reader->calls == 100) loop_stop(loop);
}

static void a_removed_watcher_is_never_called_again_though_it_was_ready(void **state) {
	(void)state;
	struct reader a, b;
	reader_open(&a, remove_self_and_victim);
	reader_open(&b, remove_self_and_victim);
	a.victim = &b;
	b.victim = &a;
	loop_run(loop);
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	loop_timer_set(end, 5);
	loop_run(loop);
	assert_int_equal(a.calls + b.calls, 1);
	loop_timer_free(end);
	reader_close(&a);
	reader_close(&b);
}

struct swap {
	struct reader *from, *to;
	int calls;
};

static void replace(uint32_t events, void *arg) {
	struct swap *swap = arg;
	(void)events;
	if (swap->calls++ > 0) return;
	// the other pipe, ready in this very round, goes; a new, silent one takes its number
	int number = swap->from->ends[0];
	reader_close(swap->from);
	swap->from->watch = NULL;
	assert_int_equal(pipe2(swap->to->ends, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(swap->to->ends[0], number);
	swap->to->watch = loop_fd_add(loop, number, EPOLLIN, count_and_stop_at_100, swap->to);
}

static void a_descriptor_that_takes_a_removed_ones_number_gets_none_of_its_events(void **state) {
	(void)state;
	struct reader first = {.calls = 0}, second = {.calls = 0}, fresh = {.calls = 0};
	struct swap swap = {.from = &second, .to = &fresh};
	reader_open(&first, replace);
	loop_fd_remove(first.watch);
	first.watch = loop_fd_add(loop, first.ends[0], EPOLLIN, replace, &swap);
	reader_open(&second, count_and_stop_at_100);
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	loop_timer_set(end, 10);
	loop_run(loop);
	assert_int_equal(fresh.calls, 0);
	assert_int_equal(second.calls, 0);
	loop_timer_free(end);
	reader_close(&first);
	reader_close(&fresh);
}

static void pause_other(uint32_t events, void *arg) {
	struct reader *reader = arg;
	(void)events;
	reader->calls++;
	loop_fd_events(reader->watch, 0);
	loop_fd_events(reader->victim->watch, 0);
}

static void a_paused_descriptor_is_silent_from_that_moment_until_it_goes_on(void **state) {
	(void)state;
	struct reader a, b;
	reader_open(&a, pause_other);
	reader_open(&b, pause_other);
	a.victim = &b;
	b.victim = &a;
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	loop_timer_set(end, 5);
	loop_run(loop);
	assert_int_equal(a.calls + b.calls, 1);
	loop_fd_events(a.watch, EPOLLIN);
	loop_timer_set(end, 5);
	loop_run(loop);
	assert_int_equal(a.calls + b.calls, 2);
	loop_timer_free(end);
	reader_close(&a);
	reader_close(&b);
}

static void readiness_is_told_as_long_as_it_lasts(void **state) {
	(void)state;
	struct reader a;
	reader_open(&a, count_and_stop_at_100);
	loop_run(loop);
	assert_int_equal(a.calls, 100);
	reader_close(&a);
}

static void another_epoll_descriptor_is_watched_like_any(void **state) {
	(void)state;
	struct reader a;
	reader_open(&a, count_and_stop_at_100);
	loop_fd_remove(a.watch);
	int inner = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN};
	assert_int_equal(epoll_ctl(inner, EPOLL_CTL_ADD, a.ends[0], &event), 0);
	a.watch = loop_fd_add(loop, inner, EPOLLIN, count_and_stop_at_100, &a);
	loop_run(loop);
	assert_int_equal(a.calls, 100);
	reader_close(&a);
	close(inner);
}

static void a_stop_before_the_run_is_not_lost(void **state) {
	(void)state;
	loop_stop(loop);
	loop_run(loop);
}

static void the_clocks_are_what_they_say(void **state) {
	(void)state;
	int64_t ms = loop_now_ms(), us = loop_now_us();
	assert_in_range(us / 1000 - ms, 0, 1000);
	assert_in_range(loop_wall_ms() / 1000 - time(NULL) + 1, 0, 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(timers_fire_in_the_order_of_their_deadlines_and_not_before),
		TEST(a_timer_can_be_moved_and_stopped),
		TEST(a_timer_may_free_itself_and_others_that_are_due),
		TEST(a_timer_that_sets_itself_with_delay_0_does_not_starve_descriptors),
		TEST(ten_thousand_timers_stay_in_order_through_moves_and_stops),
		TEST(a_removed_watcher_is_never_called_again_though_it_was_ready),
		TEST(a_descriptor_that_takes_a_removed_ones_number_gets_none_of_its_events),
		TEST(a_paused_descriptor_is_silent_from_that_moment_until_it_goes_on),
		TEST(readiness_is_told_as_long_as_it_lasts),
		TEST(another_epoll_descriptor_is_watched_like_any),
		TEST(a_stop_before_the_run_is_not_lost),
		TEST(the_clocks_are_what_they_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
