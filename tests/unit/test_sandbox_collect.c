// A job against the worker that collects its artifacts, and against the time that this and the copy of its tree may take.
//
// The names that are collected change places with links to what is outside, with pipes and with hard links: from a process that the
// job leaves behind, and, where nothing has killed it, below the collector itself while it walks.
#include "tests/unit/escape_rig.h"
#include "worker/collected.h"

// trabajos-init is a program of its own, static.
#include "worker/init/collect.c"
#include "worker/init/glob.c"

#include <pthread.h>
#include <sys/mman.h>

#define RACE           "swap-names"
#define ROUNDS         5   // in boxes, of each level
#define WALKS          200 // below a collector
#define LOOKS          1000000
#define MARK           "secret"
#define COUNT_OF_FILES 16000

static const char *const globs[] = {"race", NULL};

// ---- the swapper

// Pairs of names that change places: each first one is the job's own.
static const char *const pairs[][2] = {
	{"race/file", "race/link"},
	{"race/a", "race/a-link"},
	{"race/a/b", "race/a/b-link"},
	{"race/a/b/c", "race/a/b/c-link"},
	{"race/other", "race/pipe"},
	{"race/shadow", "race/shadow-link"},
	{"race/zero", "race/zero-link"},
};

static bool put(const char *path) {
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	return fd >= 0 && write(fd, "mine\n", 5) == 5;
}

// Outside, a folder of each depth holds what is looked for below it.
static bool lay_out(const char *outside) {
	static const char *const files[] = {"race/file", "race/a/b/c/file", "race/other", "race/shadow", "race/zero"};
	static const char *const links[][2] = {{"race/link", "secret"}, {"race/a-link", "deep/a"},
		{"race/a/b-link", "deep/a/b"}, {"race/a/b/c-link", "deep/a/b/c"}, {"race/shadow-link", "shadow"}};
	bool made = mkdir("race", 0755) == 0 && mkdir("race/a", 0755) == 0 && mkdir("race/a/b", 0755) == 0 &&
		    mkdir("race/a/b/c", 0755) == 0 && mkfifo("race/pipe", 0644) == 0 &&
		    symlink("/dev/zero", "race/zero-link") == 0;
	for (size_t i = 0; i < COUNT_OF(files); i++) made = made && put(files[i]);
	for (size_t i = 0; i < COUNT_OF(links); i++) {
		AUTO_FREE char *target = mem_format("%s/%s", outside, links[i][1]);
		made = made && symlink(target, links[i][0]) == 0;
	}
	return made;
}

static NORETURN void swap_for_ever(bool hard_links) {
	AUTO_FREE char *secret = mem_strdup(escape_outside("secret"));
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	for (;;) {
		for (size_t i = 0; i < COUNT_OF(pairs); i++)
			(void)renameat2(AT_FDCWD, pairs[i][0], AT_FDCWD, pairs[i][1], RENAME_EXCHANGE);
		if (hard_links) (void)!link(secret, "race/hard");
		(void)!link("race/other", "race/twin");
		(void)unlink("race/twin");
		(void)!truncate("race/other", 1 << 20);
		(void)!truncate("race/other", 3);
	}
}

// ---- the control: a collector that looks first and opens then

static bool holds_mark(int fd) {
	char text[64] = "";
	return read(fd, text, sizeof(text) - 1) > 0 && strstr(text, MARK);
}

static bool naive(const char *path, const char *folder) {
	struct stat info;
	if (lstat(folder, &info) != 0 || !S_ISDIR(info.st_mode) || lstat(path, &info) != 0 || !S_ISREG(info.st_mode))
		return false;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && holds_mark(fd);
}

static int swap_names(void) {
	if (!lay_out(getenv("ESCAPE_OUTSIDE"))) return 90;
	pid_t pid = fork();
	if (pid == 0) {
		if (escape_is_control()) (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!escape_is_control()) (void)setsid();
		swap_for_ever(!escape_is_control());
	}
	if (!escape_is_control()) return ESCAPE_NOTHING; // and leaves it behind
	int result = ESCAPE_NOTHING;
	for (int i = 0; i < LOOKS && result == ESCAPE_NOTHING; i++)
		if (naive("race/file", "race") || naive("race/a/b/c/file", "race/a")) result = escape_achieved("led out");
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return result;
}

// ---- what is collected

struct reading {
	pthread_t thread;
	int pipe, file;
	bool discard; // a file without end
	struct collected collected;
};

static void *read_frames(void *arg) {
	struct reading *reading = arg;
	static char nothing[COLLECT_DATA_MOST];
	static const struct collected_limits limits = {.bytes = 64 * RIG_MB, .files = 1000};
	if (reading->discard)
		while (read(reading->pipe, nothing, sizeof(nothing)) > 0)
			;
	else
		collected_read(reading->pipe, reading->file, &limits, &reading->collected);
	close(reading->pipe);
	return NULL;
}

static int start_reading(struct reading *reading, bool discard) {
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	*reading = (struct reading){.pipe = ends[0], .discard = discard, .file = memfd_create("artifacts", MFD_CLOEXEC)};
	assert_int_equal(pthread_create(&reading->thread, NULL, read_frames, reading), 0);
	return ends[1];
}

// Its end: that the frames end is part of what is shown.
static void end_reading(struct reading *reading) {
	assert_int_equal(pthread_join(reading->thread, NULL), 0);
	size_t size = (size_t)reading->collected.bytes;
	AUTO_FREE char *content = mem_zalloc(size + 1);
	assert_int_equal(pread(reading->file, content, size, 0), (ssize_t)size);
	if (memmem(content, size, MARK, strlen(MARK))) fail_msg("what was collected holds what is another's");
	close(reading->file);
}

// ---- in boxes

static void collect_beside(void *arg) {
	const struct escape_trial *trial = arg;
	AUTO_FREE char *outside = mem_format("ESCAPE_OUTSIDE=%s", suite.outside);
	static const char *const argv[] = {"./attack", "attack", RACE, NULL};
	const char *const env[] = {outside, "ASAN_OPTIONS=detect_leaks=0", NULL};
	for (int round = 0; round < ROUNDS; round++) {
		struct reading reading;
		AUTO_RESULT struct rig_result result;
		struct rig_job job = {
			.argv = argv, .env = env, .artifacts = {globs, 64 * RIG_MB, 1000, start_reading(&reading, false)}};
		rig_run_job(&suite.rig, &job, &result);
		end_reading(&reading);
		if (!result.report.ran || result.report.exit_code != 0 || !result.report.collected ||
			!reading.collected.complete)
			fail_msg("%s: at level %s: exit %d, signal %d: %s%s%s", trial->escape->name,
				sandbox_level_names[trial->level], result.report.exit_code, result.report.signal, result.out,
				result.err, error_text(&result.report.error));
		assert_true(reading.collected.count > 0);
		collected_clear(&reading.collected);
	}
}

static void collect_at(const struct escape *escape, enum sandbox_level level) {
	rig_force(&suite.rig, level);
	struct escape_trial trial = {escape, level};
	if (level == suite.best)
		neighbour_beside(&suite.rig, escape->name, collect_beside, &trial);
	else
		collect_beside(&trial);
}

static const struct escape race = {.name = RACE, .fn = swap_names, .weakest = SANDBOX_REDUCED};

static void names_that_change_places_do_not_lead_the_collector_out(void **state) {
	(void)state;
	const char *unproven = escape_prove(&race);
	escape_try_levels(&race, collect_at);
	escape_unproven(&race, unproven);
}

// Nothing kills the swapper here: each walk is of a tree that changes below it.
static void not_even_while_it_walks(void **state) {
	(void)state;
	AUTO_FREE char *place = mem_format("%s/walked", suite.rig.dir);
	assert_int_equal(mkdir(place, 0755), 0);
	AUTO_CLOSE int folder = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		       before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fchdir(folder), 0);
	bool made = lay_out(suite.outside);
	assert_int_equal(setenv("ESCAPE_OUTSIDE", suite.outside, 1), 0);
	pid_t swapper = made ? fork() : -1;
	if (swapper == 0) swap_for_ever(false);
	assert_int_equal(fchdir(before), 0);
	assert_true(swapper > 0);
	for (int walked = 0; walked < WALKS; walked++) {
		struct reading reading;
		int pipe = start_reading(&reading, false);
		pid_t pid = fork();
		if (pid == 0) {
			char name[] = "race";
			collect(folder, &(struct collect_order){(char *[]){name, NULL}, 64 * RIG_MB, 1000, pipe});
			_exit(0);
		}
		close(pipe);
		end_reading(&reading);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_true(reading.collected.complete);
		collected_clear(&reading.collected);
	}
	(void)kill(swapper, SIGKILL);
	assert_int_equal(waitpid(swapper, NULL, 0), swapper);
}

// ---- phases that do not end by themselves

static void expect_cut_short(const char *script, bool read_it) {
	int64_t bound = suite.rig.sandbox->collect_ms;
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	struct reading reading;
	int unread[2];
	assert_int_equal(pipe2(unread, O_CLOEXEC), 0);
	struct rig_job job = {.argv = argv, .limits = rig_limits(), .artifacts = {globs, INT64_MAX, 1000, unread[1]}};
	job.limits.file_bytes = INT64_C(1) << 42;
	if (read_it) job.artifacts.pipe = start_reading(&reading, true);
	suite.rig.sandbox->collect_ms = 200;
	AUTO_RESULT struct rig_result result;
	rig_run_job(&suite.rig, &job, &result);
	suite.rig.sandbox->collect_ms = bound;
	if (read_it) end_reading(&reading);
	if (read_it) close(unread[1]);
	close(unread[0]);
	// The command's own end stands: it has done nothing wrong.
	assert_true(result.report.ran);
	assert_int_equal(result.report.exit_code, 3);
	assert_int_equal(result.report.signal, 0);
	assert_false(result.report.collected);
}

static void expect_next_job(void) {
	AUTO_RESULT struct rig_result result;
	rig_shell(&suite.rig, "echo next; ls race", &result);
	assert_string_equal(result.out, "next\n");
}

static void a_collection_without_end_is_ended_by_its_bound_and_the_commands_end_stands(void **state) {
	(void)state;
	rig_force(&suite.rig, suite.best);
	rig_require(&suite.rig, SANDBOX_REDUCED);
	expect_cut_short("mkdir race; truncate -s 2T race/endless; exit 3", true);
	expect_next_job();
}

static void a_collection_that_nobody_reads_is_ended_by_its_bound(void **state) {
	(void)state;
	for (enum sandbox_level level = suite.best; level <= SANDBOX_NONE; level++) {
		rig_force(&suite.rig, level);
		expect_cut_short("mkdir race; head -c 1000000 /dev/zero >race/file; exit 3", false);
		expect_next_job();
	}
	rig_force(&suite.rig, suite.best);
}

static void folders_without_bottom_and_names_without_number_end_by_themselves(void **state) {
	(void)state;
	rig_force(&suite.rig, suite.best);
	static const char script[] =
		"mkdir race; cd race; i=0; while [ $i -lt 300 ]; do mkdir d; cd -P d 2>/dev/null || exit 4; i=$((i+1)); done; "
		"cd ../../..; seq 5000 | xargs -n 500 touch; mkfifo pipe";
	static const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	struct reading reading;
	AUTO_RESULT struct rig_result result;
	struct rig_job job = {.argv = argv, .artifacts = {globs, 64 * RIG_MB, 1000, start_reading(&reading, false)}};
	rig_run_job(&suite.rig, &job, &result);
	end_reading(&reading);
	assert_int_equal(result.report.exit_code, 0);
	assert_true(result.report.collected && reading.collected.complete);
	assert_true(reading.collected.left > 0);
	collected_clear(&reading.collected);
}

// A busy machine may let the copy end before the order to kill it comes: then the command is what is killed, and it is tried anew.
static void a_copy_of_the_tree_is_ended_by_a_kill_and_nothing_was_run(void **state) {
	(void)state;
	AUTO_FREE char *tree = mem_format("%s/large", suite.rig.dir);
	assert_int_equal(mkdir(tree, 0755), 0);
	for (int i = 0; i < COUNT_OF_FILES; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "f%d", i);
		rig_write(tree, name, "", 0644);
	}
	rig_force(&suite.rig, suite.best);
	rig_copy_trees(&suite.rig);
	static const char *const argv[] = {"/bin/sleep", "98767", NULL};
	expect_next_job();
	for (int tries = 1;; tries++) {
		assert_true(rig_spare_is_ready(&suite.rig, 0));
		AUTO_RESULT struct rig_result result;
		rig_run_job(&suite.rig, &(struct rig_job){.argv = argv, .tree = tree, .kill_ms = 1}, &result);
		bool copying = result.report.workspace_us < 0;
		if (!copying && tries < 20) continue;
		assert_true(copying);
		assert_false(result.report.ran);
		assert_int_equal(result.report.error.kind, ERROR_UNAVAILABLE);
		break;
	}
	assert_int_equal(rig_count_processes("sleep 98767"), 0);
	expect_next_job();
}

// ---- the suite

static int set_up(void **state) {
	if (escape_setup(state) != 0) return -1;
	static const char *const folders[] = {"deep", "deep/a", "deep/a/b", "deep/a/b/c"};
	for (size_t i = 0; i < COUNT_OF(folders); i++) {
		AUTO_FREE char *path = mem_format("%s/%s", suite.outside, folders[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	AUTO_FREE char *deepest = mem_format("%s/deep/a/b/c", suite.outside);
	rig_write(deepest, "file", MARK "\n", 0644);
	rig_write(suite.outside, "shadow", MARK "\n", 0600);
	return 0;
}

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "attack") == 0) return escape_main(&race, 1, argv[2]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_change_places_do_not_lead_the_collector_out),
		cmocka_unit_test(not_even_while_it_walks),
		cmocka_unit_test(a_collection_without_end_is_ended_by_its_bound_and_the_commands_end_stands),
		cmocka_unit_test(a_collection_that_nobody_reads_is_ended_by_its_bound),
		cmocka_unit_test(folders_without_bottom_and_names_without_number_end_by_themselves),
		cmocka_unit_test(a_copy_of_the_tree_is_ended_by_a_kill_and_nothing_was_run),
	};
	return cmocka_run_group_tests_name("collecting", tests, set_up, escape_teardown);
}
