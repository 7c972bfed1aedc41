// Answers whose length nobody knows at their start.
#include "tests/unit/http_rig.h"

static struct rig *rig;

struct source {
	struct http_request *request;
	struct loop_timer *timer;
	int left;         // pieces
	int pause_ms;     // before each; 0: none
	ssize_t at_end;   // what it returns then
	bool ready, once; // once: wakes itself from inside, once
};

static void wake(void *arg) {
	struct source *source = arg;
	source->ready = true;
	http_stream_wake(source->request);
}

static ssize_t more(char *buffer, size_t size, void *arg) {
	struct source *source = arg;
	if (source->once) {
		source->once = false;
		http_stream_wake(source->request);
		return 0;
	}
	if (source->pause_ms != 0 && !source->ready) {
		if (source->pause_ms > 0) loop_timer_set(source->timer, source->pause_ms);
		return 0;
	}
	source->ready = false;
	if (source->left == 0) return source->at_end;
	source->left--;
	if (source->left > 1000) { // as much as there is room for
		memset(buffer, 'x', size);
		return (ssize_t)size;
	}
	memcpy(buffer, "piece\n", 6);
	return 6;
}

static void over(void *arg) {
	struct source *source = arg;
	loop_timer_free(source->timer);
	free(source);
	rig->streams_over++;
}

static void start(struct http_request *request, struct source from) {
	struct source *source = mem_dup(&from, sizeof(from));
	source->request = request;
	source->timer = loop_timer_new(rig->loop, wake, source);
	http_stream(request, 200, "text/plain", more, over, source);
	rig->calls++;
}

static void pieces(struct http_request *request, void *arg) {
	(void)arg;
	start(request, (struct source){.left = 20, .at_end = -1});
}

static void slow(struct http_request *request, void *arg) {
	(void)arg;
	start(request, (struct source){.left = 20, .pause_ms = 3, .at_end = -1});
}

static void eager(struct http_request *request, void *arg) {
	(void)arg;
	start(request, (struct source){.left = 3, .at_end = -1, .once = true});
}

static void broken(struct http_request *request, void *arg) {
	(void)arg;
	start(request, (struct source){.left = 3, .at_end = -2});
}

static void overfull(struct http_request *request, void *arg) {
	(void)arg;
	start(request, (struct source){.left = 0, .at_end = 1 << 30});
}

static void empty(struct http_request *request, void *arg) {
	(void)arg;
	start(request, (struct source){.left = 0, .at_end = -1});
}

static void silent(struct http_request *request, void *arg) {
	(void)arg;
	start(request, (struct source){.left = 1, .pause_ms = -1, .at_end = -1});
}

static void endless(struct http_request *request, void *arg) {
	(void)arg;
	start(request, (struct source){.left = INT32_MAX, .at_end = -1});
}

static struct loop_timer *later_timer;
static struct http_request *later_request;

static void start_later(void *arg) {
	(void)arg;
	loop_timer_free(later_timer);
	start(later_request, (struct source){.left = 2, .pause_ms = 1, .at_end = -1});
}

static void later(struct http_request *request, void *arg) {
	(void)arg;
	later_request = request;
	later_timer = loop_timer_new(rig->loop, start_later, NULL);
	loop_timer_set(later_timer, 2);
}

static const struct http_route routes[] = {
	{"/pieces", "GET", pieces},
	{"/slow", "GET", slow},
	{"/eager", "GET", eager},
	{"/broken", "GET", broken},
	{"/overfull", "GET", overfull},
	{"/empty", "GET", empty},
	{"/silent", "GET", silent},
	{"/endless", "GET", endless},
	{"/later", "GET", later},
};

static int setup(void **state) {
	(void)state;
	struct http_config config = RIG_CONFIG(routes);
	config.deadline_ms = 200;
	config.idle_ms = 300;
	rig = rig_open(config);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	rig_close(rig);
	return 0;
}

static void a_stream_comes_in_chunks_and_keeps_the_connection(void **state) {
	(void)state;
	const char *asks[] = {GET("/pieces"), GET("/slow"), GET("/eager"), GET("/later"), GET("/empty")};
	const size_t lengths[] = {120, 120, 18, 12, 0};
	int fd = rig_dial(rig);
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		rig_say(fd, asks[i]);
		AUTO_REPLY struct reply reply = rig_read(fd, false);
		assert_int_equal(reply.status, 200);
		assert_int_equal(reply.length, lengths[i]);
		assert_true(reply_has(&reply, "Cache-Control", "no-store"));
		rig_await(&rig->streams_over, (int)i + 1);
	}
	close(fd);
}

static void an_old_client_gets_the_stream_until_the_end_of_the_connection(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = rig_ask(rig, "GET /slow HTTP/1.0\r\n\r\n");
	assert_int_equal(reply.length, 120);
	rig_await(&rig->streams_over, 1);
}

static void head_of_a_stream_ends_it(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = rig_ask(rig, "HEAD /endless HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(reply.status, 200);
	rig_await(&rig->streams_over, 1);
}

static void a_stream_that_fails_is_seen_to_break_off(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = rig_ask(rig, GET("/broken"));
	assert_int_equal(reply.status, 0);
	assert_int_equal(reply.length, 18);
	AUTO_REPLY struct reply mad = rig_ask(rig, GET("/overfull"));
	assert_int_equal(mad.status, 0);
	rig_await(&rig->streams_over, 2);
}

static void a_silent_stream_outlives_deadline_and_idle_time(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/silent"));
	nanosleep(&(struct timespec){.tv_nsec = 800000000}, NULL);
	assert_int_equal(rig->streams_over, 0);
	close(fd);
	rig_await(&rig->streams_over, 1);
	rig_await(&rig->finished, 1);
	assert_int_equal(rig->last_status, 0);
}

static void a_stream_that_nobody_reads_is_cut(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/endless"));
	rig_await(&rig->streams_over, 1);
	assert_int_equal(rig->last_status, 0);
	close(fd);
}

static void a_stream_whose_client_leaves_in_the_middle_is_over(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/endless"));
	AUTO_FREE char *start_of_it = mem_zalloc(100000);
	assert_int_equal(recv(fd, start_of_it, 100000, MSG_WAITALL), 100000);
	close(fd);
	rig_await(&rig->streams_over, 1);
}

static void closing_ends_streams(void **state) {
	(void)state;
	int quiet = rig_dial(rig), busy = rig_dial(rig);
	rig_say(quiet, GET("/silent"));
	rig_say(busy, GET("/endless"));
	rig_await(&rig->calls, 2);
	rig_do(rig, NULL);
	pthread_join(rig->thread, NULL);
	http_server_close(rig->server);
	assert_int_equal(rig->streams_over, 2);
	assert_int_equal(rig->finished, 2);
	loop_wakeup_free(rig->wakeup);
	loop_free(rig->loop);
	free(rig);
	close(quiet), close(busy);
	setup(NULL);
}

// Whether the kernel asks the peers of the server's connections, while nothing is sent, whether they are there (proc(5), net/tcp).
static bool peers_are_asked(void) {
	char line[256];
	unsigned port, state, timer;
	bool asked = false;
	FILE *file = fopen("/proc/self/net/tcp", "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%*u: %*x:%x %*x:%*x %x %*x:%*x %x:", &port, &state, &timer) == 3 && port == rig->port &&
			state == 1)
			asked = timer == 2;
	fclose(file);
	return asked;
}

static void a_client_that_is_gone_without_a_word_will_be_noticed(void **state) {
	(void)state;
	AUTO_CLOSE int fd = rig_dial(rig);
	rig_say(fd, GET("/pieces"));
	AUTO_REPLY struct reply reply = rig_read(fd, false);
	assert_int_equal(reply.status, 200);
	for (int tries = 0; !peers_are_asked(); tries++) { // once the answer is acknowledged
		assert_true(tries < 5000);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_stream_comes_in_chunks_and_keeps_the_connection),
		T(an_old_client_gets_the_stream_until_the_end_of_the_connection),
		T(head_of_a_stream_ends_it),
		T(a_stream_that_fails_is_seen_to_break_off),
		T(a_silent_stream_outlives_deadline_and_idle_time),
		T(a_client_that_is_gone_without_a_word_will_be_noticed),
		T(a_stream_that_nobody_reads_is_cut),
		T(a_stream_whose_client_leaves_in_the_middle_is_over),
		T(closing_ends_streams),
	};
	return cmocka_run_group_tests_name("http_stream", tests, NULL, NULL);
}
