// An event loop of one thread: descriptors, timers, signals, child processes, and wake-ups from other threads.
//
// All functions but loop_wakeup_fire belong to the loop's thread. Watchers may be removed from inside any callback, also
// their own; a removed watcher's callback is never called again. The loop owns no descriptor it was given.
// Where the kernel has no descriptor or memory left for the loop itself, a signal or a wake-up, the process ends (mem_die). A
// descriptor for which it has no room in epoll is polled: callers see no difference.
#pragma once

#include "lib/attr.h"

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

struct loop;
struct loop_fd;
struct loop_timer;
struct loop_signal;
struct loop_wakeup;

struct loop *loop_new(void) MUST_USE;
void loop_free(struct loop *loop); // all watchers must be gone
void loop_run(struct loop *loop);  // until loop_stop; returns at once if that was called before
void loop_stop(struct loop *loop);
int64_t loop_now_ms(void); // CLOCK_MONOTONIC, milliseconds
int64_t loop_now_us(void);
int64_t loop_wall_ms(void); // CLOCK_REALTIME, milliseconds since the epoch

// events: EPOLLIN, EPOLLOUT; EPOLLERR and EPOLLHUP always come. 0 pauses all but those.
struct loop_fd *loop_fd_add(struct loop *loop, int fd, uint32_t events, void (*fn)(uint32_t events, void *arg), void *arg);
void loop_fd_events(struct loop_fd *watch, uint32_t events);
void loop_fd_remove(struct loop_fd *watch); // before the descriptor is closed; NULL is fine

// One shot; set again to repeat. Setting a set timer moves it. Delay 0 fires in the next round.
struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *arg), void *arg) MUST_USE;
void loop_timer_set(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
int loop_timer_active(const struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer); // NULL is fine

// One watcher a signal. The signal must be blocked in every thread (lifecycle_start blocks SIGTERM, SIGINT, SIGHUP).
struct loop_signal *loop_signal_add(struct loop *loop, int signal, void (*fn)(int signal, void *arg), void *arg);
void loop_signal_remove(struct loop_signal *watch);

// fn runs in the loop's thread soon after any thread fired; several fires may become one call.
struct loop_wakeup *loop_wakeup_new(struct loop *loop, void (*fn)(void *arg), void *arg) MUST_USE;
void loop_wakeup_fire(struct loop_wakeup *wakeup);
void loop_wakeup_free(struct loop_wakeup *wakeup);
