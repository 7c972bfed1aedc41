// A kernel without room for further watches: the system call is taken over here, since a real shortage would be one for the whole uid.
#include "tests/unit/loop_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refusal, refused; // errno; 0: there is room

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
	if (operation == EPOLL_CTL_ADD && refusal) {
		refused++;
		errno = refusal;
		return -1;
	}
	return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

static int setup_full(void **state) {
	refusal = ENOSPC;
	refused = 0;
	return setup(state);
}

static int teardown_full(void **state) {
	refusal = 0;
	return teardown(state);
}

// ---- one end is watched

struct end {
	int fd, other;
	int calls;
	uint32_t seen;
	struct loop_fd *watch;
};

static void note(uint32_t events, void *arg) {
	struct end *end = arg;
	char byte;
	end->calls++;
	end->seen |= events;
	if (events & EPOLLIN) (void)!read(end->fd, &byte, 1);
	loop_stop(loop);
}

static void end_open(struct end *end, void (*fn)(uint32_t events, void *arg), uint32_t events) {
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	*end = (struct end){.fd = ends[0], .other = ends[1]};
	end->watch = loop_fd_add(loop, end->fd, events, fn, end);
}

static void end_close(struct end *end) {
	loop_fd_remove(end->watch);
	close(end->fd);
	if (end->other >= 0) close(end->other);
}

static void poke(const struct end *end) {
	assert_int_equal(write(end->other, "x", 1), 1);
}

static void run_ms(int ms) {
	struct loop_timer *timer = loop_timer_new(loop, stop, NULL);
	loop_timer_set(timer, ms);
	loop_run(loop);
	loop_timer_free(timer);
}

// ---- tests

static void a_descriptor_without_room_is_watched_nevertheless(void **state) {
	(void)state;
	struct end a, b;
	end_open(&a, note, EPOLLIN);
	refusal = ENOMEM;
	end_open(&b, note, EPOLLOUT);
	assert_int_equal(refused, 2);
	loop_run(loop);
	assert_int_equal(a.calls, 0);
	assert_int_equal(b.seen, EPOLLOUT);
	loop_fd_events(b.watch, 0);
	poke(&a);
	loop_run(loop);
	assert_int_equal(a.seen, EPOLLIN);
	assert_int_equal(b.calls, 1);
	end_close(&a);
	end_close(&b);
}

static void those_that_have_room_and_those_that_have_none_are_both_heard(void **state) {
	(void)state;
	struct end inside, outside;
	refusal = 0;
	end_open(&inside, note, EPOLLIN);
	refusal = ENOSPC;
	end_open(&outside, note, EPOLLIN);
	poke(&inside);
	loop_run(loop);
	poke(&outside);
	loop_run(loop);
	assert_int_equal(inside.calls, 1);
	assert_int_equal(outside.calls, 1);
	end_close(&inside);
	end_close(&outside);
}

static void it_moves_into_epoll_as_soon_as_there_is_room(void **state) {
	(void)state;
	struct end a;
	end_open(&a, note, EPOLLIN);
	poke(&a);
	loop_run(loop);
	int before = refused;
	assert_true(before > 1);
	refusal = 0;
	poke(&a);
	loop_run(loop);
	assert_int_equal(a.calls, 2);
	// Nothing asks for room any more, and its events can be changed as those of any other.
	refusal = ENOSPC;
	loop_fd_events(a.watch, EPOLLIN | EPOLLRDHUP);
	close(a.other);
	a.other = -1;
	loop_run(loop);
	assert_true(a.seen & EPOLLRDHUP);
	assert_int_equal(refused, before);
	end_close(&a);
}

static void a_paused_one_hears_only_that_the_other_side_is_gone(void **state) {
	(void)state;
	struct end a;
	end_open(&a, note, 0);
	poke(&a);
	run_ms(5);
	assert_int_equal(a.calls, 0);
	close(a.other);
	a.other = -1;
	loop_run(loop);
	assert_int_equal(a.seen, EPOLLHUP);
	end_close(&a);
}

static struct end pair[2];

// Also adds watchers: the list of them moves while it is gone through.
static void remove_both_and_add(uint32_t events, void *arg) {
	struct end *end = arg;
	(void)events;
	end->calls++;
	loop_fd_remove(pair[0].watch);
	loop_fd_remove(pair[1].watch);
	pair[0].watch = pair[1].watch = NULL;
	struct end more[40];
	for (size_t i = 0; i < COUNT_OF(more); i++) end_open(&more[i], note, EPOLLIN);
	for (size_t i = 0; i < COUNT_OF(more); i++) end_close(&more[i]);
}

static void a_removed_one_is_never_called_again_though_it_was_ready(void **state) {
	(void)state;
	for (size_t i = 0; i < COUNT_OF(pair); i++) {
		end_open(&pair[i], remove_both_and_add, EPOLLIN);
		poke(&pair[i]);
	}
	run_ms(5);
	assert_int_equal(pair[0].calls + pair[1].calls, 1);
	for (size_t i = 0; i < COUNT_OF(pair); i++) end_close(&pair[i]);
}

static void one_that_was_removed_between_two_runs_does_not_come_back(void **state) {
	(void)state;
	struct end a;
	end_open(&a, note, EPOLLIN);
	poke(&a);
	loop_fd_remove(a.watch);
	a.watch = NULL;
	refusal = 0;
	run_ms(5);
	assert_int_equal(a.calls, 0);
	end_close(&a);
}

static void one_that_is_closed_before_its_removal_is_silent(void **state) {
	(void)state;
	struct end a, b;
	end_open(&a, note, EPOLLIN);
	end_open(&b, note, EPOLLIN);
	close(a.fd);
	a.fd = -1;
	poke(&b);
	loop_run(loop);
	int before = refused;
	// It is no reason to wake up either: in a loop that turns for it, far more would be asked.
	run_ms(20);
	assert_in_range(refused - before, 0, 10);
	assert_int_equal(a.calls, 0);
	assert_int_equal(b.calls, 1);
	loop_fd_remove(a.watch);
	close(a.other);
	end_close(&b);
}

static void many_are_each_heard(void **state) {
	(void)state;
	static struct end many[200];
	for (size_t i = 0; i < COUNT_OF(many); i++) end_open(&many[i], note, EPOLLIN);
	for (size_t i = 0; i < COUNT_OF(many); i++) {
		poke(&many[i]);
		loop_run(loop);
		assert_int_equal(many[i].calls, 1);
	}
	for (size_t i = 0; i < COUNT_OF(many); i++) end_close(&many[i]);
}

static void wake_and_stop(void *arg) {
	(void)arg;
	loop_stop(loop);
}

static void a_wake_up_needs_no_room(void **state) {
	(void)state;
	struct loop_wakeup *wakeup = loop_wakeup_new(loop, wake_and_stop, NULL);
	loop_wakeup_fire(wakeup);
	loop_run(loop);
	loop_wakeup_free(wakeup);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup_full, teardown_full)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(a_descriptor_without_room_is_watched_nevertheless),
		TEST(those_that_have_room_and_those_that_have_none_are_both_heard),
		TEST(it_moves_into_epoll_as_soon_as_there_is_room),
		TEST(a_paused_one_hears_only_that_the_other_side_is_gone),
		TEST(a_removed_one_is_never_called_again_though_it_was_ready),
		TEST(one_that_was_removed_between_two_runs_does_not_come_back),
		TEST(one_that_is_closed_before_its_removal_is_silent),
		TEST(many_are_each_heard),
		TEST(a_wake_up_needs_no_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
