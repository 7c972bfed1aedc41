// Reading results: the line that is printed, and which records count.

#include "lib/mem.h"
#include "lib/resultado.h"
#include "lib/uuid.h"
#include "observer/seen.h"
#include "observer/wait.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define KEY "0190b9a0-0000-7000-8000-000000000001"

static void the_line_is_the_original_s(void **state) {
	(void)state;
	static const char value[] = "{\"code\":\"Finished\",\"timeJobPosted\":1000,\"timeExecution\":200}";
	AUTO_ERROR struct error error = {0};
	struct resultado resultado = {0};
	assert_int_equal(resultado_decode(KEY, strlen(KEY), value, strlen(value), &resultado, &error), 0);
	AUTO_FREE char *line = wait_line(value, strlen(value), 1214, resultado_wait_ms(&resultado, 1214));
	assert_string_equal(line, "received message: {\"code\":\"Finished\",\"timeJobPosted\":1000,\"timeExecution\":200} "
				  "timeResultArrived: 1214 wait was: 14\n");
	resultado_clear(&resultado);
}

static void a_record_is_one_line_and_cannot_steer_a_terminal(void **state) {
	(void)state;
	static const char value[] = "{\n\"a\":\"\x1b[2J \xc2\x9b \xc3\xa9\"\r}\0x";
	AUTO_FREE char *line = wait_line(value, sizeof value - 1, 2, 1);
	assert_string_equal(line, "received message: { \"a\":\" [2J    \xc3\xa9\" } x timeResultArrived: 2 wait was: 1\n");
}

static void an_empty_value_gives_a_line_too(void **state) {
	(void)state;
	AUTO_FREE char *line = wait_line(NULL, 0, -1, -2);
	assert_string_equal(line, "received message:  timeResultArrived: -1 wait was: -2\n");
}

static void only_a_higher_attempt_is_news(void **state) {
	(void)state;
	struct seen *seen = seen_new(8);
	assert_true(seen_is_news(seen, KEY, 2));
	assert_false(seen_is_news(seen, KEY, 2));
	assert_false(seen_is_news(seen, KEY, 1));
	assert_true(seen_is_news(seen, KEY, 3));
	assert_false(seen_is_news(seen, KEY, 2));
	seen_free(seen);
}

static void memory_is_bounded_and_the_longest_known_key_goes_first(void **state) {
	(void)state;
	enum { MOST = 64, KEYS = 1000 };
	static char keys[KEYS][UUID_TEXT];
	struct seen *seen = seen_new(MOST);
	for (int i = 0; i < KEYS; i++) {
		uuid_v7(keys[i]);
		assert_true(seen_is_news(seen, keys[i], 1));
		for (int back = 0; back < MOST && back <= i; back++) assert_false(seen_is_news(seen, keys[i - back], 1));
	}
	assert_true(seen_is_news(seen, keys[KEYS - MOST - 1], 1));
	seen_free(seen);
}

static void one_place_is_enough_to_work(void **state) {
	(void)state;
	struct seen *seen = seen_new(1);
	assert_true(seen_is_news(seen, KEY, 1));
	assert_true(seen_is_news(seen, "0190b9a0-0000-7000-8000-000000000002", 1));
	assert_true(seen_is_news(seen, KEY, 1));
	assert_false(seen_is_news(seen, KEY, 1));
	seen_free(seen);
	seen_free(NULL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line_is_the_original_s),
		cmocka_unit_test(a_record_is_one_line_and_cannot_steer_a_terminal),
		cmocka_unit_test(an_empty_value_gives_a_line_too),
		cmocka_unit_test(only_a_higher_attempt_is_news),
		cmocka_unit_test(memory_is_bounded_and_the_longest_known_key_goes_first),
		cmocka_unit_test(one_place_is_enough_to_work),
	};
	return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
