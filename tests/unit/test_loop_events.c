#include "tests/unit/loop_rig.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

// ---- signals

static void count_signal(int signal, void *arg) {
	int *seen = arg;
	*seen = signal;
	loop_stop(loop);
}

static void signals_arrive_in_the_loop(void **state) {
	(void)state;
	int usr1 = 0, usr2 = 0;
	struct loop_signal *one = loop_signal_add(loop, SIGUSR1, count_signal, &usr1);
	struct loop_signal *two = loop_signal_add(loop, SIGUSR2, count_signal, &usr2);
	kill(getpid(), SIGUSR1);
	loop_run(loop);
	assert_int_equal(usr1, SIGUSR1);
	assert_int_equal(usr2, 0);
	kill(getpid(), SIGUSR2);
	loop_run(loop);
	assert_int_equal(usr2, SIGUSR2);
	loop_signal_remove(one);
	loop_signal_remove(two);
	loop_signal_remove(NULL);
}

static struct loop_signal *both[2];

static void remove_both(int signal, void *arg) {
	int *calls = arg;
	(void)signal;
	++*calls;
	loop_signal_remove(both[0]);
	loop_signal_remove(both[1]);
	loop_stop(loop);
}

static void a_signal_watcher_may_remove_itself_and_another_that_is_pending(void **state) {
	(void)state;
	int calls = 0;
	both[0] = loop_signal_add(loop, SIGUSR1, remove_both, &calls);
	both[1] = loop_signal_add(loop, SIGUSR2, remove_both, &calls);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	loop_run(loop);
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	loop_timer_set(end, 5);
	loop_run(loop);
	assert_int_equal(calls, 1);
	loop_timer_free(end);
}

// ---- wake-ups

struct mail {
	struct loop_wakeup *wakeup;
	atomic_int sent;
	int plain, seen, calls;
};

enum { SENDERS = 4, LETTERS = 20000 };

static void *send_letters(void *arg) {
	struct mail *mail = arg;
	for (int i = 0; i < LETTERS; i++) {
		atomic_fetch_add(&mail->sent, 1);
		loop_wakeup_fire(mail->wakeup);
	}
	return NULL;
}

static void letters_arrived(void *arg) {
	struct mail *mail = arg;
	mail->calls++;
	mail->seen = atomic_load(&mail->sent);
	if (mail->seen == SENDERS * LETTERS) loop_stop(loop);
}

static void no_wakeup_of_any_thread_is_lost(void **state) {
	(void)state;
	struct mail mail = {.calls = 0};
	mail.wakeup = loop_wakeup_new(loop, letters_arrived, &mail);
	pthread_t threads[SENDERS];
	for (int i = 0; i < SENDERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, send_letters, &mail), 0);
	loop_run(loop);
	for (int i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
	assert_int_equal(mail.seen, SENDERS * LETTERS);
	assert_in_range(mail.calls, 1, SENDERS * LETTERS);
	loop_wakeup_free(mail.wakeup);
	loop_wakeup_free(NULL);
}

static void *send_one(void *arg) {
	struct mail *mail = arg;
	mail->plain = 42;
	loop_wakeup_fire(mail->wakeup);
	return NULL;
}

static void one_letter_arrived(void *arg) {
	struct mail *mail = arg;
	mail->seen = mail->plain;
	loop_wakeup_free(mail->wakeup); // from its own callback
	loop_stop(loop);
}

static void what_a_thread_wrote_before_firing_is_seen_after(void **state) {
	(void)state;
	struct mail mail = {.calls = 0};
	mail.wakeup = loop_wakeup_new(loop, one_letter_arrived, &mail);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, send_one, &mail), 0);
	loop_run(loop);
	pthread_join(thread, NULL);
	assert_int_equal(mail.seen, 42);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGUSR2);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	const struct CMUnitTest tests[] = {
		TEST(signals_arrive_in_the_loop),
		TEST(a_signal_watcher_may_remove_itself_and_another_that_is_pending),
		TEST(no_wakeup_of_any_thread_is_lost),
		TEST(what_a_thread_wrote_before_firing_is_seen_after),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
