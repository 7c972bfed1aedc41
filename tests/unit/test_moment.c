#include "lib/moment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int64_t moment(const char *text) {
	int64_t ms = -1;
	assert_int_equal(moment_read(text, &ms), 0);
	return ms;
}

static void a_moment_in_utc_is_read(void **state) {
	(void)state;
	assert_int_equal(moment("1970-01-01T00:00:00Z"), 0);
	assert_int_equal(moment("2026-11-21t12:34:56.789z"), 1795264496789);
	assert_int_equal(moment("2026-11-21 12:34:56.7891234Z"), 1795264496789);
	assert_int_equal(moment("2024-02-29T23:59:60Z"), moment("2024-03-01T00:00:00Z"));
}

static void an_offset_is_taken_away(void **state) {
	(void)state;
	assert_int_equal(moment("2026-11-21T12:00:00+01:30"), moment("2026-11-21T10:30:00Z"));
	assert_int_equal(moment("2026-11-21T12:00:00-08:00"), moment("2026-11-21T20:00:00Z"));
}

static void what_is_no_moment_is_refused(void **state) {
	static const char *const bad[] = {"", "2026", "2026-11-21", "2026-11-21T12:00:00", "2026-02-29T00:00:00Z",
		"2026-13-01T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T12:60:00Z", "2026-11-21T12:00:00.Z",
		"2026-11-21T12:00:00+24:00", "2026-11-21T12:00:00Zjunk", "0000-01-01T00:00:00Z", "x026-11-21T12:00:00Z",
		"2026-11-21T12:00:00+0100", "2026-11-2"};
	(void)state;
	int64_t ms;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) assert_int_equal(moment_read(bad[i], &ms), -1);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_moment_in_utc_is_read),
		cmocka_unit_test(an_offset_is_taken_away),
		cmocka_unit_test(what_is_no_moment_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
