// What the worker takes from the child's answers.
#include "lib/json.h"
#include "worker/fetch_result.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define MIRROR "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define COMMIT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TREE   "trees/" MIRROR "/" COMMIT

static void answers_that_are_not_ours_are_refused(void **state) {
	(void)state;
	static const char *const texts[] = {"{}", "{\"ok\":false}", "[]", "7",
		"{\"ok\":true,\"commit\":\"../../../../etc\",\"mirror\":\"" MIRROR
		"\",\"plan\":null,\"looked_for\":\"x\",\"bytes\":1,\"files\":1}",
		"{\"ok\":true,\"commit\":\"" COMMIT
		"\",\"mirror\":\"..\",\"plan\":null,\"looked_for\":\"x\",\"bytes\":1,\"files\":1}",
		"{\"ok\":true,\"commit\":\"" COMMIT "\",\"mirror\":\"" MIRROR "\",\"plan\":null,\"bytes\":1,\"files\":1}",
		"{\"ok\":true,\"commit\":\"" COMMIT "\",\"mirror\":\"" MIRROR
		"\",\"plan\":{},\"looked_for\":\"x\",\"bytes\":1,\"files\":1}",
		"{\"ok\":true,\"commit\":\"" COMMIT "\",\"mirror\":\"" MIRROR
		"\",\"plan\":null,\"looked_for\":7,\"bytes\":1,\"files\":1}",
		"{\"ok\":true,\"commit\":\"" COMMIT "\",\"mirror\":\"" MIRROR
		"\",\"plan\":null,\"looked_for\":\"x\",\"bytes\":-1,\"files\":1}",
		NULL};
	for (const char *const *text = texts; *text; text++) {
		AUTO_ERROR struct error error = {0};
		struct fetch_result result;
		AUTO_JSON json_t *json = json_loads(*text, JSON_DECODE_ANY, NULL);
		assert_non_null(json);
		if (fetch_result_read(json, &result, &error) == 0) fail_msg("taken: %s", *text);
		assert_null(result.tree);
	}
}

static void the_tree_is_not_taken_from_the_childs_words(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	struct fetch_result result;
	AUTO_JSON json_t *json =
		json_loads("{\"ok\":true,\"commit\":\"" COMMIT "\",\"mirror\":\"" MIRROR
			   "\",\"tree\":\"../../etc\",\"plan\":null,\"looked_for\":\"x\",\"bytes\":1,\"files\":1}",
			0, NULL);
	assert_int_equal(fetch_result_read(json, &result, &error), 0);
	assert_string_equal(result.tree, TREE);
	fetch_result_clear(&result);
}

static void failures_with_unknown_codes_are_refused(void **state) {
	(void)state;
	static const char *const texts[] = {"{\"ok\":false,\"code\":\"ok\",\"blame\":\"user\",\"message\":\"x\"}",
		"{\"ok\":false,\"code\":\"fetch\",\"blame\":\"nobody\",\"message\":\"x\"}",
		"{\"ok\":false,\"code\":\"fetch\",\"blame\":\"user\"}",
		"{\"ok\":1,\"code\":\"fetch\",\"blame\":\"user\",\"message\":\"x\"}", NULL};
	for (const char *const *text = texts; *text; text++) {
		struct outcome outcome = {0};
		AUTO_JSON json_t *json = json_loads(*text, 0, NULL);
		assert_int_equal(fetch_failure_read(json, &outcome), -1);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_that_are_not_ours_are_refused),
		cmocka_unit_test(the_tree_is_not_taken_from_the_childs_words),
		cmocka_unit_test(failures_with_unknown_codes_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
