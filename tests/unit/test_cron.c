#include "lib/cron.h"
#include "lib/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define EVERY(high) ((UINT64_C(2) << (high)) - 1)

static struct cron parsed(const char *text) {
	AUTO_ERROR struct error error = {0};
	struct cron cron = {0};
	if (cron_parse(text, &cron, &error)) fail_msg("%s: %s", text, error_text(&error));
	return cron;
}

static void assert_same(const char *one, const char *other) {
	const struct cron a = parsed(one), b = parsed(other);
	if (a.minutes != b.minutes || a.hours != b.hours || a.days != b.days || a.months != b.months ||
		a.weekdays != b.weekdays || a.either_day != b.either_day)
		fail_msg("\"%s\" is not \"%s\"", one, other);
}

static void assert_refused(const char *text, const char *why) {
	AUTO_ERROR struct error error = {0};
	struct cron cron;
	if (!cron_parse(text, &cron, &error)) fail_msg("accepted: \"%s\"", text);
	assert_int_equal(error.kind, ERROR_INPUT);
	if (!strstr(error_text(&error), why))
		fail_msg("\"%s\": the message \"%s\" lacks \"%s\"", text, error_text(&error), why);
}

static void stars_are_everything(void **state UNUSED) {
	const struct cron cron = parsed("* * * * *");
	assert_int_equal(cron.minutes, EVERY(59));
	assert_int_equal(cron.hours, EVERY(23));
	assert_int_equal(cron.days, EVERY(31) & ~UINT64_C(1));
	assert_int_equal(cron.months, EVERY(12) & ~UINT64_C(1));
	assert_int_equal(cron.weekdays, EVERY(6));
	assert_false(cron.either_day);
}

static void lists_ranges_and_steps_are_read(void **state UNUSED) {
	const struct cron cron = parsed("5,59,0 1-3,20-23/2 */10 2,4-6 1");
	assert_int_equal(cron.minutes, 1 | 1 << 5 | UINT64_C(1) << 59);
	assert_int_equal(cron.hours, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 20 | 1 << 22);
	assert_int_equal(cron.days, 1 << 1 | 1 << 11 | 1 << 21 | 1U << 31);
	assert_int_equal(cron.months, 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6);
	assert_int_equal(cron.weekdays, 1 << 1);
}

static void blanks_around_and_between_do_not_count(void **state UNUSED) {
	assert_same(" \t1  2\t3 4   5\t", "1 2 3 4 5");
}

static void names_are_numbers_in_any_case(void **state UNUSED) {
	assert_same("0 0 * jan,FEB-Apr,dec MON-fri", "0 0 * 1,2-4,12 1-5");
	assert_same("0 0 * * sat", "0 0 * * 6");
}

static void sunday_is_0_and_7(void **state UNUSED) {
	assert_same("0 0 * * 7", "0 0 * * 0");
	assert_same("0 0 * * 5-7", "0 0 * * 0,5,6");
	assert_same("0 0 * * fri-sun", "0 0 * * 0,5,6");
	assert_same("0 0 * * 0-7", "0 0 * * 0-6");
	assert_int_equal(parsed("0 0 * * */2").weekdays, 1 << 0 | 1 << 2 | 1 << 4 | 1 << 6);
}

static void aliases_are_their_entries(void **state UNUSED) {
	assert_same("@hourly", "0 * * * *");
	assert_same("@daily", "0 0 * * *");
	assert_same("@midnight", "0 0 * * *");
	assert_same(" @Weekly ", "0 0 * * 0");
	assert_same("@monthly", "0 0 1 * *");
	assert_same("@yearly", "0 0 1 1 *");
	assert_same("@annually", "0 0 1 1 *");
}

static void either_day_is_enough_only_where_no_day_field_begins_with_a_star(void **state UNUSED) {
	assert_true(parsed("0 0 13 * 5").either_day);
	assert_true(parsed("0 0 1-31 * 1").either_day);
	assert_false(parsed("0 0 13 * *").either_day);
	assert_false(parsed("0 0 * * 5").either_day);
	assert_false(parsed("0 0 */2 * 1").either_day);
	assert_false(parsed("0 0 13 * */2").either_day);
}

static void an_error_names_its_field(void **state UNUSED) {
	assert_refused("60 * * * *", "minute \"60\"");
	assert_refused("* 24 * * *", "hour \"24\"");
	assert_refused("* * 0 * *", "day of month \"0\"");
	assert_refused("* * 32 * *", "day of month \"32\"");
	assert_refused("* * * 13 *", "month \"13\"");
	assert_refused("* * * 0 *", "month \"0\"");
	assert_refused("* * * * 8", "day of week \"8\"");
	assert_refused("* * * juno *", "month \"juno\"");
	assert_refused("* * * * mo", "or a name such as sun");
	assert_refused("mon * * * *", "minute \"mon\"");
	assert_refused("1,2,77,4 * * * *", "minute \"77\"");
}

static void what_is_malformed_is_refused(void **state UNUSED) {
	assert_refused("", "five fields");
	assert_refused("0 0 \x1b[31m 2 1", "control characters");
	assert_refused("0 0 \xc3\xb1 2 1", "beyond ASCII");
	assert_refused("   ", "five fields");
	assert_refused("* * * *", "not 4");
	assert_refused("0 * * * * *", "not 6");
	assert_refused("*\n* * * *", "control characters");
	assert_refused("1, * * * *", "empty place");
	assert_refused(",1 * * * *", "empty place");
	assert_refused("1- * * * *", "minute \"1-\"");
	assert_refused("-1 * * * *", "minute \"-1\"");
	assert_refused("+1 * * * *", "minute \"+1\"");
	assert_refused("*5 * * * *", "cannot be read");
	assert_refused("1-5-9 * * * *", "cannot be read");
	assert_refused("1.5 * * * *", "cannot be read");
	assert_refused("0~30 * * * *", "cannot be read");
	assert_refused("? * * * *", "minute \"?\"");
	assert_refused("0 0 L * *", "day of month \"L\"");
	assert_refused("0 0 * * 5#2", "cannot be read");
	assert_refused("4294967296 * * * *", "minute");
	assert_refused("99999999999999999999999999 * * * *", "minute");
	assert_refused("30-10 * * * *", "from low to high");
	assert_refused("* 22-2 * * *", "from low to high");
	assert_refused("0 0 * * \xc3\xb1", "beyond ASCII");
}

static void a_step_is_small_enough_and_has_a_range(void **state UNUSED) {
	assert_refused("5/15 * * * *", "behind * or a range");
	assert_refused("*/0 * * * *", "from 1 to 59");
	assert_refused("*/60 * * * *", "from 1 to 59");
	assert_refused("*/ * * * *", "step");
	assert_refused("*/-5 * * * *", "step");
	assert_refused("* */24 * * *", "from 1 to 23");
	assert_refused("*/5/5 * * * *", "cannot be read");
	assert_refused("*/99999999999999999999 * * * *", "step");
	assert_int_equal(parsed("*/59 * * * *").minutes, 1 | UINT64_C(1) << 59);
}

static void other_aliases_are_refused(void **state UNUSED) {
	assert_refused("@reboot", "@hourly");
	assert_refused("@", "@hourly");
	assert_refused("@hour", "@hourly");
	assert_refused("@hourly 5", "each alone");
	assert_refused("@every 5m", "@hourly");
}

static void a_date_that_never_comes_is_refused(void **state UNUSED) {
	assert_refused("0 0 30 2 *", "day of month 30 never comes");
	assert_refused("0 0 31 2,4,6,9,11 *", "30 days at most");
	assert_refused("0 0 30-31 feb */2", "never comes");
	parsed("0 0 29 2 *");
	parsed("0 0 31 2-3 *");
	parsed("0 0 31 4 1"); // or a Monday in April
}

static void a_very_long_entry_is_refused(void **state UNUSED) {
	char text[400];
	memset(text, '1', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_refused(text, "200 bytes");
}

static void names_of_time_zones_have_a_form(void **state UNUSED) {
	static const char *const good[] = {"UTC", "GMT", "Europe/Madrid", "America/Argentina/Buenos_Aires",
		"America/Port-au-Prince", "Etc/UTC", "Etc/GMT+12", "Etc/GMT-14", "Etc/GMT0", "Australia/Lord_Howe"};
	static const char *const bad[] = {"", "/", "Europe/", "/Madrid", "CET", "EST5EDT", "BST", "utc+3", "+02:00", "UTC+2",
		"Europe/Madrid2", "Foo/Bar+3", "FOO3BAR,M3.2.0,M11.1.0", "Etc/GMT+13", "Etc/GMT-15", "Etc/GMT+05", "Etc/GMT5",
		"Etc/GMT+5x", "posix/Europe/Madrid", "Right/Europe/Madrid", "../../etc/passwd", "Europe/Madrid ",
		"Europe/M\xc3\xa1laga", "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	for (size_t i = 0; i < COUNT_OF(good); i++)
		if (cron_zone_check(good[i], NULL)) fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (!cron_zone_check(bad[i], NULL)) fail_msg("accepted: %s", bad[i]);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stars_are_everything),
		cmocka_unit_test(lists_ranges_and_steps_are_read),
		cmocka_unit_test(blanks_around_and_between_do_not_count),
		cmocka_unit_test(names_are_numbers_in_any_case),
		cmocka_unit_test(sunday_is_0_and_7),
		cmocka_unit_test(aliases_are_their_entries),
		cmocka_unit_test(either_day_is_enough_only_where_no_day_field_begins_with_a_star),
		cmocka_unit_test(an_error_names_its_field),
		cmocka_unit_test(what_is_malformed_is_refused),
		cmocka_unit_test(a_step_is_small_enough_and_has_a_range),
		cmocka_unit_test(other_aliases_are_refused),
		cmocka_unit_test(a_date_that_never_comes_is_refused),
		cmocka_unit_test(a_very_long_entry_is_refused),
		cmocka_unit_test(names_of_time_zones_have_a_form),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
