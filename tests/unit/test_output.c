// What a job prints, on its way into the ledger; and its environment.

#include "lib/mem.h"
#include "worker/environment.h"
#include "worker/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int64_t hand_out(struct output *output) {
	struct output_columns columns = {0};
	int64_t mark = output_gather(output, 1, INT64_MAX, &columns);
	output_columns_clear(&columns);
	return mark;
}

// What is handed out, chunk by chunk: "1:text 2:text …".
static char *handed_out(struct output *output, int64_t most_bytes) {
	struct output_columns columns = {0};
	char *text = mem_strdup("");
	(void)output_gather(output, 1, most_bytes, &columns);
	for (size_t i = 0; i < columns.count; i++) {
		char *longer = mem_format("%s%s%d:%.*s", text, i ? " " : "", (int)columns.streams[i], (int)columns.lengths[i],
			(const char *)columns.data[i]);
		free(text);
		text = longer;
	}
	output_columns_clear(&columns);
	return text;
}

#define assert_handed_out(output, expected)                                                                                    \
	do {                                                                                                                   \
		AUTO_FREE char *text_ = handed_out(output, INT64_MAX);                                                         \
		assert_string_equal(text_, expected);                                                                          \
	} while (0)

static void a_chunk_ends_with_a_character_and_the_rest_comes_later(void **state) {
	(void)state;
	struct output *output = output_new(1000);
	output_add(output, 1, "a\xe2\x82", 3, 0);
	assert_handed_out(output, "1:a");
	output_add(output, 2, "err", 3, 0);
	output_add(output, 1, "\xac!", 2, 0);
	assert_handed_out(output, "1:a 2:err 1:\xe2\x82\xac!");
	output_add(output, 1, "\xf0", 1, 0);
	output_acknowledge(output, hand_out(output));
	assert_false(output_waiting(output));
	output_add(output, 1, "\x9f", 1, 100);
	output_add(output, 2, "\xc3", 1, 100);
	output_add(output, 1, "\x99\x82", 2, 200);
	assert_handed_out(output, "1:\xf0\x9f\x99\x82");
	output_end(output);
	assert_handed_out(output, "1:\xf0\x9f\x99\x82 2:\xc3");
	assert_int_equal(hand_out(output), 5);
	assert_int_equal(output_kept(output), output_bytes(output));
	output_free(output);
}

static void what_is_no_utf8_is_not_held_back(void **state) {
	(void)state;
	struct output *output = output_new(1000);
	output_add(output, 1, "\xff\xfe\x80\x80", 4, 0);
	assert_handed_out(output, "1:\xff\xfe\x80\x80");
	output_add(output, 1, "\xc1", 1, 0);
	assert_handed_out(output, "1:\xff\xfe\x80\x80 1:\xc1");
	output_free(output);
}

static void every_byte_comes_once_whatever_the_cuts(void **state) {
	(void)state;
	struct output *output = output_new(1 << 20);
	char all[3 * 40000 + 1] = "", back[sizeof(all)] = "";
	for (size_t i = 0; i < 40000; i++) memcpy(all + 3 * i, "\xe2\x82\xac", 4);
	size_t length = strlen(all), at = 0, got = 0;
	for (size_t cut = 1; at < length; cut = cut * 7 % 40009) {
		size_t part = cut < length - at ? cut : length - at;
		output_add(output, 1, all + at, part, 0);
		at += part;
		if (at == length) output_end(output);
		struct output_columns columns = {0};
		int64_t mark = output_gather(output, 1, INT64_MAX, &columns);
		for (size_t i = 0; i < columns.count; i++) {
			assert_int_equal(columns.lengths[i] % 3, 0);
			memcpy(back + got, columns.data[i], columns.lengths[i]);
			got += columns.lengths[i];
		}
		output_columns_clear(&columns);
		output_acknowledge(output, mark);
	}
	assert_int_equal(got, length);
	assert_string_equal(back, all);
	output_free(output);
}

static void a_statement_takes_no_more_than_it_may_but_one_chunk_always(void **state) {
	(void)state;
	struct output *output = output_new(1 << 20);
	AUTO_FREE char *data = mem_zalloc(50000);
	output_add(output, 1, data, 50000, 0);
	struct output_columns columns = {0};
	assert_int_equal(output_gather(output, 1, 100, &columns), 1);
	assert_int_equal(columns.count, 1);
	output_columns_clear(&columns);
	assert_int_equal(output_gather(output, 1, 40000, &columns), 2);
	output_columns_clear(&columns);
	assert_int_equal(hand_out(output), 4);
	output_free(output);
}

static void output_is_kept_up_to_the_cap_and_counted_beyond(void **state) {
	(void)state;
	struct output *output = output_new(10);
	output_add(output, 1, "123456", 6, 0);
	output_add(output, 2, "abcdef", 6, 0);
	output_add(output, 1, "more", 4, 0);
	assert_int_equal(output_bytes(output), 16);
	assert_int_equal(output_kept(output), 10);
	output_free(output);
}

static void what_is_acknowledged_is_gone_and_what_came_later_stays(void **state) {
	(void)state;
	struct output *output = output_new(1000);
	output_add(output, 1, "a", 1, 0);
	int64_t mark = hand_out(output);
	output_add(output, 1, "b", 1, 0);
	output_acknowledge(output, mark);
	assert_true(output_waiting(output));
	output_acknowledge(output, hand_out(output));
	assert_false(output_waiting(output));
	output_free(output);
}

static void a_chunk_that_was_handed_out_grows_no_more(void **state) {
	(void)state;
	struct output *output = output_new(1000);
	output_add(output, 1, "a", 1, 0);
	int64_t first = hand_out(output);
	output_add(output, 1, "b", 1, 0);
	assert_int_equal(hand_out(output), first + 1);
	output_free(output);
}

static void large_output_comes_in_several_chunks(void **state) {
	(void)state;
	struct output *output = output_new(1 << 20);
	AUTO_FREE char *data = mem_zalloc(100000);
	output_add(output, 1, data, 100000, 0);
	assert_int_equal(hand_out(output), 7);
	assert_int_equal(output_kept(output), 100000);
	output_free(output);
}

static const char *value_of(char **environment, const char *name) {
	for (size_t i = 0; environment[i]; i++)
		if (strncmp(environment[i], name, strlen(name)) == 0 && environment[i][strlen(name)] == '=')
			return environment[i] + strlen(name) + 1;
	return NULL;
}

static void the_users_environment_wins_over_the_plans_and_ours_over_both(void **state) {
	(void)state;
	char one[] = "A=plan", two[] = "B=plan", three[] = "CI=false";
	char *plan[] = {one, two, three, NULL};
	AUTO_JSON json_t *spec = json_pack("{s:{s:s,s:s}}", "env", "A", "user", "C", "user=x");
	char **environment = environment_new("key", 2, "abc", plan, spec);
	assert_string_equal(value_of(environment, "A"), "user");
	assert_string_equal(value_of(environment, "B"), "plan");
	assert_string_equal(value_of(environment, "C"), "user=x");
	assert_string_equal(value_of(environment, "CI"), "true");
	assert_string_equal(value_of(environment, "TRABAJO_ATTEMPT"), "2");
	assert_null(value_of(environment, "PATH"));
	environment_free(environment);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_is_kept_up_to_the_cap_and_counted_beyond),
		cmocka_unit_test(what_is_acknowledged_is_gone_and_what_came_later_stays),
		cmocka_unit_test(a_chunk_that_was_handed_out_grows_no_more),
		cmocka_unit_test(large_output_comes_in_several_chunks),
		cmocka_unit_test(a_chunk_ends_with_a_character_and_the_rest_comes_later),
		cmocka_unit_test(what_is_no_utf8_is_not_held_back),
		cmocka_unit_test(every_byte_comes_once_whatever_the_cuts),
		cmocka_unit_test(a_statement_takes_no_more_than_it_may_but_one_chunk_always),
		cmocka_unit_test(the_users_environment_wins_over_the_plans_and_ours_over_both),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
