// The workspace: overlayfs shows a job the tree that all share, and keeps what it changes for itself.
#include "tests/unit/sandbox_group.h"

static void require_sharing(void) {
	rig_require(&rig, SANDBOX_REDUCED);
	if (rig.sandbox->maker.trees) return;
	print_message("not offered here: overlayfs in a box: %s\n", rig.sandbox->maker.unshared);
	skip();
}

static char *make_tree(const char *name) {
	char *tree = mem_format("%s/%s", rig.dir, name);
	AUTO_FREE char *folder = mem_format("%s/folder", tree), *deeper = mem_format("%s/deeper", folder);
	assert_int_equal(mkdir(tree, 0755) | mkdir(folder, 0755) | mkdir(deeper, 0755), 0);
	rig_write(tree, "file", "as committed\n", 0644);
	rig_write(tree, "run", "#!/bin/sh\necho ran\n", 0755);
	rig_write(folder, "inner", "inner\n", 0644);
	rig_write(deeper, "deep", "deep\n", 0644);
	AUTO_FREE char *link = mem_format("%s/link", tree);
	assert_int_equal(symlink("file", link), 0);
	return tree;
}

static void shell_in(const char *tree, int slot, const char *script, struct rig_result *result) {
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .tree = tree, .slot = slot}, result);
}

static void write_zeros(const char *path, int64_t bytes) {
	static const char block[1 << 20];
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	for (; bytes > 0; bytes -= (int64_t)sizeof(block)) assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
}

static void assert_untouched(const char *tree) {
	AUTO_RESULT struct rig_result result;
	shell_in(tree, 1, "cat file folder/inner folder/deeper/deep; ls -A; ./run", &result);
	assert_string_equal(result.out, "as committed\ninner\ndeep\nfile\nfolder\nlink\nrun\nran\n");
	assert_string_equal(result.err, "");
}

static void a_tree_is_shown_as_the_jobs_own_and_not_copied(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("own");
	AUTO_RESULT struct rig_result result;
	shell_in(tree, 0,
		"stat -c '%n %a %u %g' . file run folder; ./run; id -u; pwd; cat link; df --output=used /tmp | tail -1",
		&result);
	assert_string_equal(result.err, "");
	assert_non_null(
		strstr(result.out, ". 755 1000 1000\nfile 644 1000 1000\nrun 755 1000 1000\nfolder 755 1000 1000\nran\n1000\n"
				   "/trabajo/repo\nas committed\n"));
	assert_true(result.report.shared);
}

static void what_a_job_changes_nobody_else_sees(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("changed");
	AUTO_RESULT struct rig_result result;
	shell_in(tree, 0,
		"set -e; echo changed >file; echo more >>folder/inner; rm run; chmod 600 folder/deeper/deep; touch new; mkdir made\n"
		"rm -r folder/deeper; mkdir folder/deeper; ls -A folder/deeper; mv folder moved; ln file hard; echo hard >hard\n"
		"cat file moved/inner; ls -A; rm -rf ./* .[!.]*; ls -A; echo emptied",
		&result);
	assert_string_equal(result.err, "");
	assert_string_equal(result.out, "hard\ninner\nmore\nfile\nhard\nlink\nmade\nmoved\nnew\nemptied\n");
	assert_untouched(tree);
}

// Both run at once; the first goes on when the second has ended.
static void jobs_at_the_same_time_have_views_of_their_own(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("at-once");
	static const char *const argv[] = {"/bin/sh", "-c",
		"echo first >file; trap 'cat file; exit 0' TERM; echo ready; while :; do sleep 30 & wait; done", NULL};
	static const char *const none[] = {NULL};
	struct rig_result first = {.loop = rig.loop, .out = mem_zalloc(RIG_KEEP + 1), .err = mem_zalloc(RIG_KEEP + 1)};
	const struct sandbox_job job = {.tree = tree,
		.argv = (char *const *)(uintptr_t)argv,
		.env = (char *const *)(uintptr_t)none,
		.limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done, .arg = &first};
	assert_int_equal(sandbox_start(rig.sandbox, &job, &handlers, &first.run, NULL), 0);
	AUTO_RESULT struct rig_result second;
	shell_in(tree, 1, "cat file; echo second >file; cat file", &second);
	while (!first.kept[0]) rig_run_loop_ms(&rig, 5);
	sandbox_terminate(first.run);
	while (!first.done) loop_run(rig.loop);
	assert_string_equal(second.out, "as committed\nsecond\n");
	assert_string_equal(first.out, "ready\nfirst\n");
	rig_result_clear(&first);
	assert_untouched(tree);
}

static void neither_the_layer_nor_other_trees_can_be_reached(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("alone");
	free(make_tree("somebody-elses"));
	AUTO_RESULT struct rig_result result;
	shell_in(tree, 0,
		"echo mine >file; ls -A /mnt /trabajo/.layer; ls -A /trabajo/repo/..; touch /trabajo/.layer/x || echo refused; "
		"rmdir /trabajo/.layer || mv /trabajo/.layer /tmp || echo kept; find / -xdev -name inner -not -path '/proc/*' 2>/dev/null; "
		"find /trabajo -name 'somebody*'",
		&result);
	assert_string_equal(result.out, "/mnt:\n\n/trabajo/.layer:\n.layer\nhome\nrepo\ntmp\nrefused\nkept\n");
}

static void what_a_job_changes_counts_and_what_it_leaves_as_it_was_does_not(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("large");
	AUTO_FREE char *large = mem_format("%s/large", tree), *more = mem_format("%s/more", tree);
	write_zeros(large, 40 * RIG_MB);
	write_zeros(more, 40 * RIG_MB);
	AUTO_RESULT struct rig_result reads, writes;
	shell_in(tree, 0, "cat large more | wc -c", &reads);
	assert_string_equal(reads.out, "83886080\n");
	assert_false(reads.report.disk_hit);
	shell_in(tree, 0, "echo more >>large && echo fits; echo more >>more || rm -f more; echo small >file", &writes);
	assert_string_equal(writes.out, "fits\n");
	assert_non_null(strstr(writes.err, "No space left"));
}

static int count_own_mounts(void) {
	AUTO_FCLOSE FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[4096];
	int found = 0;
	while (fgets(line, sizeof(line), file)) found += strstr(line, rig.dir) != NULL;
	return found;
}

static void many_jobs_on_a_tree_leave_no_mount_behind(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("often");
	for (int i = 0; i < 60; i++) {
		AUTO_RESULT struct rig_result result;
		shell_in(tree, i % 2, "echo x >>file; wc -l <file", &result);
		assert_string_equal(result.out, "2\n");
		assert_true(result.report.shared);
	}
	assert_int_equal(count_own_mounts(), 0);
	// The boxes that are ready have theirs.
	AUTO_FREE char *ours = mem_format(" launch %d ", (int)getpid());
	assert_in_range(rig_count_processes(ours), 0, rig.sandbox->slot_count);
	assert_untouched(tree);
}

// The trees' folder is gone when the box is made, or a tree has no plain name: a copy serves as well.
static void where_a_tree_cannot_be_shown_it_is_copied(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("Capital"), *own = rig.sandbox->maker.trees;
	AUTO_RESULT struct rig_result named, gone;
	shell_in(tree, 0, "echo changed >file; cat file; df --output=target . | tail -1; ls -A /trabajo", &named);
	assert_string_equal(named.out, "changed\n/trabajo\nhome\nrepo\ntmp\n");
	assert_false(named.report.shared);
	rig.sandbox->maker.trees = mem_format("%s/gone", rig.dir);
	rig_throw_spares_away(&rig);
	AUTO_FREE char *plain = mem_format("%s/gone/plain", rig.dir), *folder = mem_format("%s/gone", rig.dir);
	const struct rig_job none = {.argv = (const char *const[]){"/bin/cat", "file", NULL}, .tree = plain};
	// The box is made before the folder is.
	rig.sandbox->slots[0].spare = cell_new(&rig.sandbox->slots[0], NULL);
	assert_true(rig_spare_is_ready(&rig, 0));
	assert_int_equal(mkdir(folder, 0755) | mkdir(plain, 0755), 0);
	rig_write(plain, "file", "copied\n", 0644);
	rig_run_job(&rig, &none, &gone);
	free(rig.sandbox->maker.trees);
	rig.sandbox->maker.trees = STEAL(own);
	rig_throw_spares_away(&rig);
	assert_string_equal(gone.out, "copied\n");
	assert_false(gone.report.shared);
	assert_untouched(tree);
}

// Of the box that stands ready: the child of bubblewrap's process that is not the box's pid 1.
static pid_t helper_of_spare(void) {
	rig_throw_spares_away(&rig);
	rig.sandbox->slots[0].spare = cell_new(&rig.sandbox->slots[0], NULL);
	const struct box *box = &rig.sandbox->slots[0].spare->box;
	assert_true(rig_spare_is_ready(&rig, 0));
	AUTO_FREE char *path = mem_format("/proc/%d/task/%d/children", (int)box->pid, (int)box->pid);
	AUTO_FCLOSE FILE *children = fopen(path, "re");
	int pid, found = 0;
	while (children && fscanf(children, "%d", &pid) == 1)
		if (pid != box->init_pid) found = pid;
	return found;
}

static void a_helper_that_died_costs_the_box_and_nothing_else(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("helpless");
	pid_t helper = helper_of_spare();
	assert_true(helper > 0);
	assert_int_equal(kill(helper, SIGKILL), 0);
	AUTO_RESULT struct rig_result result;
	shell_in(tree, 0, "echo ran", &result);
	assert_false(result.report.ran);
	assert_int_equal(result.report.error.kind, ERROR_UNAVAILABLE);
	assert_non_null(strstr(error_text(&result.report.error), "helper"));
	assert_untouched(tree);
}

static void a_job_whose_helper_hangs_can_be_ended(void **state) {
	(void)state;
	require_sharing();
	AUTO_FREE char *tree = make_tree("hanging");
	pid_t helper = helper_of_spare();
	assert_true(helper > 0);
	assert_int_equal(kill(helper, SIGSTOP), 0);
	static const char *const argv[] = {"/bin/true", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .tree = tree, .kill_ms = 200}, &result);
	assert_false(result.report.ran);
	assert_untouched(tree);
}

static void how_trees_come_into_the_boxes_is_described(void **state) {
	(void)state;
	AUTO_JSON json_t *description = sandbox_describe(rig.sandbox);
	const char *workspace = json_text(description, "workspace");
	assert_string_equal(
		workspace, rig.sandbox->maker.trees && rig.sandbox->maker.level != SANDBOX_NONE ? "overlay" : "copy");
	assert_int_equal(strcmp(workspace, "overlay") == 0, json_is_null(json_object_get(description, "missing_workspace")));
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1) return 99;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_is_shown_as_the_jobs_own_and_not_copied),
		cmocka_unit_test(what_a_job_changes_nobody_else_sees),
		cmocka_unit_test(jobs_at_the_same_time_have_views_of_their_own),
		cmocka_unit_test(neither_the_layer_nor_other_trees_can_be_reached),
		cmocka_unit_test(what_a_job_changes_counts_and_what_it_leaves_as_it_was_does_not),
		cmocka_unit_test(many_jobs_on_a_tree_leave_no_mount_behind),
		cmocka_unit_test(where_a_tree_cannot_be_shown_it_is_copied),
		cmocka_unit_test(a_helper_that_died_costs_the_box_and_nothing_else),
		cmocka_unit_test(a_job_whose_helper_hangs_can_be_ended),
		cmocka_unit_test(how_trees_come_into_the_boxes_is_described),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
