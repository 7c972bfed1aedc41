#include "lib/mem.h"
#include "lib/resultado.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KEY "0198a7a0-1111-7000-8000-00000000000a"

static json_t *parse(const char *text) {
	json_t *json = json_loads(text, 0, NULL);
	assert_non_null(json);
	return json;
}

static void an_outcome_is_written_as_the_interface_says(void **state UNUSED) {
	struct outcome outcome = {.exit_code = -1};
	outcome_set(&outcome, OUTCOME_EXIT, BLAME_USER, "npm run main exited with %d", 3);
	outcome.exit_code = 3;
	AUTO_JSON json_t *json = outcome_json(&outcome);
	AUTO_JSON json_t *expected = parse("{\"code\":\"exit\",\"blame\":\"user\",\"exit_code\":3,\"signal\":null,"
					   "\"message\":\"npm run main exited with 3\"}");
	assert_true(json_equal(json, expected));
	assert_string_equal(outcome_status(&outcome), "Failed");
	outcome_set(&outcome, OUTCOME_OK, BLAME_NONE, "fine");
	assert_int_equal(outcome.exit_code, -1);
	assert_string_equal(outcome_status(&outcome), "Finished");
	AUTO_JSON json_t *fine = outcome_json(&outcome);
	assert_true(json_is_null(json_object_get(fine, "blame")));
	outcome_set(&outcome, OUTCOME_CANCELLED, BLAME_USER, "told to");
	assert_string_equal(outcome_status(&outcome), "Cancelled");
	outcome_clear(&outcome);
}

static void every_code_is_read_as_it_was_written(void **state UNUSED) {
	static const char *const names[] = {"ok", "exit", "signal", "timeout", "memory", "processes", "disk", "files", "output",
		"no_plan", "not_found", "denied", "fetch", "sandbox", "lost", "cancelled"};
	assert_int_equal(COUNT_OF(names), OUTCOME_CODES);
	for (int code = 0; code < OUTCOME_CODES; code++) {
		struct outcome outcome = {0}, back = {0};
		assert_string_equal(outcome_code_name((enum outcome_code)code), names[code]);
		outcome_set(&outcome, (enum outcome_code)code, (enum blame)(code % 4), "m %d", code);
		outcome.signal = code;
		AUTO_JSON json_t *json = outcome_json(&outcome);
		assert_int_equal(outcome_read(json, &back, NULL), 0);
		assert_int_equal(back.code, outcome.code);
		assert_int_equal(back.blame, outcome.blame);
		assert_int_equal(back.exit_code, -1);
		assert_int_equal(back.signal, code);
		assert_string_equal(back.message, outcome.message);
		outcome_clear(&outcome);
		outcome_clear(&back);
	}
}

static void an_outcome_that_is_none_is_refused(void **state UNUSED) {
	static const char *const bad[] = {
		"[]",
		"{}",
		"{\"code\":\"nonsense\"}",
		"{\"code\":1}",
		"{\"code\":\"ok\",\"blame\":\"me\"}",
		"{\"code\":\"ok\",\"exit_code\":\"0\"}",
		"{\"code\":\"ok\",\"exit_code\":256}",
		"{\"code\":\"ok\",\"signal\":-1}",
		"{\"code\":\"ok\",\"message\":5}",
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_ERROR struct error error = {0};
		AUTO_JSON json_t *json = parse(bad[i]);
		struct outcome outcome = {0};
		assert_int_equal(outcome_read(json, &outcome, &error), -1);
		assert_int_equal(error.kind, ERROR_INPUT);
		outcome_clear(&outcome);
	}
}

static void a_message_that_is_no_utf8_is_still_written(void **state UNUSED) {
	struct outcome outcome = {0};
	outcome_set(&outcome, OUTCOME_EXIT, BLAME_USER, "bad \xff\xc3 byte");
	AUTO_JSON json_t *json = outcome_json(&outcome);
	assert_string_equal(json_string_value(json_object_get(json, "message")), "bad ?? byte");
	outcome_clear(&outcome);
}

static void a_record_is_read_as_it_was_written(void **state UNUSED) {
	struct outcome outcome = {0};
	outcome_set(&outcome, OUTCOME_TIMEOUT, BLAME_LIMIT, "too long");
	struct resultado written = {.posted_ms = 1700000000123, .execution_ms = 45, .attempt = 2};
	written.code = mem_strdup("Failed");
	written.usuario = mem_strdup("alicia");
	written.worker = mem_strdup("w-1");
	written.outcome = outcome_json(&outcome);
	AUTO_FREE char *text = resultado_encode(&written);
	AUTO_JSON json_t *expected =
		parse("{\"code\":\"Failed\",\"timeJobPosted\":1700000000123,\"timeExecution\":45,\"attempt\":2,"
		      "\"usuario\":\"alicia\",\"worker\":\"w-1\",\"outcome\":{\"code\":\"timeout\",\"blame\":\"limit\","
		      "\"exit_code\":null,\"signal\":null,\"message\":\"too long\"}}");
	AUTO_JSON json_t *json = parse(text);
	assert_true(json_equal(json, expected));

	AUTO_ERROR struct error error = {0};
	struct resultado read;
	assert_int_equal(resultado_decode(KEY, strlen(KEY), text, strlen(text), &read, &error), 0);
	assert_string_equal(read.key, KEY);
	assert_string_equal(read.code, "Failed");
	assert_string_equal(read.usuario, "alicia");
	assert_string_equal(read.worker, "w-1");
	assert_int_equal(read.attempt, 2);
	assert_int_equal(resultado_wait_ms(&read, 1700000000200), 32);
	assert_true(json_equal(read.outcome, written.outcome));
	resultado_clear(&read);
	resultado_clear(&written);
	outcome_clear(&outcome);
}

static void the_originals_record_has_only_three_members(void **state UNUSED) {
	static const char text[] = "{\"code\":\"Finished\",\"timeJobPosted\":1700000000000,\"timeExecution\":12.4}";
	struct resultado read;
	assert_int_equal(resultado_decode("job-1", 5, text, strlen(text), &read, NULL), 0);
	assert_string_equal(read.key, "");
	assert_string_equal(read.code, "Finished");
	assert_int_equal(read.execution_ms, 12);
	assert_int_equal(read.attempt, 0);
	assert_null(read.usuario);
	assert_null(read.outcome);
	resultado_clear(&read);
	assert_int_equal(resultado_decode(NULL, 0, text, strlen(text), &read, NULL), 0);
	resultado_clear(&read);
}

static void a_record_without_its_two_numbers_is_refused(void **state UNUSED) {
	static const char *const bad[] = {
		"",
		"Finished",
		"[1]",
		"{}",
		"{\"code\":\"Finished\",\"timeJobPosted\":1}",
		"{\"timeJobPosted\":1,\"timeExecution\":\"2\"}",
		"{\"timeJobPosted\":null,\"timeExecution\":2}",
		"{\"timeJobPosted\":1e300,\"timeExecution\":2}",
		"{\"timeJobPosted\":1,\"timeExecution\":2",
		"{\"timeJobPosted\":1,\"timeJobPosted\":1,\"timeExecution\":2}",
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_ERROR struct error error = {0};
		struct resultado read;
		assert_int_equal(resultado_decode(KEY, strlen(KEY), bad[i], strlen(bad[i]), &read, &error), -1);
		assert_int_equal(error.kind, ERROR_INPUT);
		resultado_clear(&read);
	}
	struct resultado read;
	assert_int_equal(resultado_decode(KEY, strlen(KEY), NULL, 0, &read, NULL), -1);
	resultado_clear(&read);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_outcome_is_written_as_the_interface_says),
		cmocka_unit_test(every_code_is_read_as_it_was_written),
		cmocka_unit_test(an_outcome_that_is_none_is_refused),
		cmocka_unit_test(a_message_that_is_no_utf8_is_still_written),
		cmocka_unit_test(a_record_is_read_as_it_was_written),
		cmocka_unit_test(the_originals_record_has_only_three_members),
		cmocka_unit_test(a_record_without_its_two_numbers_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
