// USER_WEIGHTS as it is given, and as the claim gets it.
#include "lib/json.h"
#include "lib/weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void weights_become_an_object(void **state UNUSED) {
	AUTO_FREE char *json = NULL;
	assert_int_equal(weights_read("ana=2.5,ben=0.01,a=b=1000", &json, NULL), 0);
	AUTO_JSON json_t *read = json_loads(json, 0, NULL);
	assert_int_equal(json_object_size(read), 3);
	assert_true(json_number_value(json_object_get(read, "ana")) == 2.5);
	assert_true(json_number_value(json_object_get(read, "ben")) == 0.01);
	assert_true(json_number_value(json_object_get(read, "a=b")) == 1000);
}

static void without_weights_all_are_the_same(void **state UNUSED) {
	AUTO_FREE char *json = NULL;
	assert_int_equal(weights_read("", &json, NULL), 0);
	assert_null(json);
}

static void what_is_no_weight_is_refused_with_its_entry(void **state UNUSED) {
	static const char *const bad[] = {"ana", "=2", "ana=", "ana=x", "ana=2x", "ana=0", "ana=0.009", "ana=-1", "ana=1001",
		"ana=nan", "ana=inf", "ana=1e999", "ana=1,,ben=2"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_ERROR struct error error = {0};
		AUTO_FREE char *json = NULL;
		if (weights_read(bad[i], &json, &error) == 0) fail_msg("%s was taken", bad[i]);
		assert_null(json);
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_non_null(strstr(error_text(&error), "USER_WEIGHTS"));
	}
}

static void a_name_that_is_no_text_is_refused(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *json = NULL;
	assert_int_equal(weights_read("ana=1,\xff=1", &json, &error), -1);
	assert_null(json);
	assert_int_equal(error.kind, ERROR_INPUT);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_become_an_object),
		cmocka_unit_test(without_weights_all_are_the_same),
		cmocka_unit_test(what_is_no_weight_is_refused_with_its_entry),
		cmocka_unit_test(a_name_that_is_no_text_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
