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
	struct db_params *params = db_params_new();
	int64_t mark = output_params(output, params);
	db_params_free(params);
	return mark;
}

static void output_is_kept_up_to_the_cap_and_counted_beyond(void **state) {
	(void)state;
	struct output *output = output_new(10);
	output_add(output, 1, "123456", 6, 0);
	output_add(output, 2, "abcdef", 6, 0);
	output_add(output, 1, "more", 4, 0);
	assert_int_equal(output_bytes(output), 16);
	assert_int_equal(output_kept(output), 10);
	assert_true(output_truncated(output));
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
		cmocka_unit_test(the_users_environment_wins_over_the_plans_and_ours_over_both),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
