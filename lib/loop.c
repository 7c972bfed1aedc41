// One epoll descriptor; everything else becomes a descriptor in it (a signalfd for all signals, an eventfd a
// wake-up) or a deadline in the timer heap.
//
// A round is: wait, dispatch the descriptors, fire the timers that were due when the firing began, free what was removed.
// A removed watcher may still stand in the round's array of events: it is only marked, and freed at the round's end.
//
// The kernel bounds the watches of all epolls of a uid together (fs.epoll.max_user_watches), whatever the user namespace: who shares
// the uid can use them up. What epoll refuses for that is polled beside it, and moves into it when there is room.
#include "lib/loop.h"

#include "lib/mem.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#define EVENTS_PER_ROUND 256
#define NOT_SET          SIZE_MAX

struct loop {
	int epoll;
	bool stopped;
	struct loop_fd *removed;  // to be freed at the end of the round
	struct loop_fd **outside; // those that epoll refused; those that were removed stand here until the end of the round
	struct pollfd *polled;    // epoll itself, then those
	size_t outside_count, outside_room;
	struct loop_timer **heap;
	size_t timers, room;
	int signal_fd;
	sigset_t signal_mask;
	struct loop_fd *signal_watch;
	struct loop_signal *signals[_NSIG];
};

struct loop_fd {
	struct loop *loop;
	int fd;
	uint32_t events;
	void (*fn)(uint32_t events, void *arg);
	void *arg;
	bool dead, outside;
	struct loop_fd *next_removed;
};

struct loop_timer {
	struct loop *loop;
	int64_t due_ns; // CLOCK_MONOTONIC
	size_t place;   // in the heap, or NOT_SET
	void (*fn)(void *arg);
	void *arg;
};

struct loop_signal {
	struct loop *loop;
	int signal;
	void (*fn)(int signal, void *arg);
	void *arg;
};

struct loop_wakeup {
	int fd;
	atomic_bool fired;
	struct loop_fd *watch;
	void (*fn)(void *arg);
	void *arg;
};

static int64_t clock_ns(clockid_t clock) {
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t loop_now_ms(void) {
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t loop_now_us(void) {
	return clock_ns(CLOCK_MONOTONIC) / 1000;
}

int64_t loop_wall_ms(void) {
	return clock_ns(CLOCK_REALTIME) / 1000000;
}

// ---- descriptors that epoll refuses

static void put_outside(struct loop *loop, struct loop_fd *watch) {
	if (loop->outside_count == loop->outside_room) {
		loop->outside_room = loop->outside_room ? loop->outside_room * 2 : 16;
		loop->outside = mem_resize(loop->outside, loop->outside_room, sizeof(struct loop_fd *));
		loop->polled = mem_resize(loop->polled, loop->outside_room + 1, sizeof(struct pollfd));
	}
	watch->outside = true;
	loop->outside[loop->outside_count++] = watch;
}

static int add_to_epoll(struct loop_fd *watch) {
	struct epoll_event event = {.events = watch->events, .data.ptr = watch};
	return epoll_ctl(watch->loop->epoll, EPOLL_CTL_ADD, watch->fd, &event);
}

// One that moved, was removed, or was closed under us (as epoll does, it is then dropped) stands outside no longer.
static void tidy_outside(struct loop *loop) {
	size_t kept = 0;
	for (size_t i = 0; i < loop->outside_count; i++)
		if (loop->outside[i]->outside && !loop->outside[i]->dead) loop->outside[kept++] = loop->outside[i];
	loop->outside_count = kept;
}

static void move_inside(struct loop *loop) {
	tidy_outside(loop); // of what was removed since the last round
	for (size_t i = 0; i < loop->outside_count; i++) {
		if (add_to_epoll(loop->outside[i]) == 0)
			loop->outside[i]->outside = false;
		else if (errno == ENOSPC || errno == ENOMEM)
			break;
	}
	tidy_outside(loop);
}

// How many were polled: what is added from here on is not in this round.
static size_t poll_outside(struct loop *loop, int timeout_ms) {
	size_t count = loop->outside_count;
	loop->polled[0] = (struct pollfd){.fd = loop->epoll, .events = POLLIN};
	for (size_t i = 0; i < count; i++)
		loop->polled[i + 1] = (struct pollfd){.fd = loop->outside[i]->fd, .events = (short)loop->outside[i]->events};
	int ready = poll(loop->polled, count + 1, timeout_ms);
	if (ready < 0 && errno != EINTR) mem_die("loop: poll failed");
	return ready < 0 ? 0 : count;
}

static void call(struct loop_fd *watch, uint32_t events) {
	if (watch->dead) return;
	// An earlier callback of this round may have paused it.
	uint32_t wanted = events & (watch->events | EPOLLERR | EPOLLHUP);
	if (wanted) watch->fn(wanted, watch->arg);
}

// The two calls have the same bits for the same events.
static void dispatch_outside(struct loop *loop, size_t count) {
	for (size_t i = 0; i < count && !loop->stopped; i++) {
		struct loop_fd *watch = loop->outside[i];
		uint32_t events = (uint32_t)(unsigned short)loop->polled[i + 1].revents;
		if (events & POLLNVAL)
			watch->outside = false;
		else
			call(watch, events);
	}
}

// ---- descriptors

struct loop_fd *loop_fd_add(struct loop *loop, int fd, uint32_t events, void (*fn)(uint32_t events, void *arg), void *arg) {
	struct loop_fd *watch = mem_zalloc(sizeof(*watch));
	*watch = (struct loop_fd){.loop = loop, .fd = fd, .events = events, .fn = fn, .arg = arg};
	if (add_to_epoll(watch) == 0) return watch;
	if (errno != ENOSPC && errno != ENOMEM) mem_die("loop: epoll takes no such descriptor");
	put_outside(loop, watch);
	return watch;
}

void loop_fd_events(struct loop_fd *watch, uint32_t events) {
	if (watch->events == events) return;
	watch->events = events;
	if (watch->outside) return;
	struct epoll_event event = {.events = events, .data.ptr = watch};
	if (epoll_ctl(watch->loop->epoll, EPOLL_CTL_MOD, watch->fd, &event) != 0) mem_die("loop: descriptor is not watched");
}

void loop_fd_remove(struct loop_fd *watch) {
	if (!watch || watch->dead) return;
	// An error means that a library closed the descriptor under us; epoll has then dropped it by itself.
	if (!watch->outside) (void)epoll_ctl(watch->loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->dead = true;
	watch->next_removed = watch->loop->removed;
	watch->loop->removed = watch;
}

static void free_removed(struct loop *loop) {
	tidy_outside(loop);
	while (loop->removed) {
		struct loop_fd *watch = loop->removed;
		loop->removed = watch->next_removed;
		free(watch);
	}
}

// ---- timers: a binary heap, earliest first

static void heap_put(struct loop *loop, size_t place, struct loop_timer *timer) {
	loop->heap[place] = timer;
	timer->place = place;
}

static void heap_up(struct loop *loop, size_t place) {
	struct loop_timer *timer = loop->heap[place];
	while (place > 0) {
		size_t parent = (place - 1) / 2;
		if (loop->heap[parent]->due_ns <= timer->due_ns) break;
		heap_put(loop, place, loop->heap[parent]);
		place = parent;
	}
	heap_put(loop, place, timer);
}

static void heap_down(struct loop *loop, size_t place) {
	struct loop_timer *timer = loop->heap[place];
	for (;;) {
		size_t child = 2 * place + 1;
		if (child >= loop->timers) break;
		if (child + 1 < loop->timers && loop->heap[child + 1]->due_ns < loop->heap[child]->due_ns) child++;
		if (timer->due_ns <= loop->heap[child]->due_ns) break;
		heap_put(loop, place, loop->heap[child]);
		place = child;
	}
	heap_put(loop, place, timer);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *arg), void *arg) {
	struct loop_timer *timer = mem_zalloc(sizeof(*timer));
	*timer = (struct loop_timer){.loop = loop, .place = NOT_SET, .fn = fn, .arg = arg};
	return timer;
}

void loop_timer_set(struct loop_timer *timer, int64_t delay_ms) {
	struct loop *loop = timer->loop;
	const int64_t longest_ms = INT64_MAX / 1000000 / 2;
	if (delay_ms < 0) delay_ms = 0;
	if (delay_ms > longest_ms) delay_ms = longest_ms;
	timer->due_ns = clock_ns(CLOCK_MONOTONIC) + delay_ms * 1000000;
	if (timer->place == NOT_SET) {
		if (loop->timers == loop->room) {
			loop->room = loop->room ? loop->room * 2 : 16;
			loop->heap = mem_resize(loop->heap, loop->room, sizeof(struct loop_timer *));
		}
		heap_put(loop, loop->timers++, timer);
	}
	heap_up(loop, timer->place);
	heap_down(loop, timer->place);
}

void loop_timer_stop(struct loop_timer *timer) {
	if (timer->place == NOT_SET) return;
	struct loop *loop = timer->loop;
	size_t place = timer->place;
	timer->place = NOT_SET;
	struct loop_timer *last = loop->heap[--loop->timers];
	if (last == timer) return;
	heap_put(loop, place, last);
	heap_up(loop, place);
	heap_down(loop, last->place);
}

int loop_timer_active(const struct loop_timer *timer) {
	return timer->place != NOT_SET;
}

void loop_timer_free(struct loop_timer *timer) {
	if (!timer) return;
	loop_timer_stop(timer);
	free(timer);
}

static int wait_ms(const struct loop *loop) {
	if (loop->timers == 0) return -1;
	int64_t left_ns = loop->heap[0]->due_ns - clock_ns(CLOCK_MONOTONIC);
	if (left_ns <= 0) return 0;
	int64_t left_ms = (left_ns + 999999) / 1000000;
	return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

// What a callback sets anew with delay 0 is due at `now` or later, hence not in this round: descriptors get their turn.
static void fire_timers(struct loop *loop) {
	int64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	while (!loop->stopped && loop->timers > 0 && loop->heap[0]->due_ns < now_ns) {
		struct loop_timer *timer = loop->heap[0];
		loop_timer_stop(timer);
		timer->fn(timer->arg);
	}
}

// ---- signals

static void signals_ready(uint32_t events, void *arg) {
	struct loop *loop = arg;
	struct signalfd_siginfo info;
	(void)events;
	while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		struct loop_signal *watch = loop->signals[info.ssi_signo];
		if (watch) watch->fn(watch->signal, watch->arg);
	}
}

static void signals_apply(struct loop *loop) {
	int fd = signalfd(loop->signal_fd, &loop->signal_mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) mem_die("loop: no descriptor for signals");
	if (loop->signal_fd < 0) {
		loop->signal_fd = fd;
		loop->signal_watch = loop_fd_add(loop, fd, EPOLLIN, signals_ready, loop);
	}
}

struct loop_signal *loop_signal_add(struct loop *loop, int signal, void (*fn)(int signal, void *arg), void *arg) {
	if (signal <= 0 || signal >= _NSIG || loop->signals[signal]) mem_die("loop: a signal has one watcher");
	struct loop_signal *watch = mem_zalloc(sizeof(*watch));
	*watch = (struct loop_signal){.loop = loop, .signal = signal, .fn = fn, .arg = arg};
	loop->signals[signal] = watch;
	sigaddset(&loop->signal_mask, signal);
	signals_apply(loop);
	return watch;
}

void loop_signal_remove(struct loop_signal *watch) {
	if (!watch) return;
	watch->loop->signals[watch->signal] = NULL;
	sigdelset(&watch->loop->signal_mask, watch->signal);
	signals_apply(watch->loop);
	free(watch);
}

// ---- wake-ups

static void wakeup_ready(uint32_t events, void *arg) {
	struct loop_wakeup *wakeup = arg;
	(void)events;
	eventfd_t count;
	(void)eventfd_read(wakeup->fd, &count);
	// Before fn: what is fired from here on is a call of its own.
	atomic_exchange(&wakeup->fired, false);
	wakeup->fn(wakeup->arg);
}

struct loop_wakeup *loop_wakeup_new(struct loop *loop, void (*fn)(void *arg), void *arg) {
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) mem_die("loop: no descriptor for a wake-up");
	struct loop_wakeup *wakeup = mem_zalloc(sizeof(*wakeup));
	wakeup->fd = fd;
	wakeup->fn = fn;
	wakeup->arg = arg;
	wakeup->watch = loop_fd_add(loop, fd, EPOLLIN, wakeup_ready, wakeup);
	return wakeup;
}

void loop_wakeup_fire(struct loop_wakeup *wakeup) {
	if (!atomic_exchange(&wakeup->fired, true)) (void)eventfd_write(wakeup->fd, 1);
}

void loop_wakeup_free(struct loop_wakeup *wakeup) {
	if (!wakeup) return;
	loop_fd_remove(wakeup->watch);
	close(wakeup->fd);
	free(wakeup);
}

// ---- the loop

static void dispatch(struct loop *loop, const struct epoll_event *events, int count) {
	for (int i = 0; i < count && !loop->stopped; i++) call(events[i].data.ptr, events[i].events);
}

static void run_round(struct loop *loop) {
	struct epoll_event events[EVENTS_PER_ROUND];
	if (loop->outside_count > 0) move_inside(loop);
	bool beside = loop->outside_count > 0;
	size_t polled = beside ? poll_outside(loop, wait_ms(loop)) : 0;
	int count = epoll_wait(loop->epoll, events, EVENTS_PER_ROUND, beside ? 0 : wait_ms(loop));
	if (count < 0 && errno != EINTR) mem_die("loop: epoll_wait failed");
	dispatch(loop, events, count);
	dispatch_outside(loop, polled);
	fire_timers(loop);
	free_removed(loop);
}

void loop_stop(struct loop *loop) {
	loop->stopped = true;
}

void loop_run(struct loop *loop) {
	while (!loop->stopped) run_round(loop);
	loop->stopped = false;
}

struct loop *loop_new(void) {
	struct loop *loop = mem_zalloc(sizeof(*loop));
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0) mem_die("loop: no descriptor for epoll");
	loop->signal_fd = -1;
	sigemptyset(&loop->signal_mask);
	return loop;
}

void loop_free(struct loop *loop) {
	if (!loop) return;
	loop_fd_remove(loop->signal_watch);
	if (loop->signal_fd >= 0) close(loop->signal_fd);
	free_removed(loop);
	close(loop->epoll);
	free(loop->outside);
	free(loop->polled);
	free(loop->heap);
	free(loop);
}
