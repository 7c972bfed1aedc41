// How often a session tries to connect, by what comes to a port that hangs, and to one that hangs up.
#include "lib/db.h"
#include "lib/mem.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cmocka.h>

enum { TRIES = 20, PATIENCE_MS = 60000 };

struct door {
	struct loop *loop;
	struct loop_fd *watch;
	struct db_session *session;
	int fd, tries, until; // the loop ends after so many; 0: never
	bool hangs_up;
	int open[64]; // those who wait for an answer
};

static void knock(uint32_t events UNUSED, void *arg) {
	struct door *door = arg;
	int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	if (door->hangs_up) close(fd);
	assert_in_range(door->tries, 0, COUNT_OF(door->open) - 1);
	door->open[door->tries++] = door->hangs_up ? -1 : fd;
	if (door->tries == door->until) loop_stop(door->loop);
}

static void door_open(struct door *door, struct loop *loop, bool hangs_up, int64_t retry_within_ms) {
	static char host[] = "127.0.0.1", name[] = "none", plain[] = "sslmode=disable gssencmode=disable";
	char port[8];
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	*door = (struct door){.loop = loop, .hangs_up = hangs_up, .until = retry_within_ms ? TRIES : 0};
	door->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(door->fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(door->fd, 64), 0);
	assert_int_equal(getsockname(door->fd, (struct sockaddr *)&address, &length), 0);
	snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
	door->watch = loop_fd_add(loop, door->fd, EPOLLIN, knock, door);
	const struct db_config config = {.host = host,
		.port = port,
		.name = name,
		.user = name,
		.options = plain,
		.application = "unit",
		.retry_within_ms = retry_within_ms};
	door->session = db_session_open(loop, &config);
}

static void door_close(struct door *door) {
	db_session_close(door->session);
	loop_fd_remove(door->watch);
	for (int i = 0; i < door->tries; i++)
		if (door->open[i] >= 0) close(door->open[i]);
	close(door->fd);
}

static void patience_lost(void *arg UNUSED) {
	fail_msg("it does not try again");
}

static void who_must_be_back_soon_tries_more_often(bool hangs_up) {
	struct door soon, at_leisure;
	struct loop *loop = loop_new();
	struct loop_timer *patience = loop_timer_new(loop, patience_lost, NULL);
	loop_timer_set(patience, PATIENCE_MS);
	door_open(&soon, loop, hangs_up, 40);
	door_open(&at_leisure, loop, hangs_up, 0);
	loop_run(loop);
	assert_true(at_leisure.tries < soon.tries);
	door_close(&soon);
	door_close(&at_leisure);
	loop_timer_free(patience);
	loop_free(loop);
}

static void at_a_server_that_hangs_up_it_tries_sooner(void **state UNUSED) {
	who_must_be_back_soon_tries_more_often(true);
}

static void at_a_server_that_hangs_it_tries_sooner(void **state UNUSED) {
	who_must_be_back_soon_tries_more_often(false);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_a_server_that_hangs_up_it_tries_sooner),
		cmocka_unit_test(at_a_server_that_hangs_it_tries_sooner),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
