#include "lib/error.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <errno.h>
#include <stdint.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static int refuse(struct error *error) {
	return error_set(error, ERROR_DENIED, "port %d is %s", 25, "closed");
}

static void setting_an_error_returns_minus_one_with_kind_and_message(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	assert_int_equal(refuse(&error), -1);
	assert_int_equal(error.kind, ERROR_DENIED);
	assert_string_equal(error_text(&error), "port 25 is closed");
}

static void each_layer_puts_its_context_in_front_and_the_kind_stays(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	refuse(&error);
	assert_int_equal(error_wrap(&error, "dial %s", "example.org"), -1);
	assert_int_equal(error_wrap(&error, "fetch"), -1);
	assert_int_equal(error.kind, ERROR_DENIED);
	assert_string_equal(error_text(&error), "fetch: dial example.org: port 25 is closed");
}

static void an_error_can_be_set_again_from_its_own_message(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	refuse(&error);
	error_set(&error, ERROR_INPUT, "instead of \"%s\"", error.message);
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_string_equal(error_text(&error), "instead of \"port 25 is closed\"");
}

static void errno_is_told_in_words(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	assert_int_equal(error_set_errno(&error, ERROR_UNAVAILABLE, ENOENT, "open %s", "/x"), -1);
	assert_string_equal(error_text(&error), "open /x: No such file or directory");
}

static void wrapping_what_was_never_set_is_still_a_failure(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	error_wrap(&error, "ledger");
	assert_int_equal(error.kind, ERROR_INTERNAL);
}

static void callers_that_do_not_care_may_pass_null(void **state) {
	(void)state;
	assert_int_equal(refuse(NULL), -1);
	assert_int_equal(error_wrap(NULL, "x"), -1);
	assert_int_equal(error_set_errno(NULL, ERROR_INPUT, EINVAL, "x"), -1);
	error_clear(NULL);
	assert_non_null(error_text(NULL));
}

static void a_cleared_error_can_be_used_again(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	refuse(&error);
	error_clear(&error);
	assert_int_equal(error.kind, ERROR_NONE);
	assert_null(error.message);
	refuse(&error);
	assert_string_equal(error_text(&error), "port 25 is closed");
}

static void kinds_end_a_program_with_the_codes_of_the_interface(void **state) {
	(void)state;
	assert_int_equal(lifecycle_exit_code(ERROR_NONE), 0);
	assert_int_equal(lifecycle_exit_code(ERROR_INTERNAL), 1);
	assert_int_equal(lifecycle_exit_code(ERROR_CONFLICT), 1);
	assert_int_equal(lifecycle_exit_code(ERROR_USAGE), 64);
	assert_int_equal(lifecycle_exit_code(ERROR_UNAVAILABLE), 69);
	assert_int_equal(lifecycle_exit_code(ERROR_INPUT), 78);
}

static void backoff_doubles_up_to_the_cap_and_is_jittered(void **state) {
	(void)state;
	int64_t most_seen = 0, least_seen = INT64_MAX;
	for (int i = 0; i < 2000; i++) {
		int64_t third = lifecycle_backoff_ms(2, 100, 60000);
		assert_in_range(third, 1, 400);
		if (third > most_seen) most_seen = third;
		if (third < least_seen) least_seen = third;
		assert_in_range(lifecycle_backoff_ms(0, 100, 60000), 1, 100);
		assert_in_range(lifecycle_backoff_ms(UINT32_MAX, 100, 60000), 1, 60000);
		assert_in_range(lifecycle_backoff_ms(200, INT64_MAX / 2 + 1, INT64_MAX), 1, INT64_MAX);
		assert_int_equal(lifecycle_backoff_ms(5, 0, 1), 1);
	}
	assert_true(most_seen > 300);
	assert_true(least_seen < 100);
}

static void copies_and_formats_are_the_callers_own(void **state) {
	(void)state;
	AUTO_FREE char *text = mem_format("%s-%d", "a", 7);
	assert_string_equal(text, "a-7");
	AUTO_FREE char *part = mem_strndup("abcdef", 3);
	assert_string_equal(part, "abc");
	AUTO_FREE char *data = mem_dup("x\0y", 3);
	assert_memory_equal(data, "x\0y", 3);
	assert_null(mem_dup(NULL, 5));
	assert_null(mem_strdup(NULL));
	AUTO_FREE int *numbers = mem_zalloc_array(4, sizeof(int));
	assert_int_equal(numbers[3], 0);
	numbers = mem_resize(numbers, 0, sizeof(int)); // stays a pointer of ours
	assert_non_null(numbers);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setting_an_error_returns_minus_one_with_kind_and_message),
		cmocka_unit_test(each_layer_puts_its_context_in_front_and_the_kind_stays),
		cmocka_unit_test(an_error_can_be_set_again_from_its_own_message),
		cmocka_unit_test(errno_is_told_in_words),
		cmocka_unit_test(wrapping_what_was_never_set_is_still_a_failure),
		cmocka_unit_test(callers_that_do_not_care_may_pass_null),
		cmocka_unit_test(a_cleared_error_can_be_used_again),
		cmocka_unit_test(kinds_end_a_program_with_the_codes_of_the_interface),
		cmocka_unit_test(backoff_doubles_up_to_the_cap_and_is_jittered),
		cmocka_unit_test(copies_and_formats_are_the_callers_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
