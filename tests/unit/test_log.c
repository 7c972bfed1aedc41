#include "lib/json.h"
#include "lib/log.h"
#include "lib/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static int kept_stderr, file;
static char text[1 << 20];

static void capture(void) {
	kept_stderr = dup(STDERR_FILENO);
	file = memfd_create("log", MFD_CLOEXEC);
	assert_true(kept_stderr >= 0 && file >= 0);
	// Unlike opened files, a memory file does not lock its offset against other writers.
	assert_int_equal(fcntl(file, F_SETFL, O_APPEND), 0);
	dup2(file, STDERR_FILENO);
}

static const char *captured(void) {
	dup2(kept_stderr, STDERR_FILENO);
	ssize_t length = pread(file, text, sizeof(text) - 1, 0);
	assert_true(length >= 0);
	text[length] = '\0';
	close(file);
	close(kept_stderr);
	return text;
}

static json_t *captured_json(void) {
	AUTO_ERROR struct error error = {0};
	json_t *json = NULL;
	const char *line = captured();
	assert_int_equal(line[strlen(line) - 1], '\n');
	if (json_read(line, strlen(line), SIZE_MAX, &json, &error) != 0) fail_msg("%s in %s", error_text(&error), line);
	return json;
}

static void a_json_line_has_time_level_daemon_message_and_fields(void **state) {
	(void)state;
	log_open("worker", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture();
	log_warn(log_m("claimed"), log_s("key", "k-1"), log_i("attempt", -2));
	const char *line = captured();
	const char *rest = "Z\",\"level\":\"warn\",\"daemon\":\"worker\",\"msg\":\"claimed\",\"key\":\"k-1\",\"attempt\":-2}\n";
	assert_string_equal(line + strlen("{\"time\":\"2026-01-01T00:00:00.000"), rest);
}

static void the_time_is_utc_with_milliseconds(void **state) {
	(void)state;
	log_open("worker", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	int64_t before_ms = loop_wall_ms();
	capture();
	log_info(log_m("x"));
	AUTO_JSON json_t *json = captured_json();
	struct tm utc = {0};
	const char *end = strptime(json_text(json, "time"), "%Y-%m-%dT%H:%M:%S", &utc);
	assert_non_null(end);
	char *after = NULL;
	int64_t ms = timegm(&utc) * 1000 + strtoll(end + 1, &after, 10);
	assert_string_equal(after, "Z");
	assert_in_range(ms, before_ms, loop_wall_ms());
}

static void whatever_a_value_holds_the_line_is_one_valid_json_object(void **state) {
	(void)state;
	log_open("worker", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	char all[256];
	for (int i = 0; i < 255; i++) all[i] = (char)(i + 1);
	all[255] = '\0';
	capture();
	log_info(log_m(all), log_s("quote\"", "a\\b\"c\nd\te"), log_s("cut", "ñ\xc3"), log_s("null", NULL));
	AUTO_JSON json_t *json = captured_json();
	assert_int_equal(strchr(text, '\n') - text, strlen(text) - 1);
	assert_string_equal(json_text(json, "quote\""), "a\\b\"c\nd\te");
	assert_string_equal(json_text(json, "cut"), "ñ\xef\xbf\xbd");
	assert_string_equal(json_text(json, "null"), "");
}

static void no_control_character_reaches_the_terminal_in_either_form(void **state) {
	(void)state;
	// colours, a C1 control (CSI), right-to-left override, line separator, delete
	const char *const bad = "\033[31m\r\n\xc2\x9b\xe2\x80\xae\xe2\x80\xa8\x7f";
	const enum log_format formats[] = {LOG_FORMAT_JSON, LOG_FORMAT_TEXT};
	for (size_t i = 0; i < COUNT_OF(formats); i++) {
		log_open("worker", LOG_LEVEL_INFO, formats[i]);
		capture();
		log_info(log_m(bad), log_s("v", bad));
		const char *line = captured();
		for (const char *at = line; at[1]; at++) {
			if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f)
				fail_msg("%02x in: %s", (unsigned char)*at, line);
		}
		assert_non_null(strstr(line, "\\u001b[31m\\u000d\\n\\u009b\\u202e\\u2028\\u007f"));
	}
}

static void malformed_utf8_is_replaced_byte_by_byte(void **state) {
	(void)state;
	// overlong, surrogate, beyond Unicode, lone continuation, cut sequence; then what is fine
	const char *const bad = "\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\x80|\xe2\x82|\xf0\x9f\x98\x80€";
	log_open("worker", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture();
	log_info(log_m("x"), log_s("v", bad));
	AUTO_JSON json_t *json = captured_json();
#define R "\xef\xbf\xbd"
	assert_string_equal(json_text(json, "v"), R R "|" R R R "|" R R R R "|" R "|" R R "|😀€");
}

static void the_text_form_is_for_people(void **state) {
	(void)state;
	log_open("worker", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	capture();
	log_error(log_s("key", "k-1"), log_m("job failed: \"x\""), log_s("why", "no such file"), log_s("empty", ""),
		log_i("n", 3), log_s("city", "Cádiz"));
	const char *line = captured();
	assert_string_equal(line + strlen("12:00:00"),
		" ERROR job failed: \\\"x\\\"  key=k-1  why=\"no such file\"  empty=\"\"  n=3  city=Cádiz\n");
	assert_int_equal(line[2], ':');
}

static void lines_below_the_least_level_are_not_written_nor_their_fields_evaluated(void **state) {
	(void)state;
	log_open("worker", LOG_LEVEL_WARN, LOG_FORMAT_JSON);
	int evaluated = 0;
	capture();
	log_debug(log_i("n", ++evaluated));
	log_info(log_i("n", ++evaluated));
	const char *line = captured();
	assert_string_equal(line, "");
	assert_int_equal(evaluated, 0);
	assert_true(log_enabled(LOG_LEVEL_ERROR));
	assert_false(log_enabled(LOG_LEVEL_INFO));
}

static void an_error_object_is_a_field(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	error_set(&error, ERROR_INPUT, "no such branch");
	log_open("worker", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture();
	log_info(log_m("x"), log_e(&error));
	AUTO_JSON json_t *json = captured_json();
	assert_string_equal(json_text(json, "error"), "no such branch");
}

static void writing_keeps_errno(void **state) {
	(void)state;
	log_open("worker", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture();
	errno = EBUSY;
	log_info(log_m("x"));
	int kept = errno;
	captured();
	assert_int_equal(kept, EBUSY);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *arg) {
	for (int i = 0; i < LINES; i++) log_info(log_m("line"), log_s("thread", arg), log_i("n", i));
	return NULL;
}

static void lines_of_several_threads_do_not_mix(void **state) {
	(void)state;
	log_open("worker", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	char name[] = "t";
	capture();
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, write_lines, name), 0);
	for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	captured();
	int lines = 0;
	for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, lines++) {
		AUTO_JSON json_t *json = NULL;
		assert_int_equal(json_read(at, (size_t)(end - at), 1000, &json, NULL), 0);
	}
	assert_int_equal(lines, THREADS * LINES);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_json_line_has_time_level_daemon_message_and_fields),
		cmocka_unit_test(the_time_is_utc_with_milliseconds),
		cmocka_unit_test(whatever_a_value_holds_the_line_is_one_valid_json_object),
		cmocka_unit_test(no_control_character_reaches_the_terminal_in_either_form),
		cmocka_unit_test(malformed_utf8_is_replaced_byte_by_byte),
		cmocka_unit_test(the_text_form_is_for_people),
		cmocka_unit_test(lines_below_the_least_level_are_not_written_nor_their_fields_evaluated),
		cmocka_unit_test(an_error_object_is_a_field),
		cmocka_unit_test(writing_keeps_errno),
		cmocka_unit_test(lines_of_several_threads_do_not_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
