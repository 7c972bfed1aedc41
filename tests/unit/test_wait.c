// Reading results: the line that is printed, and which records count.

#include "lib/mem.h"
#include "lib/resultado.h"
#include "lib/uuid.h"
#include "observer/print.h"
#include "observer/seen.h"
#include "observer/wait.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

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

#define MUCH 1000000

static bool go_on(void *arg) {
	return *(const bool *)arg;
}

static void *read_all(void *arg) {
	char part[5000];
	const int *fd = arg;
	size_t sum = 0;
	for (ssize_t got; (got = read(*fd, part, sizeof part)) > 0;) sum += (size_t)got;
	return (void *)sum;
}

// What is written to a pipe of either mode, whose other end may be closed or read by a thread.
static int print_to(int flags, bool closed, bool read, size_t *arrived, struct error *error) {
	AUTO_FREE char *text = mem_zalloc(MUCH);
	int ends[2];
	bool goes_on = read;
	pthread_t reader;
	assert_int_equal(pipe2(ends, O_CLOEXEC | flags), 0);
	fcntl(ends[0], F_SETFL, 0);
	if (closed) close(ends[0]);
	if (read) pthread_create(&reader, NULL, read_all, &ends[0]);
	int status = print_all(ends[1], text, MUCH, go_on, &goes_on, error);
	close(ends[1]);
	void *sum = NULL;
	if (read) pthread_join(reader, &sum);
	if (!closed) close(ends[0]);
	*arrived = (size_t)sum;
	return status;
}

static void all_is_printed_however_slowly_it_is_read(void **state) {
	(void)state;
	size_t arrived;
	assert_int_equal(print_to(0, false, true, &arrived, NULL), 0);
	assert_int_equal(arrived, MUCH);
	assert_int_equal(print_to(O_NONBLOCK, false, true, &arrived, NULL), 0);
	assert_int_equal(arrived, MUCH);
}

static void printing_ends_when_told_although_nobody_reads(void **state) {
	(void)state;
	size_t arrived;
	assert_int_equal(print_to(0, false, false, &arrived, NULL), 1);
	assert_int_equal(print_to(O_NONBLOCK, false, false, &arrived, NULL), 1);
}

static void a_reader_that_has_gone_is_an_error(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	size_t arrived;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(print_to(0, true, false, &arrived, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAVAILABLE);
	assert_string_equal(error_text(&error), "standard output: Broken pipe");
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
		cmocka_unit_test(all_is_printed_however_slowly_it_is_read),
		cmocka_unit_test(printing_ends_when_told_although_nobody_reads),
		cmocka_unit_test(a_reader_that_has_gone_is_an_error),
		cmocka_unit_test(only_a_higher_attempt_is_news),
		cmocka_unit_test(memory_is_bounded_and_the_longest_known_key_goes_first),
		cmocka_unit_test(one_place_is_enough_to_work),
	};
	return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
