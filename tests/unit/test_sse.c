#include "cli/sse.h"
#include "lib/mem.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static void note(const char *name, const char *data, size_t length, void *arg) {
	fprintf(arg, "%s=%.*s;", name, (int)length, data);
}

// What comes out of a stream that arrives in pieces of `step` bytes, and the last id.
static char *events(const char *stream, size_t length, size_t step) {
	char *text = NULL;
	size_t size;
	struct sse sse = {.event = note, .arg = open_memstream(&text, &size)};
	for (size_t i = 0; i < length; i += step) sse_take(&sse, stream + i, length - i < step ? length - i : step);
	fprintf(sse.arg, "#%s", sse.id ? sse.id : "");
	fclose(sse.arg);
	sse_clear(&sse);
	return text;
}

static void gives(const char *stream, const char *expected) {
	for (size_t step = 1; step <= 9; step++) {
		AUTO_FREE char *text = events(stream, strlen(stream), step);
		assert_string_equal(text, expected);
	}
}

static void test_events_are_read_wherever_they_are_cut(void **state) {
	(void)state;
	gives("retry: 1000\n\nevent: status\ndata: {}\n\nid: 1.2\nevent: output\ndata: a\ndata:b\n\n",
		"status={};output=a\nb;#1.2");
	gives("data: crlf\r\n\r\ndata: cr\r\rdata: lf\n\n", "message=crlf;message=cr;message=lf;#");
}

static void test_comments_empty_events_and_unfinished_ones_are_none(void **state) {
	(void)state;
	gives(": heartbeat\n\nevent: x\n\nid: 7\n\ndata: begun", "#7");
	gives("data\n\n", "message=;#");
}

static void test_an_event_that_is_too_long_is_passed_over_and_the_next_one_read(void **state) {
	(void)state;
	size_t length = SSE_MOST + 100;
	AUTO_FREE char *stream = mem_zalloc(length + 64);
	memset(stream, 'x', length);
	memcpy(stream, "data: ", 6);
	memcpy(stream + length, "\n\ndata: next\n\n", 15);
	AUTO_FREE char *text = events(stream, strlen(stream), 16384);
	assert_string_equal(text, "message=next;#");
}

static void test_a_new_stream_forgets_what_was_begun_but_not_where_it_was(void **state) {
	(void)state;
	char *text = NULL;
	size_t size;
	struct sse sse = {.event = note, .arg = open_memstream(&text, &size)};
	static const char broken[] = "id: 1.1\ndata: a\n\nid: 1.2\ndata: cut o";
	sse_take(&sse, broken, sizeof(broken) - 1);
	sse_restart(&sse);
	sse_take(&sse, "data: b\n\n", 9);
	assert_string_equal(sse.id, "1.1");
	fclose(sse.arg);
	assert_string_equal(text, "message=a;message=b;");
	sse_clear(&sse);
	free(text);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events_are_read_wherever_they_are_cut),
		cmocka_unit_test(test_comments_empty_events_and_unfinished_ones_are_none),
		cmocka_unit_test(test_an_event_that_is_too_long_is_passed_over_and_the_next_one_read),
		cmocka_unit_test(test_a_new_stream_forgets_what_was_begun_but_not_where_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
