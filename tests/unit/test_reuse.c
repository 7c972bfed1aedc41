// What makes two jobs the same for reuse, and whom the ledger answers with an earlier result.
#include "tests/unit/states_rig.h"
#include "worker/reuse.h"

#include <string.h>

#define PRINT "print"

static char *find(const char *mine, const char *owner, const char *print) {
	AUTO_FREE char *sql = mem_format(
		"SELECT coalesce(right(reuse_find('00000000-0000-7000-8000-00000000000%s', '%s', '%s')::text, 1), '-')", mine,
		owner, print);
	return ask(sql);
}

#define assert_finds(mine, owner, print, expected)                                                                             \
	do {                                                                                                                   \
		AUTO_FREE char *found_ = find(mine, owner, print);                                                             \
		assert_string_equal(found_, expected);                                                                         \
	} while (0)

static void a_finished_job_is_found_and_an_unfinished_or_failed_one_is_not(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ana", 0);
	assert_claims(2, "ana ana");
	assert_finds("1", "ana", PRINT, "-");
	assert_finds("2", "ana", PRINT, "-");
	assert_int_equal(FINISH(2, 1, "Failed"), 1);
	assert_finds("1", "ana", PRINT, "-");
	assert_int_equal(FINISH(1, 1, "Finished"), 1);
	assert_finds("3", "ana", PRINT, "1");
	assert_finds("4", "ana", PRINT, "1");
}

static void another_owner_or_another_print_finds_nothing(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	assert_finds("1", "ana", PRINT, "-");
	assert_int_equal(FINISH(1, 1, "Finished"), 1);
	assert_finds("2", "ben", PRINT, "-");
	assert_finds("2", "ana", "other", "-");
	assert_finds("3", "ana", PRINT, "1");
	// Whatever the table says of an owner: the job itself must be that owner's.
	must("INSERT INTO reusable VALUES ('eva', '" PRINT "', " KEY(1) ")");
	assert_finds("4", "eva", PRINT, "-");
}

static void a_job_never_finds_itself_nor_one_that_is_run_again(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	assert_finds("1", "ana", PRINT, "-");
	assert_int_equal(FINISH(1, 1, "Finished"), 1);
	assert_finds("1", "ana", PRINT, "-");
	must("SELECT trabajos_replay(" KEY(1) ", 'ana')");
	assert_finds("2", "ana", PRINT, "-");
}

static void a_deleted_job_is_found_no_more_and_leaves_nothing(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	assert_finds("1", "ana", PRINT, "-");
	assert_int_equal(FINISH(1, 1, "Finished"), 1);
	must("DELETE FROM trabajos");
	assert_says("SELECT count(*) FROM reusable", "0");
	assert_finds("2", "ana", PRINT, "-");
	must("TRUNCATE trabajos");
	assert_says("SELECT count(*) FROM reusable", "0");
}

// ---- the print

static char *kind = (char[]){"main.sh"}, *command = (char[]){"./main.sh"};

static char *print_of(const char *mirror, const char *commit, const char *argument, const char *env, bool egress) {
	AUTO_FREE char *last = mem_strdup(argument);
	char *argv[] = {command, last, NULL}, *none[] = {NULL}, *text = mem_zalloc(65);
	const struct plan plan = {.kind = kind,
		.command = command,
		.argv = argv,
		.timeout_s = -1,
		.memory_mb = -1,
		.env = none,
		.artifacts = none};
	AUTO_JSON json_t *values = NULL;
	if (env) assert_int_equal(json_read(env, strlen(env), 1000, &values, NULL), 0);
	reuse_print(&(struct reuse_facts){mirror, commit, &plan, values, egress}, text);
	return text;
}

static void the_print_is_of_repository_commit_plan_environment_and_network(void **state UNUSED) {
	AUTO_FREE char *one = print_of("m", "c", "a", "{\"A\":\"1\",\"B\":\"2\"}", false);
	AUTO_FREE char *same = print_of("m", "c", "a", "{\"B\":\"2\",\"A\":\"1\"}", false);
	AUTO_FREE char *bare = print_of("m", "c", "a", NULL, false), *empty = print_of("m", "c", "a", "{}", false);
	char *differ[] = {print_of("n", "c", "a", "{\"A\":\"1\",\"B\":\"2\"}", false),
		print_of("m", "d", "a", "{\"A\":\"1\",\"B\":\"2\"}", false),
		print_of("m", "c", "b", "{\"A\":\"1\",\"B\":\"2\"}", false),
		print_of("m", "c", "a", "{\"A\":\"1\",\"B\":\"3\"}", false),
		print_of("m", "c", "a", "{\"A\":\"1\",\"B\":\"2\"}", true)};
	assert_int_equal(strlen(one), 64);
	assert_string_equal(one, same);
	assert_string_equal(bare, empty);
	for (size_t i = 0; i < COUNT_OF(differ); i++) {
		assert_string_not_equal(one, differ[i]);
		free(differ[i]);
	}
	assert_string_not_equal(one, bare);
}

static void only_who_asked_for_it_gets_an_earlier_result(void **state UNUSED) {
	static const char *const specs[] = {"{}", "{\"reuse\":false}", "{\"reuse\":null}", "{\"reuse\":1}", "{\"reuse\":true}"};
	for (size_t i = 0; i < COUNT_OF(specs); i++) {
		AUTO_JSON json_t *spec = NULL;
		assert_int_equal(json_read(specs[i], strlen(specs[i]), 100, &spec, NULL), 0);
		assert_int_equal(reuse_wanted(spec), i == COUNT_OF(specs) - 1);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_finished_job_is_found_and_an_unfinished_or_failed_one_is_not, empty),
		cmocka_unit_test_setup(another_owner_or_another_print_finds_nothing, empty),
		cmocka_unit_test_setup(a_job_never_finds_itself_nor_one_that_is_run_again, empty),
		cmocka_unit_test_setup(a_deleted_job_is_found_no_more_and_leaves_nothing, empty),
		cmocka_unit_test(the_print_is_of_repository_commit_plan_environment_and_network),
		cmocka_unit_test(only_who_asked_for_it_gets_an_earlier_result),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
