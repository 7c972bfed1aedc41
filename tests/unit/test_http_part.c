// Parts of a body of known length, and what the client has already.
#include "tests/unit/http_rig.h"

#define SIZE 100000

static struct rig *rig;

struct part {
	uint64_t at, end;
};

// Byte n of the body is n modulo 251.
static ssize_t more(char *buffer, size_t size, void *arg) {
	struct part *part = arg;
	size_t count = 0;
	while (count < size && part->at < part->end) buffer[count++] = (char)(part->at++ % 251);
	return count > 0 ? (ssize_t)count : -1;
}

static void over(void *arg) {
	free(arg);
	rig->streams_over++;
}

static void serve(struct http_request *request, uint64_t size) {
	struct part *part = mem_zalloc(sizeof(*part));
	uint64_t from, length;
	int status = http_part(request, "\"tag\"", size, &from, &length);
	if (!status) {
		free(part);
		return;
	}
	*part = (struct part){.at = from, .end = from + length};
	http_stream_sized(request, status, "text/plain", length, more, over, part);
}

static void handle(struct http_request *request, void *arg) {
	(void)arg;
	serve(request, SIZE);
}

static void handle_empty(struct http_request *request, void *arg) {
	(void)arg;
	serve(request, 0);
}

static void handle_short(struct http_request *request, void *arg) {
	(void)arg;
	struct part *part = mem_zalloc(sizeof(*part));
	part->end = 10;
	http_stream_sized(request, 200, "text/plain", SIZE, more, over, part);
}

static const struct http_route routes[] = {
	{"/", "GET", handle}, {"/empty", "GET", handle_empty}, {"/short", "GET", handle_short}};

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

static struct reply ask(const char *path, const char *headers) {
	AUTO_FREE char *text = mem_format("GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", path, headers);
	return rig_ask(rig, text);
}

static void assert_bytes(const struct reply *reply, uint64_t from, size_t length) {
	assert_int_equal(reply->length, length);
	for (size_t i = 0; i < length; i++) assert_int_equal((unsigned char)reply->body[i], (from + i) % 251);
}

static void the_whole_body_has_its_length_and_its_tag(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = ask("/", "");
	assert_int_equal(reply.status, 200);
	assert_true(reply_has(&reply, "Content-Length", "100000"));
	assert_true(reply_has(&reply, "ETag", "\"tag\""));
	assert_true(reply_has(&reply, "Accept-Ranges", "bytes"));
	assert_bytes(&reply, 0, SIZE);
	AUTO_REPLY struct reply head = rig_ask(rig, "HEAD / HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n");
	assert_int_equal(head.status, 200);
	assert_true(reply_has(&head, "Content-Length", "100000"));
}

static void a_range_gets_its_bytes(void **state) {
	(void)state;
	static const struct {
		const char *headers, *place;
		uint64_t from;
		size_t length;
	} cases[] = {
		{"Range: bytes=0-0\r\n", "bytes 0-0/100000", 0, 1},
		{"Range: bytes=500-70000\r\n", "bytes 500-70000/100000", 500, 69501},
		{"Range: Bytes=99990-\r\n", "bytes 99990-99999/100000", 99990, 10},
		{"Range: bytes=-7\r\n", "bytes 99993-99999/100000", 99993, 7},
		{"Range: bytes=-200000\r\n", "bytes 0-99999/100000", 0, SIZE},
		{"Range: bytes=5-99999999999999999999999\r\n", "bytes 5-99999/100000", 5, SIZE - 5},
		{"Range: bytes=1-2\r\nIf-Range: \"tag\"\r\n", "bytes 1-2/100000", 1, 2},
		{"Range: bytes=1-2\r\nIf-None-Match: \"other\"\r\n", "bytes 1-2/100000", 1, 2},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_REPLY struct reply reply = ask("/", cases[i].headers);
		assert_int_equal(reply.status, 206);
		assert_true(reply_has(&reply, "Content-Range", cases[i].place));
		assert_bytes(&reply, cases[i].from, cases[i].length);
	}
}

static void a_range_behind_the_end_is_416(void **state) {
	(void)state;
	const char *const asked[] = {
		"Range: bytes=100000-\r\n", "Range: bytes=99999999999999999999999-\r\n", "Range: bytes=-0\r\n"};
	for (size_t i = 0; i < COUNT_OF(asked); i++) {
		AUTO_REPLY struct reply reply = ask("/", asked[i]);
		assert_int_equal(reply.status, 416);
		assert_true(reply_has(&reply, "Content-Range", "bytes */100000"));
	}
	AUTO_REPLY struct reply empty = ask("/empty", "Range: bytes=0-\r\n");
	assert_int_equal(empty.status, 416);
	AUTO_REPLY struct reply whole = ask("/empty", "");
	assert_int_equal(whole.status, 200);
	assert_true(reply_has(&whole, "Content-Length", "0"));
}

static void what_is_no_single_range_of_this_body_gets_the_whole(void **state) {
	(void)state;
	const char *const asked[] = {"Range: bytes=0-1,5-6\r\n", "Range: lines=0-1\r\n", "Range: bytes=5-4\r\n",
		"Range: bytes=-\r\n", "Range: bytes=a-b\r\n", "Range: bytes=+1-2\r\n",
		"Range: bytes=1-2\r\nRange: bytes=3-4\r\n", "Range: bytes=1-2\r\nIf-Range: \"old\"\r\n",
		"Range: bytes=1-2\r\nIf-Range: W/\"tag\"\r\n", "Range:\r\n"};
	for (size_t i = 0; i < COUNT_OF(asked); i++) {
		AUTO_REPLY struct reply reply = ask("/", asked[i]);
		assert_int_equal(reply.status, 200);
		assert_int_equal(reply.length, SIZE);
	}
}

static void what_the_client_has_is_not_sent_again(void **state) {
	(void)state;
	const char *const same[] = {"If-None-Match: \"tag\"\r\n", "If-None-Match: *\r\n", "If-None-Match: \"a\", W/\"tag\"\r\n",
		"If-None-Match: \"a\",\"tag\"\r\nRange: bytes=0-1\r\n"};
	for (size_t i = 0; i < COUNT_OF(same); i++) {
		AUTO_FREE char *text = mem_format("GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", same[i]);
		int fd = rig_dial(rig);
		rig_say(fd, text);
		AUTO_REPLY struct reply reply = rig_read(fd, true);
		assert_int_equal(reply.status, 304);
		assert_true(reply_has(&reply, "ETag", "\"tag\""));
		close(fd);
	}
	const char *const other[] = {"If-None-Match: \"tags\"\r\n", "If-None-Match: tag\r\n", "If-None-Match: \"x\"tag\"\r\n"};
	for (size_t i = 0; i < COUNT_OF(other); i++) {
		AUTO_REPLY struct reply reply = ask("/", other[i]);
		assert_int_equal(reply.status, 200);
	}
}

static void a_body_that_ends_too_early_is_seen_to_break_off(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, GET("/short"));
	AUTO_REPLY struct reply reply = rig_read(fd, false);
	assert_int_equal(reply.length, 10);
	assert_true(rig_ended(fd));
	rig_await(&rig->streams_over, 1);
	close(fd);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_whole_body_has_its_length_and_its_tag),
		T(a_range_gets_its_bytes),
		T(a_range_behind_the_end_is_416),
		T(what_is_no_single_range_of_this_body_gets_the_whole),
		T(what_the_client_has_is_not_sent_again),
		T(a_body_that_ends_too_early_is_seen_to_break_off),
	};
	return cmocka_run_group_tests_name("http_part", tests, NULL, NULL);
}
