// Requests that wait for their answers, clients that leave meanwhile, and the end of the server.
#include "tests/unit/http_rig.h"

static struct rig *rig;
static struct http_request *kept; // the last request of /keep, owed an answer

struct later {
	struct http_request *request;
	struct loop_timer *timer;
};

static void lost(void *arg) {
	(void)arg;
	rig->gone++;
	kept = NULL;
}

static void answer_later(void *arg) {
	struct later *later = arg;
	if (later->request) {
		size_t length;
		const char *n = http_param(later->request, "n", &length);
		http_answer_text(later->request, 200, "text/plain", n ? n : "later\n");
	}
	loop_timer_free(later->timer);
	free(later);
}

static void forget_later(void *arg) {
	((struct later *)arg)->request = NULL;
	rig->gone++;
}

static void handle_later(struct http_request *request, void *arg) {
	struct later *later = mem_zalloc(sizeof(*later));
	rig->calls++;
	*later = (struct later){.request = request, .timer = loop_timer_new(((struct rig *)arg)->loop, answer_later, later)};
	http_on_gone(request, forget_later, later);
	loop_timer_set(later->timer, rig->calls % 3);
}

static void handle_keep(struct http_request *request, void *arg) {
	(void)arg;
	kept = request;
	http_on_gone(request, lost, NULL);
	rig->calls++;
}

// Answers another request than its own first: from inside a handler, as a batch does.
static void handle_release(struct http_request *request, void *arg) {
	(void)arg;
	if (kept) http_answer_text(kept, 200, "text/plain", "released\n");
	kept = NULL;
	http_answer_text(request, 200, "text/plain", "done\n");
}

static const struct http_route routes[] = {
	{"/later", "GET", handle_later},
	{"/keep", "GET", handle_keep},
	{"/now", "GET POST", rig_handle_now},
	{"/release", "GET", handle_release},
	{"/big", "GET", rig_handle_big},
};

static int setup(void **state) {
	(void)state;
	rig = rig_open(RIG_CONFIG(routes));
	return 0;
}

static int teardown(void **state) {
	(void)state;
	rig_close(rig);
	return 0;
}

static atomic_int pending;

static void count_pending(struct rig *of) {
	pending = (int)http_server_pending(of->server);
}

// ---- waiting

static void answers_that_come_later_keep_the_connection(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	for (int i = 0; i < 50; i++) {
		rig_say(fd, GET("/later"));
		AUTO_REPLY struct reply reply = rig_read(fd, false);
		assert_string_equal(reply.body, "later\n");
	}
	close(fd);
	rig_await(&rig->finished, 50);
	assert_int_equal(rig->last_status, 200);
	assert_int_equal(rig->gone, 0);
	rig_await_connections(rig, 0);
}

static void *say_all(void *arg) {
	int fd = *(int *)arg;
	for (int i = 0; i < 1000; i++) {
		AUTO_FREE char *text = mem_format("GET /%s?n=%d HTTP/1.1\r\nHost: h\r\nX-Filler: %0*d\r\n\r\n",
			i % 4 == 3 ? "echo-none" : "later", i, i % 60 + 1, i);
		rig_say(fd, text);
	}
	return NULL;
}

static void pipelined_requests_are_answered_in_order(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	pthread_t thread;
	pthread_create(&thread, NULL, say_all, &fd);
	for (int i = 0; i < 1000; i++) {
		AUTO_REPLY struct reply reply = rig_read(fd, false);
		AUTO_FREE char *n = mem_format("%d", i);
		assert_int_equal(reply.status, i % 4 == 3 ? 404 : 200);
		if (i % 4 != 3) assert_string_equal(reply.body, n);
	}
	pthread_join(thread, NULL);
	close(fd);
}

static void *converse(void *arg) {
	struct rig *with = arg;
	intptr_t wrong = 0;
	int fd = rig_dial(with);
	for (int i = 0; i < 100; i++) {
		rig_say(fd, GET("/later?n=x"));
		AUTO_REPLY struct reply reply = rig_read(fd, false);
		wrong += reply.status != 200 || strcmp(reply.body, "x") != 0;
	}
	close(fd);
	return (void *)wrong;
}

static void many_connections_wait_at_once(void **state) {
	(void)state;
	pthread_t threads[16];
	for (size_t i = 0; i < COUNT_OF(threads); i++) pthread_create(&threads[i], NULL, converse, rig);
	for (size_t i = 0; i < COUNT_OF(threads); i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	rig_await(&rig->finished, 1600);
}

static void a_handler_may_answer_others(void **state) {
	(void)state;
	int waiting = rig_dial(rig);
	rig_say(waiting, GET("/keep"));
	rig_await(&rig->calls, 1);
	AUTO_REPLY struct reply done = rig_ask(rig, GET("/release"));
	assert_string_equal(done.body, "done\n");
	AUTO_REPLY struct reply reply = rig_read(waiting, false);
	assert_string_equal(reply.body, "released\n");
	close(waiting);
}

// ---- leaving

static void a_client_that_leaves_while_its_request_waits_is_noticed(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/keep"));
	rig_await(&rig->calls, 1);
	close(fd);
	rig_await(&rig->gone, 1);
	rig_await(&rig->finished, 1);
	assert_int_equal(rig->last_status, 0);
	rig_await_connections(rig, 0);
}

static void a_connection_that_is_reset_while_its_request_waits_is_noticed(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/keep"));
	rig_await(&rig->calls, 1);
	struct linger hard = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	rig_await(&rig->gone, 1);
	rig_await(&rig->finished, 1);
	rig_await_connections(rig, 0);
}

static void a_client_that_has_left_before_the_handler_ran_is_noticed(void **state) {
	(void)state;
	for (int i = 1; i <= 20; i++) {
		int fd = rig_dial(rig);
		rig_say(fd, GET("/keep"));
		close(fd);
		rig_await(&rig->gone, i);
		rig_await(&rig->finished, i);
	}
	rig_await_connections(rig, 0);
}

static void an_answer_at_once_reaches_a_client_that_sends_no_more(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/now"));
	shutdown(fd, SHUT_WR);
	AUTO_REPLY struct reply reply = rig_read(fd, false);
	assert_int_equal(reply.status, 200);
	close(fd);
	rig_await_connections(rig, 0);
}

static void a_request_that_breaks_off_is_never_handled(void **state) {
	(void)state;
	const char *texts[] = {"GET /ke", "GET /keep HTTP/1.1\r\n", "GET /keep HTTP/1.1\r\nHost: h\r\nX",
		"POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc",
		"POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		int fd = rig_dial(rig);
		rig_say(fd, texts[i]);
		close(fd);
	}
	rig_await_connections(rig, 0);
	assert_int_equal(rig->calls, 0);
	assert_int_equal(rig->finished, 4); // the first had no request line
	assert_int_equal(rig->last_status, 0);
}

// ---- the end

static void quiesce(struct rig *of) {
	http_server_quiesce(of->server);
	http_server_quiesce(of->server);
}

static void release(struct rig *of) {
	(void)of;
	http_answer_text(kept, 200, "text/plain", "at last\n");
	kept = NULL;
}

static void a_quiet_server_finishes_what_it_has_and_takes_nothing_new(void **state) {
	(void)state;
	int idle = rig_dial(rig), waiting = rig_dial(rig);
	rig_say(idle, GET("/now"));
	AUTO_REPLY struct reply first = rig_read(idle, false);
	assert_int_equal(first.status, 200);
	rig_say(waiting, GET("/keep"));
	rig_await(&rig->calls, 1);
	rig_do(rig, quiesce);
	assert_true(rig_ended(idle));
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(rig->port)};
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	int late = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof(address)), -1);
	rig_do(rig, count_pending);
	assert_int_equal(pending, 1);
	rig_do(rig, release);
	AUTO_REPLY struct reply reply = rig_read(waiting, false);
	assert_string_equal(reply.body, "at last\n");
	assert_true(reply_has(&reply, "Connection", "close"));
	assert_true(rig_ended(waiting));
	rig_await_connections(rig, 0);
	close(idle), close(waiting), close(late);
}

static void closing_cuts_what_is_left(void **state) {
	(void)state;
	int waiting = rig_dial(rig), reading = rig_dial(rig), big = rig_dial(rig), idle = rig_dial(rig);
	rig_say(waiting, GET("/keep"));
	rig_say(reading, "GET /now HTTP/1.1\r\n");
	rig_say(big, GET("/big"));
	rig_await(&rig->calls, 1);
	rig_await_connections(rig, 4);
	teardown(NULL);
	assert_true(rig_ended(waiting));
	assert_true(rig_ended(reading));
	close(waiting), close(reading), close(big), close(idle);
	assert_null(kept); // it was told
	setup(NULL);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(answers_that_come_later_keep_the_connection),
		T(pipelined_requests_are_answered_in_order),
		T(many_connections_wait_at_once),
		T(a_handler_may_answer_others),
		T(a_client_that_leaves_while_its_request_waits_is_noticed),
		T(a_connection_that_is_reset_while_its_request_waits_is_noticed),
		T(a_client_that_has_left_before_the_handler_ran_is_noticed),
		T(an_answer_at_once_reaches_a_client_that_sends_no_more),
		T(a_request_that_breaks_off_is_never_handled),
		T(a_quiet_server_finishes_what_it_has_and_takes_nothing_new),
		T(closing_cuts_what_is_left),
	};
	return cmocka_run_group_tests_name("http_wait", tests, NULL, NULL);
}
