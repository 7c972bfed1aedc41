// The weaker levels, forced on a machine that could do better, and a worker that refuses jobs for its level.
#include "tests/unit/sandbox_group.h"
#include "worker/probe.h"

static void expect_probe(enum sandbox_level level) {
	struct error error = {0};
	rig_require(&rig, level);
	rig_force(&rig, level);
	if (probe_box(&rig.sandbox->maker, rig.dir, &error) != 0) fail_msg("%s", error_text(&error));
}

static void the_reduced_box_holds_and_hides_proc(void **state) {
	(void)state;
	expect_probe(SANDBOX_REDUCED);
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "ls -A /proc | wc -l; touch /proc/x 2>&1; id -u; echo out; cat main 2>/dev/null; ls", &result);
	assert_string_equal(result.out, "0\ntouch: cannot touch '/proc/x': Read-only file system\n1000\nout\nattack\n");
	assert_int_equal(result.report.exit_code, 0);
}

static void a_job_at_level_none_runs_in_a_copy_that_is_removed(void **state) {
	(void)state;
	expect_probe(SANDBOX_NONE);
	AUTO_RESULT struct rig_result first, second;
	rig_shell(&rig, "ls; mkdir -p a/b/c; touch a/b/c/d new $HOME/x $TMPDIR/y; chmod 0 a/b; pwd", &first);
	assert_int_equal(first.report.exit_code, 0);
	assert_non_null(strstr(first.out, "attack\n"));
	assert_non_null(strstr(first.out, "/box/repo"));
	rig_shell(&rig, "for i in . $HOME $TMPDIR; do ls -A $i; done | grep -cx -e new -e x -e y", &second);
	assert_string_equal(second.out, "0\n");
}

static void a_daemon_at_level_none_dies_with_its_job(void **state) {
	(void)state;
	rig_force(&rig, SANDBOX_NONE);
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "(trap '' TERM; setsid sh -c 'setsid sleep 98763 >/dev/null 2>&1 &') & sleep 0.1; echo bye", &result);
	assert_string_equal(result.out, "bye\n");
	assert_int_equal(rig_count_processes("sleep 98763"), 0);
}

static void terminate_and_kill_work_at_level_none(void **state) {
	(void)state;
	rig_force(&rig, SANDBOX_NONE);
	static const char *const polite[] = {
		"/bin/sh", "-c", "trap 'echo bye; exit 6' TERM; echo up; while :; do sleep 0.02; done", NULL};
	static const char *const rude[] = {"/bin/sh", "-c", "trap '' TERM; setsid sleep 98764 & echo up; sleep 98764", NULL};
	AUTO_RESULT struct rig_result terminated, killed;
	rig_run_job(&rig, &(struct rig_job){.argv = polite, .awaited = "up", .terminate_ms = 1}, &terminated);
	assert_string_equal(terminated.out, "up\nbye\n");
	assert_int_equal(terminated.report.exit_code, 6);
	rig_run_job(&rig, &(struct rig_job){.argv = rude, .awaited = "up", .kill_ms = 1}, &killed);
	assert_int_equal(killed.report.signal, SIGKILL);
	assert_int_equal(rig_count_processes("sleep 98764"), 0);
}

static void a_stopped_reaper_at_level_none_does_not_save_the_job(void **state) {
	(void)state;
	rig_force(&rig, SANDBOX_NONE);
	static const char *const argv[] = {"/bin/sh", "-c", "kill -STOP $PPID; echo stopped; sleep 98765", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .awaited = "stopped", .kill_ms = 1}, &result);
	// Perhaps it was stopped before it could say that it had started anything.
	assert_int_equal(result.report.exit_code, -1);
	// Who was told to die is gone a moment later, on a busy machine a longer one.
	for (int ms = 0; rig_count_processes("sleep 98765") > 0 && ms < rig_patience_ms(); ms += 10) rig_run_loop_ms(&rig, 10);
	assert_int_equal(rig_count_processes("sleep 98765"), 0);
}

static void a_process_that_fails_for_want_of_files_is_seen_at_level_none(void **state) {
	(void)state;
	rig_force(&rig, SANDBOX_NONE);
	static const char *const argv[] = {"/usr/bin/python3", "-c", "x = [open('/dev/null') for _ in range(300)]", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv}, &result);
	assert_int_equal(result.report.exit_code, 1);
	assert_true(result.report.files_hit);
}

static void a_level_weaker_than_wanted_refuses_jobs(void **state) {
	(void)state;
	rig_force(&rig, SANDBOX_REDUCED);
	rig.sandbox->weakest = SANDBOX_FULL;
	static const char *const argv[] = {"/bin/true", NULL};
	static const char *const env[] = {NULL};
	struct error error = {0};
	struct sandbox_run *run;
	const struct sandbox_job job = {.tree = rig.tree,
		.argv = (char *const *)(uintptr_t)argv,
		.env = (char *const *)(uintptr_t)env,
		.limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done};
	assert_int_equal(sandbox_start(rig.sandbox, &job, &handlers, &run, &error), -1);
	assert_int_equal(error.kind, ERROR_DENIED);
	error_clear(&error);
	rig.sandbox->weakest = SANDBOX_NONE;
}

static void what_is_missing_comes_with_its_remedy(void **state) {
	(void)state;
	AUTO_FREE char *masked = probe_remedy("bwrap: Can't mount proc on /newroot/proc: Operation not permitted");
	AUTO_FREE char *reach = probe_remedy("bwrap: Can't find source path /x: Permission denied");
	AUTO_FREE char *profile = probe_remedy("bwrap: Creating new namespace failed: Operation not permitted");
	// A machine that closes user namespaces has one answer to all of them.
	if (strstr(masked, "sysctl")) skip();
	assert_non_null(strstr(masked, "systempaths=unconfined"));
	assert_non_null(strstr(reach, "chmod o+x"));
	assert_non_null(strstr(profile, "seccomp="));
}

static void a_box_that_cannot_be_made_says_why_and_is_nobodys_fault_but_ours(void **state) {
	(void)state;
	if (sandbox_level(rig.sandbox) > SANDBOX_REDUCED) rig_force(&rig, SANDBOX_FULL);
	rig_throw_spares_away(&rig);
	AUTO_FREE char *bwrap = rig.sandbox->maker.bwrap;
	if (!bwrap) skip();
	rig.sandbox->maker.level = SANDBOX_FULL;
	rig.sandbox->maker.bwrap = mem_strdup("/nonexistent/bwrap");
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "true", &result);
	assert_false(result.report.ran);
	assert_int_equal(result.report.error.kind, ERROR_UNAVAILABLE);
	assert_non_null(strstr(error_text(&result.report.error), "/nonexistent/bwrap: No such file"));
	free(rig.sandbox->maker.bwrap);
	rig.sandbox->maker.bwrap = STEAL(bwrap);
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1) return 99;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reduced_box_holds_and_hides_proc),
		cmocka_unit_test(a_level_weaker_than_wanted_refuses_jobs),
		cmocka_unit_test(a_box_that_cannot_be_made_says_why_and_is_nobodys_fault_but_ours),
		cmocka_unit_test(a_job_at_level_none_runs_in_a_copy_that_is_removed),
		cmocka_unit_test(a_daemon_at_level_none_dies_with_its_job),
		cmocka_unit_test(terminate_and_kill_work_at_level_none),
		cmocka_unit_test(a_stopped_reaper_at_level_none_does_not_save_the_job),
		cmocka_unit_test(a_process_that_fails_for_want_of_files_is_seen_at_level_none),
		cmocka_unit_test(what_is_missing_comes_with_its_remedy),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
