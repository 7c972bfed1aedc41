// What worker/sandbox.h promises, in boxes that are really started.
#include "tests/unit/sandbox_rig.h"

#include <sys/resource.h>

static struct rig rig;

static int setup(void **state) {
	(void)state;
	rig_open(&rig, SANDBOX_NONE);
	rig_copy_trees(&rig);
	rig_write(rig.tree, "main.sh", "#!/bin/sh\necho main: $1\n", 0755);
	rig_write(rig.tree, "plain", "no interpreter line\n", 0644);
	rig_write(rig.tree, "script", "echo by the shell: $1\n", 0755);
	rig_write(rig.tree, "odd \n\"name\"\xff", "odd", 0644);
	rig_write(rig.tree, "secret", "0600 in the repository's mirror\n", 0644);
	AUTO_FREE char *folder = mem_format("%s/a", rig.tree), *deep = mem_format("%s/b", folder);
	AUTO_FREE char *link_path = mem_format("%s/link", rig.tree), *fifo = mem_format("%s/fifo", rig.tree);
	if (mkdir(folder, 0755) != 0 || mkdir(deep, 0755) != 0 || symlink("/etc/shadow", link_path) != 0 ||
		mkfifo(fifo, 0644) != 0)
		return -1;
	rig_write(deep, "c", "deep\n", 0644);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	rig_close(&rig);
	return 0;
}

static void expect_output(const char *script, const char *expected) {
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, script, &result);
	assert_true(result.report.ran);
	assert_string_equal(result.err, "");
	assert_string_equal(result.out, expected);
	assert_int_equal(result.report.exit_code, 0);
}

static void the_probe_finds_an_honest_level(void **state) {
	(void)state;
	AUTO_JSON json_t *description = sandbox_describe(rig.sandbox);
	const char *level = json_text(description, "level");
	assert_non_null(level);
	assert_string_equal(level, sandbox_level_names[sandbox_level(rig.sandbox)]);
	assert_int_equal(sandbox_level(rig.sandbox) == SANDBOX_FULL, sandbox_missing(rig.sandbox) == NULL);
	if (sandbox_missing(rig.sandbox)) print_message("not full: %s\n", sandbox_missing(rig.sandbox));
}

static void a_command_runs_in_a_writable_copy_of_its_tree(void **state) {
	(void)state;
	expect_output(
		"./main.sh one; cat a/b/c; echo changed >a/b/c; cat a/b/c; touch new && rm main.sh && ls -d a fifo link 2>&1 | sort",
		"main: one\ndeep\nchanged\na\nlink\nls: cannot access 'fifo': No such file or directory\n");
	// The next one sees nothing of it.
	expect_output("cat a/b/c; test -e new || echo fresh; test -x main.sh && echo executable; test -x plain || echo plain",
		"deep\nfresh\nexecutable\nplain\n");
}

static void links_are_copied_as_links_and_odd_names_as_they_are(void **state) {
	(void)state;
	expect_output("readlink link; cat odd*", "/etc/shadow\nodd");
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "cat link", &result);
	assert_int_equal(result.report.exit_code, 1);
	assert_string_equal(result.out, "");
}

static void the_environment_is_what_was_given_with_home_and_path(void **state) {
	(void)state;
	static const char *const argv[] = {"/usr/bin/env", NULL};
	static const char *const env[] = {"CI=true", "SECRET=a b\nc", "PATH=/usr/bin", NULL};
	AUTO_RESULT struct rig_result result;
	assert_int_equal(setenv("TRABAJOS_TEST_SECRET", "worker's", 1), 0);
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .env = env}, &result);
	assert_string_equal(result.out, sandbox_level(rig.sandbox) == SANDBOX_NONE ? result.out
										   : "CI=true\nSECRET=a b\nc\nPATH=/usr/bin\n"
										     "HOME=/trabajo/home\n");
	assert_null(strstr(result.out, "worker's"));
	AUTO_RESULT struct rig_result other;
	rig_shell(&rig, "echo $HOME; touch $HOME/x /tmp/y /dev/shm/z && echo writable; command -v ls", &other);
	assert_non_null(strstr(other.out, "writable\n"));
	assert_non_null(strstr(other.out, "/usr/bin/ls\n"));
}

static void output_arrives_whole_on_both_streams(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "head -c 3000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo end; echo to stderr >/dev/stderr",
		&result);
	assert_int_equal(result.report.exit_code, 0);
	assert_int_equal(result.total[0], 3000004);
	assert_int_equal(result.total[1], 1000010);
	assert_string_equal(result.out + 3000000, "end\n");
}

static void a_flood_of_output_does_not_hold_the_job_up(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "head -c 100000000 /dev/zero; exit 4", &result);
	assert_int_equal(result.report.exit_code, 4);
	assert_int_equal(result.total[0], 100000000);
}

static void exit_codes_and_signals_are_told_apart(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result exited, signalled;
	rig_shell(&rig, "exit 3", &exited);
	assert_int_equal(exited.report.exit_code, 3);
	assert_int_equal(exited.report.signal, 0);
	rig_shell(&rig, "kill -SEGV $$", &signalled);
	assert_int_equal(signalled.report.exit_code, -1);
	assert_int_equal(signalled.report.signal, SIGSEGV);
}

static void expect_refused(const char *program, int code, const char *word) {
	const char *const argv[] = {program, NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv}, &result);
	assert_true(result.report.ran);
	assert_int_equal(result.report.exit_code, code);
	assert_int_equal(result.report.error.kind, ERROR_INPUT);
	assert_non_null(strstr(error_text(&result.report.error), word));
}

static void a_command_that_cannot_be_executed_is_the_jobs_own_fault(void **state) {
	(void)state;
	expect_refused("no-such-interpreter", 127, "no-such-interpreter: not found on this worker");
	expect_refused("./plain", 126, "Permission denied");
	expect_refused("./a", 126, "Permission denied");
}

static void a_missing_interpreter_is_named_and_not_its_script(void **state) {
	(void)state;
	static const struct {
		const char *script, *word;
	} cases[] = {
		{"#!/usr/bin/no-such-node\n", "/usr/bin/no-such-node: not found on this worker"},
		{"#! /no/such -x\necho\n", "/no/such: not found on this worker"},
		{"#!/usr/bin/env no-such-node\n", "no-such-node: not found on this worker"},
		{"#!/usr/bin/env -S A=b no-such-node -x\n", "no-such-node: not found on this worker"},
		{"#!/bin/sh\r\n", "/bin/sh (the script's lines end as on Windows, which makes it another name): not found"},
		{"#!/usr/bin/env sh\r\n", "sh (the script's lines end as on Windows, which makes it another name): not found"},
		{"#!/\xff\x1b[31m\n", "/??[31m: not found on this worker"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		rig_write(rig.tree, "asks", cases[i].script, 0755);
		expect_refused("./asks", 127, cases[i].word);
	}
}

static void a_program_for_another_libc_is_told_from_a_missing_one(void **state) {
	(void)state;
	AUTO_FREE char *path = mem_format("%s/foreign", rig.tree);
	rig_copy_file("/proc/self/exe", path, 0755);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
	char head[8192];
	ssize_t length = pread(fd, head, sizeof(head), 0);
	assert_true(length > 0);
	const char *loader = memmem(head, (size_t)length, "ld-linux", 8);
	assert_non_null(loader);
	assert_int_equal(pwrite(fd, "no-linux", 8, loader - head), 8);
	close(steal_fd(&fd)); // what is open for writing cannot be executed
	expect_refused("./foreign", 127, "the dynamic loader of ./foreign: not found on this worker");
}

static void an_interpreter_that_is_there_is_used(void **state) {
	(void)state;
	static const char *const scripts[] = {"#!/bin/sh\necho here\n", "#! /usr/bin/env sh\necho here\n",
		"#!/usr/bin/env -S sh -e\necho here\n", "#!/usr/bin/env -S -i /bin/sh\necho here\n", "#!\necho here\n",
		"echo here\n"};
	static const char *const argv[] = {"./asks", NULL};
	for (size_t i = 0; i < COUNT_OF(scripts); i++) {
		AUTO_RESULT struct rig_result result;
		rig_write(rig.tree, "asks", scripts[i], 0755);
		rig_run_job(&rig, &(struct rig_job){.argv = argv}, &result);
		if (strcmp(result.out, "here\n") != 0)
			fail_msg("%s: %s, %s", scripts[i], result.out, error_text(&result.report.error));
	}
}

static void a_script_without_an_interpreter_line_is_a_shell_script(void **state) {
	(void)state;
	static const char *const argv[] = {"./script", "yes", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv}, &result);
	assert_string_equal(result.out, "by the shell: yes\n");
}

static void times_and_usage_are_measured(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 0.05", &result);
	assert_in_range(result.report.cpu_us, 1000, 60000000);
	assert_in_range(result.report.run_us, 50000, 60000000);
	assert_in_range(result.report.start_us, 1, 60000000);
	assert_in_range(result.report.peak_memory_bytes, 100000, 128 * RIG_MB);
}

static void terminate_reaches_every_process_and_they_may_say_goodbye(void **state) {
	(void)state;
	static const char *const argv[] = {"/bin/sh", "-c",
		"trap 'wait; echo parent; exit 7' TERM; "
		"sh -c 'trap \"echo child; exit 0\" TERM; echo ready; while :; do sleep 0.02; done' & "
		"while :; do sleep 0.02; done",
		NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .awaited = "ready", .terminate_ms = 1}, &result);
	assert_string_equal(result.out, "ready\nchild\nparent\n");
	assert_int_equal(result.report.exit_code, 7);
}

static void kill_ends_what_ignores_every_signal(void **state) {
	(void)state;
	static const char *const argv[] = {"/bin/sh", "-c", "trap '' TERM HUP INT; echo deaf; sleep 60 & sleep 60", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .awaited = "deaf", .terminate_ms = 1, .kill_ms = 100}, &result);
	assert_int_equal(result.report.signal, SIGKILL);
}

static void a_kill_before_the_command_started_is_no_run(void **state) {
	(void)state;
	static const char *const argv[] = {"/bin/true", NULL};
	static const char *const env[] = {NULL};
	struct rig_result result = {.loop = rig.loop, .out = mem_zalloc(RIG_KEEP + 1), .err = mem_zalloc(RIG_KEEP + 1)};
	const struct sandbox_job job = {.slot = 1,
		.tree = rig.tree,
		.argv = (char *const *)(uintptr_t)argv,
		.env = (char *const *)(uintptr_t)env,
		.limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done, .arg = &result};
	assert_int_equal(sandbox_start(rig.sandbox, &job, &handlers, &result.run, NULL), 0);
	sandbox_kill(result.run);
	loop_run(rig.loop);
	// The command may have been quicker.
	if (!result.report.ran) assert_int_not_equal(result.report.error.kind, ERROR_NONE);
	rig_result_clear(&result);
}

static void a_slot_runs_one_job_at_a_time(void **state) {
	(void)state;
	static const char *const argv[] = {"/bin/true", NULL};
	static const char *const env[] = {NULL};
	struct error error = {0};
	struct sandbox_run *run;
	const struct sandbox_job job = {.slot = 7,
		.tree = rig.tree,
		.argv = (char *const *)(uintptr_t)argv,
		.env = (char *const *)(uintptr_t)env,
		.limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done};
	assert_int_equal(sandbox_start(rig.sandbox, &job, &handlers, &run, &error), -1);
	assert_int_equal(error.kind, ERROR_INTERNAL);
	error_clear(&error);
}

static void a_hundred_jobs_follow_each_other_and_leave_nothing(void **state) {
	(void)state;
	for (int i = 0; i < 100; i++) {
		AUTO_RESULT struct rig_result result;
		static const char *const argv[] = {"/bin/sh", "-c", "echo $$", NULL};
		rig_run_job(&rig, &(struct rig_job){.argv = argv, .slot = i % 2}, &result);
		assert_true(result.report.ran);
		assert_int_equal(result.report.exit_code, 0);
	}
	assert_int_equal(rig_count_processes("echo $$"), 0);
}

static void a_box_that_was_made_ready_starts_at_once(void **state) {
	(void)state;
	assert_true(rig_spare_is_ready(&rig, 0));
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "true", &result);
	assert_true(result.report.ran);
	print_message("start %lld us, run %lld us, all %lld us\n", (long long)result.report.start_us,
		(long long)result.report.run_us, (long long)result.took_us);
}

static void a_job_of_another_size_gets_a_box_of_its_own(void **state) {
	(void)state;
	static const char *const argv[] = {"/bin/sh", "-c", "df -k /trabajo | tail -1 | awk '{ print $2 }'", NULL};
	rig_require(&rig, SANDBOX_REDUCED);
	struct sandbox_limits limits = rig_limits();
	limits.disk_bytes = 20 * RIG_MB;
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .limits = limits}, &result);
	assert_string_equal(result.out, "20480\n");
}

// As far as the worker's own hard limit lets it.
static void a_process_can_have_as_many_files_as_it_was_promised(void **state) {
	(void)state;
	struct rlimit own;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &own), 0);
	struct sandbox_limits limits = rig_limits();
	limits.open_files = 100000;
	AUTO_FREE char *most = mem_format("%llu\n", own.rlim_max < 100000 ? (unsigned long long)own.rlim_max : 100000ULL);
	static const char *const argv[] = {"/bin/sh", "-c", "ulimit -Hn", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .limits = limits}, &result);
	assert_string_equal(result.out, most);
}

int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "attack") == 0) return 99;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_probe_finds_an_honest_level),
		cmocka_unit_test(a_command_runs_in_a_writable_copy_of_its_tree),
		cmocka_unit_test(links_are_copied_as_links_and_odd_names_as_they_are),
		cmocka_unit_test(the_environment_is_what_was_given_with_home_and_path),
		cmocka_unit_test(output_arrives_whole_on_both_streams),
		cmocka_unit_test(a_flood_of_output_does_not_hold_the_job_up),
		cmocka_unit_test(exit_codes_and_signals_are_told_apart),
		cmocka_unit_test(a_command_that_cannot_be_executed_is_the_jobs_own_fault),
		cmocka_unit_test(a_missing_interpreter_is_named_and_not_its_script),
		cmocka_unit_test(a_program_for_another_libc_is_told_from_a_missing_one),
		cmocka_unit_test(an_interpreter_that_is_there_is_used),
		cmocka_unit_test(a_script_without_an_interpreter_line_is_a_shell_script),
		cmocka_unit_test(times_and_usage_are_measured),
		cmocka_unit_test(terminate_reaches_every_process_and_they_may_say_goodbye),
		cmocka_unit_test(kill_ends_what_ignores_every_signal),
		cmocka_unit_test(a_kill_before_the_command_started_is_no_run),
		cmocka_unit_test(a_slot_runs_one_job_at_a_time),
		cmocka_unit_test(a_hundred_jobs_follow_each_other_and_leave_nothing),
		cmocka_unit_test(a_box_that_was_made_ready_starts_at_once),
		cmocka_unit_test(a_job_of_another_size_gets_a_box_of_its_own),
		cmocka_unit_test(a_process_can_have_as_many_files_as_it_was_promised),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
