// What is said of an attempt that has ended, and what follows from it.

#include "worker/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct outcome judged(enum job_stop stop, const struct sandbox_report *report) {
	struct judge_facts facts = {.stop = stop,
		.report = report,
		.command = "main.sh",
		.timeout_s = 5,
		.memory_bytes = 512 << 20,
		.processes = 256,
		.open_files = 1024,
		.disk_bytes = 1 << 30,
		.output_bytes = 1 << 20};
	struct outcome outcome = {0};
	judge(&facts, &outcome);
	return outcome;
}

static void expect(enum job_stop stop, struct sandbox_report report, enum outcome_code code, enum blame blame) {
	struct outcome outcome = judged(stop, &report);
	assert_int_equal(outcome.code, code);
	assert_int_equal(outcome.blame, blame);
	assert_non_null(outcome.message);
	outcome_clear(&outcome);
}

static void a_command_that_exits_with_zero_is_fine(void **state) {
	(void)state;
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true}, OUTCOME_OK, BLAME_NONE);
}

static void an_exit_code_and_a_signal_are_the_users(void **state) {
	(void)state;
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = 3}, OUTCOME_EXIT, BLAME_USER);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = -1, .signal = 9}, OUTCOME_SIGNAL, BLAME_USER);
}

static void a_command_that_was_not_found_is_said_to_be(void **state) {
	(void)state;
	struct sandbox_report by_shell = {.ran = true, .exit_code = 127}, by_us = {.ran = true, .exit_code = 127};
	struct outcome outcome = judged(JOB_STOP_NONE, &by_shell);
	assert_string_equal(
		outcome.message, "main.sh exited with 127: a shell says so of a command that it did not find, see the log");
	outcome_clear(&outcome);
	error_set(&by_us.error, ERROR_INPUT, "node: not found on this worker");
	outcome = judged(JOB_STOP_NONE, &by_us);
	assert_string_equal(outcome.message, "main.sh exited with 127: node: not found on this worker");
	outcome_clear(&outcome);
	error_clear(&by_us.error);
}

static void a_limit_is_the_cause_only_where_the_job_failed(void **state) {
	(void)state;
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .processes_hit = true, .disk_hit = true, .memory_hit = true},
		OUTCOME_OK, BLAME_NONE);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = 1, .disk_hit = true}, OUTCOME_DISK,
		BLAME_LIMIT);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = 1, .processes_hit = true}, OUTCOME_PROCESSES,
		BLAME_LIMIT);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = -1, .signal = 9, .memory_hit = true},
		OUTCOME_MEMORY, BLAME_LIMIT);
}

static void what_the_machine_lacks_is_the_platforms_fault(void **state) {
	(void)state;
	struct sandbox_report ended = {.ran = true, .exit_code = -1, .signal = 9, .machine_memory = true};
	expect(JOB_STOP_NONE, ended, OUTCOME_LOST, BLAME_PLATFORM);
	// It had filled its disk before, and coped.
	ended.disk_hit = true;
	expect(JOB_STOP_NONE, ended, OUTCOME_LOST, BLAME_PLATFORM);
	ended.memory_hit = true;
	expect(JOB_STOP_NONE, ended, OUTCOME_MEMORY, BLAME_LIMIT);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .machine_memory = true}, OUTCOME_OK, BLAME_NONE);
}

static void processor_time_and_a_file_too_large_are_limits(void **state) {
	(void)state;
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = -1, .signal = 9, .cpu_hit = true},
		OUTCOME_TIMEOUT, BLAME_LIMIT);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .cpu_hit = true}, OUTCOME_OK, BLAME_NONE);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = -1, .signal = SIGXFSZ}, OUTCOME_DISK,
		BLAME_LIMIT);
	// as a shell says it of its child
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = 128 + SIGXFSZ}, OUTCOME_DISK, BLAME_LIMIT);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = true, .exit_code = 128 + SIGTERM}, OUTCOME_EXIT, BLAME_USER);
}

static void all_files_open_is_a_limit_and_the_least_of_them(void **state) {
	(void)state;
	struct sandbox_report report = {.ran = true, .exit_code = 1, .files_hit = true};
	struct outcome outcome = judged(JOB_STOP_NONE, &report);
	assert_int_equal(outcome.code, OUTCOME_FILES);
	assert_int_equal(outcome.blame, BLAME_LIMIT);
	assert_string_equal(outcome.message, "a process of main.sh had all of its 1024 files open");
	outcome_clear(&outcome);
	report.processes_hit = true;
	expect(JOB_STOP_NONE, report, OUTCOME_PROCESSES, BLAME_LIMIT);
	report.disk_hit = true;
	expect(JOB_STOP_NONE, report, OUTCOME_DISK, BLAME_LIMIT);
	report.exit_code = 0;
	expect(JOB_STOP_NONE, report, OUTCOME_OK, BLAME_NONE);
}

static void what_the_worker_ended_is_named_by_why(void **state) {
	(void)state;
	struct sandbox_report killed = {.ran = true, .exit_code = -1, .signal = 15};
	expect(JOB_STOP_TIMEOUT, killed, OUTCOME_TIMEOUT, BLAME_LIMIT);
	expect(JOB_STOP_OUTPUT, killed, OUTCOME_OUTPUT, BLAME_LIMIT);
	expect(JOB_STOP_CANCEL, killed, OUTCOME_CANCELLED, BLAME_USER);
}

static void a_box_that_could_not_start_is_the_platforms_fault(void **state) {
	(void)state;
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = false}, OUTCOME_SANDBOX, BLAME_PLATFORM);
}

static void a_tree_that_does_not_fit_the_box_is_not(void **state) {
	(void)state;
	char why[] = "a socket in the tree";
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = false, .disk_hit = true}, OUTCOME_DISK, BLAME_LIMIT);
	expect(JOB_STOP_NONE, (struct sandbox_report){.ran = false, .error = {.kind = ERROR_INPUT, .message = why}},
		OUTCOME_SANDBOX, BLAME_USER);
}

static struct retry_decision decided(
	enum outcome_code code, enum blame blame, int64_t platform, int64_t user, int64_t retries) {
	struct outcome outcome = {.code = code, .blame = blame};
	struct retry_facts facts = {.outcome = &outcome,
		.platform_failures = platform,
		.user_failures = user,
		.max_attempts = 3,
		.retries = retries,
		.random = UINT32_MAX};
	struct retry_decision decision;
	retry_decide(&facts, &decision);
	return decision;
}

static void platform_faults_are_tried_again_up_to_the_most_attempts(void **state) {
	(void)state;
	assert_true(decided(OUTCOME_FETCH, BLAME_PLATFORM, 0, 0, 0).again);
	assert_true(decided(OUTCOME_FETCH, BLAME_PLATFORM, 1, 0, 0).again);
	assert_false(decided(OUTCOME_FETCH, BLAME_PLATFORM, 2, 0, 0).again);
	assert_int_equal(decided(OUTCOME_FETCH, BLAME_PLATFORM, 2, 0, 0).platform_failures, 3);
}

static void the_users_failures_are_tried_again_only_where_asked(void **state) {
	(void)state;
	assert_false(decided(OUTCOME_EXIT, BLAME_USER, 0, 0, 0).again);
	assert_true(decided(OUTCOME_EXIT, BLAME_USER, 0, 0, 1).again);
	assert_false(decided(OUTCOME_EXIT, BLAME_USER, 0, 1, 1).again);
	assert_true(decided(OUTCOME_TIMEOUT, BLAME_LIMIT, 0, 0, 1).again);
	assert_int_equal(decided(OUTCOME_EXIT, BLAME_USER, 2, 0, 1).platform_failures, 2);
}

static void what_another_attempt_cannot_change_is_final(void **state) {
	(void)state;
	const enum outcome_code codes[] = {OUTCOME_OK, OUTCOME_NO_PLAN, OUTCOME_NOT_FOUND, OUTCOME_DENIED, OUTCOME_CANCELLED};
	for (size_t i = 0; i < COUNT_OF(codes); i++) assert_false(decided(codes[i], BLAME_USER, 0, 0, 9).again);
}

static void the_delay_doubles_up_to_a_minute(void **state) {
	(void)state;
	int64_t last = 0;
	for (int64_t failures = 0; failures < 20; failures++) {
		int64_t delay = decided(OUTCOME_EXIT, BLAME_USER, 0, failures, 100).delay_ms;
		assert_true(delay >= last && delay <= 60000);
		last = delay;
	}
	assert_true(last >= 59000);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_that_exits_with_zero_is_fine),
		cmocka_unit_test(an_exit_code_and_a_signal_are_the_users),
		cmocka_unit_test(a_command_that_was_not_found_is_said_to_be),
		cmocka_unit_test(a_limit_is_the_cause_only_where_the_job_failed),
		cmocka_unit_test(what_the_machine_lacks_is_the_platforms_fault),
		cmocka_unit_test(processor_time_and_a_file_too_large_are_limits),
		cmocka_unit_test(all_files_open_is_a_limit_and_the_least_of_them),
		cmocka_unit_test(what_the_worker_ended_is_named_by_why),
		cmocka_unit_test(a_box_that_could_not_start_is_the_platforms_fault),
		cmocka_unit_test(a_tree_that_does_not_fit_the_box_is_not),
		cmocka_unit_test(platform_faults_are_tried_again_up_to_the_most_attempts),
		cmocka_unit_test(the_users_failures_are_tried_again_only_where_asked),
		cmocka_unit_test(what_another_attempt_cannot_change_is_final),
		cmocka_unit_test(the_delay_doubles_up_to_a_minute),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
