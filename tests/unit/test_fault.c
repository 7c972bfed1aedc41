// libgit2's failures as outcomes: whose fault each is decides whether it is tried again.
#include "worker/fetch/fault.h"
#include "worker/fetch/git.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void expect(struct outcome *outcome, enum outcome_code code, enum blame blame, const char *words) {
	if (outcome->code != code || outcome->blame != blame || !strstr(outcome->message, words))
		fail_msg("code %d, blame %d: %s", outcome->code, outcome->blame, outcome->message);
	outcome_clear(outcome);
}

static void remote(int code, int class, const char *text, enum outcome_code expected, enum blame blame, const char *words) {
	struct outcome outcome = {0};
	git_error_set_str(class, text);
	assert_int_equal(fault_remote(&outcome, code, FAULT_NONE), -1);
	expect(&outcome, expected, blame, words);
}

#define STATUS "unexpected http status code: "

static void a_repository_that_is_not_there_is_the_users_mistake(void **state UNUSED) {
	remote(GIT_EAUTH, GIT_ERROR_HTTP, "authentication required", OUTCOME_NOT_FOUND, BLAME_USER, "private");
	remote(-1, GIT_ERROR_HTTP, STATUS "401", OUTCOME_NOT_FOUND, BLAME_USER, "private");
	remote(-1, GIT_ERROR_HTTP, STATUS "403", OUTCOME_NOT_FOUND, BLAME_USER, "no such repository");
	remote(-1, GIT_ERROR_HTTP, STATUS "404", OUTCOME_NOT_FOUND, BLAME_USER, "no such repository");
	remote(-1, GIT_ERROR_HTTP, STATUS "410", OUTCOME_NOT_FOUND, BLAME_USER, "no such repository");
	remote(-1, GIT_ERROR_HTTP, STATUS "405", OUTCOME_NOT_FOUND, BLAME_USER, "no git repository");
	remote(-1, GIT_ERROR_HTTP, "invalid content-type: 'text/html'", OUTCOME_NOT_FOUND, BLAME_USER, "no git repository");
}

static void a_way_that_is_closed_is_the_users_mistake(void **state UNUSED) {
	remote(-1, GIT_ERROR_HTTP, "cannot redirect from 'https' to 'http'", OUTCOME_DENIED, BLAME_USER, "redirects");
	remote(-1, GIT_ERROR_HTTP, "too many redirects or authentication replays", OUTCOME_DENIED, BLAME_USER, "redirects");
	remote(GIT_ECERTIFICATE, GIT_ERROR_SSL, "the SSL certificate is invalid", OUTCOME_FETCH, BLAME_USER, "not trusted");
}

static void a_repository_that_is_too_much_is_a_limit(void **state UNUSED) {
	struct outcome outcome = {0};
	remote(-1, GIT_ERROR_INDEXER, "too many objects", OUTCOME_FETCH, BLAME_LIMIT, "too many objects");
	remote(-1, GIT_ERROR_NOMEMORY, "out of memory", OUTCOME_FETCH, BLAME_LIMIT, "memory");
	assert_int_equal(fault_remote(&outcome, GIT_EUSER, FAULT_PACK_TOO_LARGE), -1);
	expect(&outcome, OUTCOME_FETCH, BLAME_LIMIT, "too large");
	assert_int_equal(fault_remote(&outcome, GIT_EUSER, FAULT_TOO_MANY_OBJECTS), -1);
	expect(&outcome, OUTCOME_FETCH, BLAME_LIMIT, "too many objects");
	assert_int_equal(fault_local(&outcome, "opening the mirror"), -1);
	expect(&outcome, OUTCOME_FETCH, BLAME_LIMIT, "memory");
}

static void a_full_disk_is_the_platforms_fault_wherever_it_shows(void **state UNUSED) {
	struct outcome outcome = {0};
	static const int numbers[] = {ENOSPC, EDQUOT};
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		char text[128];
		snprintf(text, sizeof(text), "could not write 'x': %s", strerror(numbers[i]));
		remote(-1, GIT_ERROR_OS, text, OUTCOME_DISK, BLAME_PLATFORM, "full");
		assert_int_equal(fault_local(&outcome, "opening the mirror"), -1);
		expect(&outcome, OUTCOME_DISK, BLAME_PLATFORM, "full");
		assert_int_equal(fault_errno(&outcome, "making a tree", numbers[i]), -1);
		expect(&outcome, OUTCOME_DISK, BLAME_PLATFORM, "full");
	}
}

static void everything_else_is_the_platforms_fault_and_shows_no_path(void **state UNUSED) {
	struct outcome outcome = {0};
	remote(-1, GIT_ERROR_NET, "the server hung up on '/srv/worker/mirrors/x'", OUTCOME_FETCH, BLAME_PLATFORM,
		"hung up on '.'");
	git_error_set_str(GIT_ERROR_OS, "cannot open /srv/worker/mirrors/x now");
	assert_int_equal(fault_local(&outcome, "opening the mirror"), -1);
	expect(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "opening the mirror: cannot open . now");
	git_error_clear();
	assert_int_equal(fault_local(&outcome, "opening the mirror"), -1);
	expect(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "opening the mirror");
	assert_int_equal(fault_errno(&outcome, "making a tree", EACCES), -1);
	expect(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "making a tree: Permission denied");
}

static int start(void **state UNUSED) {
	return git_libgit2_init() > 0 ? 0 : -1;
}

static int stop(void **state UNUSED) {
	git_libgit2_shutdown();
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_repository_that_is_not_there_is_the_users_mistake),
		cmocka_unit_test(a_way_that_is_closed_is_the_users_mistake),
		cmocka_unit_test(a_repository_that_is_too_much_is_a_limit),
		cmocka_unit_test(a_full_disk_is_the_platforms_fault_wherever_it_shows),
		cmocka_unit_test(everything_else_is_the_platforms_fault_and_shows_no_path),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
