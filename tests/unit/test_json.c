#include "lib/json.h"

#include <stdint.h>
#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static int read_text(const char *text, json_t **json, struct error *error) {
	return json_read(text, strlen(text), 1000, json, error);
}

static void refused(const char *text, size_t length, const char *why) {
	AUTO_ERROR struct error error = {0};
	AUTO_JSON json_t *json = NULL;
	assert_int_equal(json_read(text, length, 1000, &json, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_null(json);
	if (!strstr(error_text(&error), why)) fail_msg("\"%s\" does not say \"%s\"", error_text(&error), why);
}

static void what_is_written_is_compact_and_sorted_whatever_the_order_was(void **state) {
	(void)state;
	AUTO_JSON json_t *one = NULL, *two = NULL;
	assert_int_equal(read_text("{ \"b\": [1, 2.5, null], \"a\": \"ñ\" }", &one, NULL), 0);
	assert_int_equal(read_text("{\"a\":\"\\u00f1\",\"b\":[1,2.5,null]}", &two, NULL), 0);
	AUTO_FREE char *first = json_write(one);
	AUTO_FREE char *second = json_write(two);
	assert_string_equal(first, "{\"a\":\"ñ\",\"b\":[1,2.5,null]}");
	assert_string_equal(first, second);
}

static void any_value_may_stand_at_the_top(void **state) {
	(void)state;
	const char *const texts[] = {"3", "\"x\"", "null", "true", "[]", "{}"};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		AUTO_JSON json_t *json = NULL;
		assert_int_equal(read_text(texts[i], &json, NULL), 0);
		AUTO_FREE char *text = json_write(json);
		assert_string_equal(text, texts[i]);
	}
}

static void broken_text_is_refused_with_line_and_column(void **state) {
	(void)state;
	refused("", 0, "line 1");
	refused("{\n\"a\":}", 8, "line 2, column");
	refused("[1] x", 5, "end of file");
	refused("{\"a\":1", 6, "JSON");
	refused("[01]", 4, "JSON");
	refused("NaN", 3, "JSON");
}

static void duplicate_keys_are_refused(void **state) {
	(void)state;
	const char text[] = "{\"a\":{\"k\":1,\"k\":2}}";
	refused(text, strlen(text), "duplicate");
}

static void nul_bytes_and_escapes_of_them_are_refused(void **state) {
	(void)state;
	refused("\"a\0b\"", 5, "JSON");
	refused("[1]\0", 4, "JSON");
	const char escaped[] = "\"a\\u0000b\"";
	refused(escaped, strlen(escaped), "JSON");
}

static void bad_utf8_is_refused_and_the_message_stays_valid(void **state) {
	(void)state;
	refused("\"\xff\"", 3, "decode");
	refused("\"\xc0\xaf\"", 4, "decode");
	refused("\"\xed\xa0\x80\"", 5, "decode");
	// jansson quotes the input, possibly half a character of it: nothing of that may get into the message
	AUTO_ERROR struct error error = {0};
	AUTO_JSON json_t *json = NULL;
	assert_int_equal(
		read_text("[\"ññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññ\" x]", &json, &error),
		-1);
	assert_null(strstr(error_text(&error), "\xc3"));
}

static void integers_beyond_64_bits_are_refused(void **state) {
	(void)state;
	refused("[9223372036854775808]", 21, "integer");
	AUTO_JSON json_t *json = NULL;
	assert_int_equal(read_text("[9223372036854775807,-9223372036854775808]", &json, NULL), 0);
}

static void more_bytes_than_allowed_are_refused_unread(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	AUTO_JSON json_t *json = NULL;
	assert_int_equal(json_read("[1,2]", 5, 4, &json, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_int_equal(json_read("[1,2]", 5, 5, &json, NULL), 0);
}

static char *nested(size_t depth, char *buffer, size_t size) {
	assert_true(2 * depth < size);
	memset(buffer, '[', depth);
	memset(buffer + depth, ']', depth);
	buffer[2 * depth] = '\0';
	return buffer;
}

static void nesting_is_bounded(void **state) {
	(void)state;
	char buffer[8192];
	AUTO_JSON json_t *fine = NULL;
	assert_int_equal(read_text(nested(64, buffer, sizeof(buffer)), &fine, NULL), 0);
	refused(nested(65, buffer, sizeof(buffer)), 130, "nested");
	AUTO_ERROR struct error error = {0};
	AUTO_JSON json_t *json = NULL;
	assert_int_equal(json_read(nested(4000, buffer, sizeof(buffer)), 8000, 8000, &json, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
}

static void members_are_checked_for_type_and_range(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	AUTO_JSON json_t *json = NULL;
	assert_int_equal(read_text("{\"n\":7,\"s\":\"x\",\"r\":7.0,\"z\":null}", &json, &error), 0);
	int64_t value = 0;
	assert_int_equal(json_int(json, "n", 0, 7, -1, &value, &error), 0);
	assert_int_equal(value, 7);
	assert_int_equal(json_int(json, "absent", 0, 7, -1, &value, &error), 0);
	assert_int_equal(value, -1);
	const char *const wrong[] = {"s", "r", "z"};
	for (size_t i = 0; i < COUNT_OF(wrong); i++) assert_int_equal(json_int(json, wrong[i], 0, 7, -1, &value, &error), -1);
	assert_int_equal(json_int(json, "n", 8, 9, -1, &value, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_string_equal(error_text(&error), "n must be a whole number from 8 to 9");
	assert_string_equal(json_text(json, "s"), "x");
	assert_null(json_text(json, "n"));
	assert_null(json_text(json, "absent"));
	assert_null(json_text(NULL, "s"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_compact_and_sorted_whatever_the_order_was),
		cmocka_unit_test(any_value_may_stand_at_the_top),
		cmocka_unit_test(broken_text_is_refused_with_line_and_column),
		cmocka_unit_test(duplicate_keys_are_refused),
		cmocka_unit_test(nul_bytes_and_escapes_of_them_are_refused),
		cmocka_unit_test(bad_utf8_is_refused_and_the_message_stays_valid),
		cmocka_unit_test(integers_beyond_64_bits_are_refused),
		cmocka_unit_test(more_bytes_than_allowed_are_refused_unread),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(members_are_checked_for_type_and_range),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
