#include "cli/text.h"
#include "lib/mem.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static void shown(const char *text, const char *as) {
	AUTO_FREE char *safe = text_safe(text);
	assert_string_equal(safe, as);
}

// Through the filter, in pieces of `step` bytes.
static char *filtered(const char *bytes, size_t length, size_t step, bool colours, const char *mark) {
	char *text = NULL;
	size_t size;
	struct text_filter filter = {.out = open_memstream(&text, &size), .colours = colours, .mark = mark};
	for (size_t i = 0; i < length; i += step) text_filter_take(&filter, bytes + i, length - i < step ? length - i : step);
	text_filter_end(&filter);
	fclose(filter.out);
	return text;
}

static void becomes(const char *bytes, const char *as) {
	for (size_t step = 1; step <= 7; step++) {
		AUTO_FREE char *text = filtered(bytes, strlen(bytes), step, true, NULL);
		assert_string_equal(text, as);
	}
}

static void test_a_line_shows_what_would_command_a_terminal(void **state) {
	(void)state;
	shown("plain, añadido, 日本, 🙂", "plain, añadido, 日本, 🙂");
	shown("\033[2J\b\t\n\r\177", "^[[2J^H^I^J^M^?");
	shown("\302\233 \342\200\256 \357\273\277", "<U+009B> <U+202E> <U+FEFF>");
	shown("\377 \300\200 \355\240\200 \342\200",
		"\357\277\275 \357\277\275\357\277\275 \357\277\275\357\277\275\357\277\275 "
		"\357\277\275\357\277\275");
	assert_null(text_safe(NULL));
}

static void test_columns_are_counted_as_a_terminal_does(void **state) {
	(void)state;
	assert_int_equal(text_width("añ日本"), 6);
	assert_int_equal(text_fit("añ日本", 3), 3); // a wide one does not fit by half
	assert_int_equal(text_fit("añ日本", 4), 6);
	assert_int_equal(text_fit("abc", 0), 0);
}

static void test_output_keeps_colours_lines_and_tabs_wherever_it_is_cut(void **state) {
	(void)state;
	becomes("\033[1;31mred\033[0m\tañ\n", "\033[1;31mred\033[0m\tañ\n\033[0m");
	becomes("38:5: \033[38:5:9mx\n", "38:5: \033[38:5:9mx\n\033[0m");
	becomes("no end", "no end\n");
}

static void test_output_shows_every_other_sequence(void **state) {
	(void)state;
	becomes("\033]0;title\007x\n", "^[]0;title^Gx\n");
	becomes("\033[2J\033[?25l\033[6n\n", "^[[2J^[[?25l^[[6n\n");
	becomes("\033\033[1A\n", "^[^[[1A\n");
	becomes("\033[1", "^[[1\n");
	becomes("\033", "^[\n");
	becomes("\033[111111111111111111111111111111111111111111111111111111111111111111111111m\n",
		"^[[111111111111111111111111111111111111111111111111111111111111111111111111m\n");
	becomes("\302\233"
		"31m\n",
		"<U+009B>31m\n");
}

static void test_a_carriage_return_begins_a_line_and_overwrites_none(void **state) {
	(void)state;
	becomes("10%\r20%\r\n", "10%\n20%\n");
	becomes("\r\r\nx\r\r\ny\r", "\nx\ny\n");
}

static void test_without_colours_none_pass(void **state) {
	(void)state;
	AUTO_FREE char *text = filtered("\033[31mred\033[0m\n", 13, 3, false, NULL);
	assert_string_equal(text, "red\n");
}

static void test_a_mark_is_on_each_line_and_leaves_no_trace_behind_a_piece(void **state) {
	(void)state;
	AUTO_FREE char *whole = filtered("one\ntwo\n", 8, 8, true, "<"), *pieces = filtered("one\n", 4, 2, true, "<");
	assert_string_equal(whole, "<one\033[0m\n<two\033[0m\n");
	assert_string_equal(pieces, "<on\033[0m<e\033[0m\n");
}

static void test_nul_bytes_are_shown_like_others(void **state) {
	(void)state;
	AUTO_FREE char *text = filtered("a\0b", 3, 1, true, NULL);
	assert_string_equal(text, "a^@b\n");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_shows_what_would_command_a_terminal),
		cmocka_unit_test(test_columns_are_counted_as_a_terminal_does),
		cmocka_unit_test(test_output_keeps_colours_lines_and_tabs_wherever_it_is_cut),
		cmocka_unit_test(test_output_shows_every_other_sequence),
		cmocka_unit_test(test_a_carriage_return_begins_a_line_and_overwrites_none),
		cmocka_unit_test(test_without_colours_none_pass),
		cmocka_unit_test(test_a_mark_is_on_each_line_and_leaves_no_trace_behind_a_piece),
		cmocka_unit_test(test_nul_bytes_are_shown_like_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
