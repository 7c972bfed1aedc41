// Every limit on what strangers can make the server hold, in time, number and size.
#include "tests/unit/http_rig.h"

static struct rig *rig;

static void lost(void *arg) {
	(void)arg;
	rig->gone++;
}

static void handle_keep(struct http_request *request, void *arg) {
	(void)arg;
	http_on_gone(request, lost, NULL);
	rig->calls++;
}

static const struct http_route routes[] = {
	{"/keep", "GET", handle_keep},
	{"/now", "GET POST", rig_handle_now},
	{"/big", "GET", rig_handle_big},
};

static int setup(void **state) {
	(void)state;
	rig = rig_open(RIG_CONFIG(routes));
	return 0;
}

static int setup_hasty(void **state) {
	(void)state;
	struct http_config config = RIG_CONFIG(routes);
	config.deadline_ms = 150;
	config.idle_ms = 300;
	rig = rig_open(config);
	return 0;
}

static int setup_demanding(void **state) {
	(void)state;
	struct http_config config = RIG_CONFIG(routes);
	config.idle_ms = 300;
	config.least_bytes_per_s = 1000000;
	rig = rig_open(config);
	return 0;
}

static int setup_few(void **state) {
	(void)state;
	struct http_config config = RIG_CONFIG(routes);
	config.connections = 4;
	config.connections_per_address = 2;
	config.trusted_proxies = "127.0.0.9";
	rig = rig_open(config);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	rig_close(rig);
	return 0;
}

static int64_t elapsed_ms(int64_t since_ms) {
	return loop_now_ms() - since_ms;
}

// ---- time

static void a_request_that_nobody_answers_gets_503_at_its_deadline(void **state) {
	(void)state;
	int64_t start_ms = loop_now_ms();
	int fd = rig_dial(rig);
	rig_say(fd, GET("/keep"));
	AUTO_REPLY struct reply reply = rig_read(fd, false);
	assert_int_equal(reply.status, 503);
	assert_true(reply_has(&reply, "Content-Type", "application/problem+json"));
	assert_true(reply_has(&reply, "Retry-After", "1"));
	assert_in_range(elapsed_ms(start_ms), 140, 1500);
	assert_int_equal(rig->gone, 1);
	rig_say(fd, GET("/now"));
	AUTO_REPLY struct reply next = rig_read(fd, false);
	assert_int_equal(next.status, 200);
	close(fd);
}

// Sends the rest byte by byte, and says how long the server put up with it.
static int64_t dribble(const char *first, const char *piece) {
	int64_t start_ms = loop_now_ms();
	int fd = rig_dial(rig);
	rig_say(fd, first);
	char c;
	while (elapsed_ms(start_ms) < 5000 && recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
		rig_say(fd, piece);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	close(fd);
	return elapsed_ms(start_ms);
}

static void a_slow_request_is_cut_at_its_deadline(void **state) {
	(void)state;
	assert_in_range(dribble("GET /now HTTP/1.1\r\nHost: h\r\n", "X: y\r\n"), 140, 1500);
	assert_in_range(dribble("POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 1999\r\n\r\n", "x"), 140, 1500);
	assert_in_range(
		dribble("POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), 140, 1500);
	assert_in_range(dribble("GET /", "x"), 140, 1500);
	assert_in_range(dribble("", "\r\n"), 0, 1500); // later versions of libmicrohttpd do not wait so long
	assert_in_range(dribble("", ""), 140, 1500);
	rig_await_connections(rig, 0);
	assert_int_equal(rig->calls, 0);
}

static void a_kept_connection_is_closed_when_it_stays_idle(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/now"));
	AUTO_REPLY struct reply reply = rig_read(fd, false);
	assert_int_equal(reply.status, 200);
	int64_t start_ms = loop_now_ms();
	assert_true(rig_ended(fd));
	assert_in_range(elapsed_ms(start_ms), 250, 1500);
	close(fd);
}

static void an_answer_that_nobody_reads_is_cut(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/big"));
	rig_await(&rig->finished, 1);
	assert_int_equal(rig->last_status, 0);
	rig_await_connections(rig, 0);
	close(fd);
}

static void an_answer_that_is_read_too_slowly_is_cut(void **state) {
	(void)state;
	int fd = rig_dial(rig), small = 16384;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	rig_say(fd, GET("/big"));
	char buffer[4096];
	// something is taken all the time, and at this pace the whole would be
	while (!rig->finished && recv(fd, buffer, sizeof(buffer), 0) > 0)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	rig_await(&rig->finished, 1);
	assert_int_equal(rig->last_status, 0);
	rig_await_connections(rig, 0);
	close(fd);
}

static void an_answer_that_is_read_slowly_is_not_cut(void **state) {
	(void)state;
	int fd = rig_dial(rig), small = 16384;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	rig_say(fd, GET("/big"));
	size_t total = 0;
	char buffer[65536];
	for (ssize_t got; total < 8 << 20 && (got = recv(fd, buffer, sizeof(buffer), 0)) > 0; total += (size_t)got)
		nanosleep(&(struct timespec){.tv_nsec = 4000000}, NULL);
	assert_true(total >= 8 << 20);
	rig_await(&rig->finished, 1);
	assert_int_equal(rig->last_status, 200);
	close(fd);
}

// ---- numbers

static void connections_over_the_limits_are_refused_at_once(void **state) {
	(void)state;
	int first = rig_dial_from(rig, "127.0.0.2"), second = rig_dial_from(rig, "127.0.0.2");
	rig_await_connections(rig, 2);
	int third = rig_dial_from(rig, "127.0.0.2");
	assert_true(rig_ended(third));
	close(third);
	int other = rig_dial_from(rig, "127.0.0.3"), last = rig_dial_from(rig, "127.0.0.4");
	rig_await_connections(rig, 4);
	int more = rig_dial_from(rig, "127.0.0.5");
	assert_true(rig_ended(more));
	close(more);
	close(first);
	rig_await_connections(rig, 3);
	first = rig_dial_from(rig, "127.0.0.2");
	rig_say(first, GET("/now"));
	AUTO_REPLY struct reply reply = rig_read(first, false);
	assert_int_equal(reply.status, 200);
	close(first), close(second), close(other), close(last);
	rig_await_connections(rig, 0);
}

static void a_trusted_proxy_may_have_many_connections(void **state) {
	(void)state;
	int fds[4];
	for (size_t i = 0; i < COUNT_OF(fds); i++) fds[i] = rig_dial_from(rig, "127.0.0.9");
	rig_await_connections(rig, 4);
	for (size_t i = 0; i < COUNT_OF(fds); i++) close(fds[i]);
}

// ---- sizes

static struct reply ask_with(size_t target, size_t header, size_t headers) {
	char *text = mem_format("GET /now?%0*d HTTP/1.1\r\nHost: h\r\n", (int)target, 1);
	for (size_t i = 0; i < headers; i++) {
		char *longer = mem_format("%sX-%zu: %0*d\r\n", text, i, (int)header, 1);
		free(text);
		text = longer;
	}
	char *whole = mem_format("%s\r\n", text);
	free(text);
	struct reply reply = rig_ask(rig, whole);
	free(whole);
	return reply;
}

static void assert_own(struct reply reply, int status) {
	assert_int_equal(reply.status, status);
	if (status != 200) assert_true(reply_has(&reply, "Content-Type", "application/problem+json"));
	reply_clear(&reply);
}

static void large_headers_are_refused_in_our_form(void **state) {
	(void)state;
	assert_own(ask_with(900, 2900, 1), 200);
	assert_own(ask_with(900, 30, 70), 200);
	assert_own(ask_with(1030, 1, 1), 414);
	assert_own(ask_with(3000, 1, 1), 414);
	assert_own(ask_with(1, 4096, 1), 431);
	assert_own(ask_with(1, 40, 90), 431);
	size_t huge[] = {20000, 200000, 3000000};
	for (size_t i = 0; i < COUNT_OF(huge); i++) {
		AUTO_REPLY struct reply header = ask_with(1, huge[i], 1);
		assert_true(header.status == 431 || header.status == 0); // 0: what we did not read made the kernel reset
		AUTO_REPLY struct reply target = ask_with(huge[i], 1, 1);
		assert_true(target.status == 414 || target.status == 0);
	}
	AUTO_REPLY struct reply many = ask_with(1, 1, 5000);
	assert_true(many.status == 431 || many.status == 0);
	rig_await_connections(rig, 0);
}

static struct reply upload(const char *headers, size_t bytes, size_t chunk) {
	int fd = rig_dial(rig);
	AUTO_FREE char *start = mem_format("POST /now HTTP/1.1\r\nHost: h\r\n%s\r\n", headers);
	AUTO_FREE char *block = mem_zalloc(bytes + 1);
	rig_say(fd, start);
	if (chunk == 0) rig_send(fd, block, bytes);
	for (size_t sent = 0; chunk > 0 && sent < bytes; sent += chunk) {
		AUTO_FREE char *size = mem_format("%zx\r\n", chunk);
		rig_say(fd, size);
		rig_send(fd, block, chunk);
		rig_say(fd, "\r\n");
	}
	if (chunk > 0) rig_say(fd, "0\r\n\r\n");
	struct reply reply = rig_read(fd, false);
	if (reply.status == 413) {
		rig_say(fd, GET("/now")); // the connection is still in step
		AUTO_REPLY struct reply next = rig_read(fd, false);
		assert_int_equal(next.status, 200);
	}
	close(fd);
	return reply;
}

static void a_body_over_the_limit_is_413_and_read_to_its_end(void **state) {
	(void)state;
	assert_own(upload("Content-Length: 2000\r\n", 2000, 0), 200);
	assert_own(upload("Content-Length: 2001\r\n", 2001, 0), 413);
	assert_own(upload("Content-Length: 3000000\r\n", 3000000, 0), 413);
	assert_own(upload("Transfer-Encoding: chunked\r\n", 2000, 100), 200);
	assert_own(upload("Transfer-Encoding: chunked\r\n", 2001, 3), 413);
	assert_own(upload("Transfer-Encoding: chunked\r\n", 1000000, 50000), 413);
}

static void who_asks_before_sending_is_told(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	AUTO_REPLY struct reply go = rig_read(fd, false);
	assert_int_equal(go.status, 100);
	rig_say(fd, "abc");
	AUTO_REPLY struct reply reply = rig_read(fd, false);
	assert_string_equal(reply.body, "3");
	rig_say(fd, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n");
	AUTO_REPLY struct reply large = rig_read(fd, false);
	assert_int_equal(large.status, 413);
	assert_true(rig_ended(fd));
	close(fd);
}

int main(void) {
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_request_that_nobody_answers_gets_503_at_its_deadline, setup_hasty),
		T(a_slow_request_is_cut_at_its_deadline, setup_hasty),
		T(a_kept_connection_is_closed_when_it_stays_idle, setup_hasty),
		T(an_answer_that_nobody_reads_is_cut, setup_hasty),
		T(an_answer_that_is_read_too_slowly_is_cut, setup_demanding),
		T(an_answer_that_is_read_slowly_is_not_cut, setup_hasty),
		T(connections_over_the_limits_are_refused_at_once, setup_few),
		T(a_trusted_proxy_may_have_many_connections, setup_few),
		T(large_headers_are_refused_in_our_form, setup),
		T(a_body_over_the_limit_is_413_and_read_to_its_end, setup),
		T(who_asks_before_sending_is_told, setup),
	};
	return cmocka_run_group_tests_name("http_limits", tests, NULL, NULL);
}
