// Limits are kept, and it is said which was met. Each in a box that is really started.
#include "tests/unit/sandbox_group.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

// ---- what exceeds

static int attack_anonymous(void) {
	for (int i = 0;; i++) {
		char *memory = mmap(NULL, 8 * RIG_MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED || i > 1000) return 5;
		memset(memory, i + 1, 8 * RIG_MB);
	}
}

// Spread over processes, none of which is large.
static int attack_anonymous_tree(void) {
	for (int i = 0; i < 20; i++) {
		if (fork() != 0) continue;
		char *memory = mmap(NULL, 10 * RIG_MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(memory, 1, 10 * RIG_MB);
		for (;;) (void)pause();
	}
	for (;;) (void)pause();
	return 0;
}

// Each its own.
static int attack_shared_tree(void) {
	for (int i = 0; i < 30; i++) {
		if (fork() != 0) continue;
		char *memory = mmap(NULL, 10 * RIG_MB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (memory != MAP_FAILED) memset(memory, 1, 10 * RIG_MB);
		for (;;) (void)pause();
	}
	(void)wait(NULL); // for the first that is ended
	return 5;
}

static int attack_memfd(void) {
	static char block[1 << 20];
	for (int i = 0; i < 100; i++) {
		int fd = (int)syscall(SYS_memfd_create, "x", 0);
		if (fd < 0) return 6;
		for (int j = 0; j < 40; j++)
			if (write(fd, block, sizeof(block)) < 0) return 7;
	}
	return 0;
}

static int attack_threads(void) {
	int made = 0;
	for (pthread_t thread; made < 1000 && pthread_create(&thread, NULL, (void *(*)(void *))(uintptr_t)pause, NULL) == 0;
		made++) {
	}
	printf("%d\n", made);
	return made < 1000 ? 8 : 0;
}

static int make_files(const char *folder) {
	for (int i = 0; i < 10000000; i++) {
		char path[32];
		(void)snprintf(path, sizeof(path), "%s/%d", folder, i);
		int fd = open(path, O_CREAT | O_WRONLY, 0600);
		if (fd < 0) return 9;
		close(fd);
	}
	return 0;
}

static int attack_inodes(void) {
	return make_files("/tmp");
}

static int attack_shared_inodes(void) {
	return make_files("/dev/shm");
}

static int attack_descriptors(void) {
	int last = 0;
	for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0;) last = fd;
	printf("%d all open\n", errno == EMFILE ? last + 1 : -1);
	(void)fflush(stdout);
	for (;;) (void)pause();
	return 0;
}

// More than one process may have, none of which has all of it.
static int attack_many_with_descriptors(void) {
	for (int i = 0; i < 200; i++) (void)open("/dev/null", O_RDONLY);
	for (int i = 0; i < 3; i++)
		if (fork() == 0)
			for (;;) (void)pause();
	(void)!write(STDOUT_FILENO, "all open\n", strlen("all open\n"));
	for (;;) (void)pause();
	return 0;
}

// As most programs do, it looks at what it has opened. -1: it ran into its bound.
static int open_one(void) {
	struct stat info;
	int fd = open("/dev/null", O_RDONLY);
	return fd >= 0 && fstat(fd, &info) == 0 ? fd : -1;
}

static int attack_descriptors_and_exit(void) {
	while (open_one() >= 0) {
	}
	return errno == EMFILE ? 7 : 99;
}

static int attack_descriptors_closed_before(void) {
	int first = open_one();
	int code = attack_descriptors_and_exit();
	return close_range((unsigned)first, ~0U, 0) == 0 ? code : 99;
}

static int attack_descriptors_in_a_child(void) {
	int status;
	pid_t child = fork();
	if (child == 0) _exit(attack_descriptors_and_exit());
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static int attack_descriptors_and_abort(void) {
	if (attack_descriptors_and_exit() == 7) abort();
	return 99;
}

static int attack_descriptors_polled(void) {
	int poller = epoll_create1(0);
	for (int fd; (fd = eventfd(0, 0)) >= 0;)
		if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}) != 0) return 99;
	return errno == EMFILE ? 7 : 99;
}

static int attack_descriptors_but_one(void) {
	for (int fd; (fd = open_one()) >= 0;)
		if (fd == RIG_OPEN_FILES - 2) return 7;
	return 99;
}

// Its number alone means nothing.
static int attack_descriptors_closed_unseen(void) {
	for (int fd = STDERR_FILENO + 1; fd < RIG_OPEN_FILES; fd++) (void)close(fd);
	return dup2(STDOUT_FILENO, RIG_OPEN_FILES - 1) >= 0 && close(RIG_OPEN_FILES - 1) == 0 ? 7 : 99;
}

static int attack_descriptors_and_cope(void) {
	return attack_descriptors_and_exit() == 7 ? 0 : 99;
}

// One after the other, each of little time, and their times are added to nobody's.
static int attack_unreaped(void) {
	(void)signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < 100; i++) {
		if (fork() == 0) {
			struct timespec used;
			do (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
			while (used.tv_sec == 0 && used.tv_nsec < 100000000);
			_exit(0);
		}
		(void)wait(NULL);
	}
	return 0;
}

static const struct attack attacks[] = {
	{"unreaped", attack_unreaped},
	{"anonymous", attack_anonymous},
	{"anonymous-tree", attack_anonymous_tree},
	{"shared-tree", attack_shared_tree},
	{"memfd", attack_memfd},
	{"threads", attack_threads},
	{"inodes", attack_inodes},
	{"shared-inodes", attack_shared_inodes},
	{"descriptors", attack_descriptors},
	{"many-with-descriptors", attack_many_with_descriptors},
	{"descriptors-and-exit", attack_descriptors_and_exit},
	{"descriptors-closed-before", attack_descriptors_closed_before},
	{"descriptors-in-a-child", attack_descriptors_in_a_child},
	{"descriptors-and-abort", attack_descriptors_and_abort},
	{"descriptors-polled", attack_descriptors_polled},
	{"descriptors-but-one", attack_descriptors_but_one},
	{"descriptors-closed-unseen", attack_descriptors_closed_unseen},
	{"descriptors-and-cope", attack_descriptors_and_cope},
};

// ---- tests

static int setup_copying(void **state) {
	int result = setup(state);
	rig_copy_trees(&rig);
	return result;
}

static void too_much_memory_ends_the_job_and_is_attributed(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result result;
	rig_attack(&rig, "anonymous", &result);
	assert_true(result.report.memory_hit);
	assert_false(result.report.disk_hit);
	assert_int_equal(result.report.signal, SIGKILL);
	assert_in_range(result.report.peak_memory_bytes, 100 * RIG_MB, 400 * RIG_MB);
}

static void memory_counts_over_all_processes_of_the_job(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result result, shared;
	rig_attack(&rig, "anonymous-tree", &result);
	assert_true(result.report.memory_hit);
	assert_int_equal(result.report.signal, SIGKILL);
	rig_attack(&rig, "shared-tree", &shared);
	assert_true(shared.report.memory_hit);
	assert_int_not_equal(shared.report.exit_code, 0);
}

static void memory_that_no_process_has_mapped_is_bounded(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result result;
	rig_attack(&rig, "memfd", &result);
	if (limits_memory(rig.sandbox->maker.limits))
		assert_true(result.report.memory_hit);
	else
		assert_int_equal(result.report.exit_code, 6);
}

static void files_are_not_memory(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	static const char *const argv[] = {"/bin/sh", "-c", "head -c 40000000 /dev/zero >/tmp/x && echo fits", NULL};
	struct sandbox_limits limits = rig_limits();
	limits.memory_bytes = 24 * RIG_MB;
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .limits = limits}, &result);
	assert_string_equal(result.out, "fits\n");
	assert_false(result.report.memory_hit);
	assert_false(result.report.disk_hit);
}

static void a_full_disk_is_the_jobs_own_and_is_attributed(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig, "for i in 1 2 3; do head -c 40000000 /dev/zero >/tmp/$i || exit 9; done", &result);
	assert_int_equal(result.report.exit_code, 9);
	assert_true(result.report.disk_hit);
	assert_false(result.report.memory_hit);
	assert_non_null(strstr(result.err, "No space left"));
}

static void no_place_that_can_be_written_is_without_bounds(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig,
		"for i in 1 2 3; do head -c 45000000 /dev/zero >/dev/shm/$i; done 2>/dev/null; du -sm /dev/shm | cut -f1; "
		"find / -xdev -writable -type d 2>/dev/null | grep -v -e ^/proc -e ^/trabajo",
		&result);
	assert_string_equal(result.out, "64\n");
	rig_result_clear(&result);
	rig_shell(&rig, "head -c 60000000 /dev/zero >big; stat -c %s big", &result);
	assert_string_equal(result.out, "50331648\n");
}

static void empty_files_without_end_are_a_full_disk(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	static const char *const names[] = {"inodes", "shared-inodes"};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		AUTO_RESULT struct rig_result result;
		rig_attack(&rig, names[i], &result);
		assert_true(result.report.disk_hit);
		assert_int_equal(result.report.signal, SIGKILL);
	}
}

// Two seconds of the processor, by one process and by several that each take less.
static void processor_time_counts_over_all_processes_of_the_job(void **state) {
	(void)state;
	static const char *const scripts[] = {"while :; do :; done", "for i in 1 2 3 4; do while :; do :; done & done; wait"};
	for (size_t i = 0; i < COUNT_OF(scripts); i++) {
		const char *const argv[] = {"/bin/sh", "-c", scripts[i], NULL};
		struct sandbox_limits limits = rig_limits();
		limits.cpu_s = 2;
		AUTO_RESULT struct rig_result result;
		rig_run_job(&rig, &(struct rig_job){.argv = argv, .limits = limits}, &result);
		assert_true(result.report.cpu_hit);
		assert_false(result.report.memory_hit);
		assert_int_not_equal(result.report.signal, 0);
		// At least most of it; how much more, is the machine's load.
		assert_in_range(result.report.cpu_us, 1500000, 60000000);
	}
}

static void processor_time_counts_of_those_too_whom_nobody_reaps(void **state) {
	(void)state;
	if (!limits_cpu(rig.sandbox->maker.limits)) {
		print_message("skipped: no group counts processor time here\n");
		skip();
	}
	static const char *const argv[] = {"./attack", "attack", "unreaped", NULL};
	struct sandbox_limits limits = rig_limits();
	limits.cpu_s = 1;
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .limits = limits}, &result);
	assert_true(result.report.cpu_hit);
	assert_int_equal(result.report.signal, SIGKILL);
	assert_in_range(result.report.cpu_us, 1000000, 60000000);
}

// Where it is emulated, the command's start alone takes a second.
static void waiting_is_no_processor_time(void **state) {
	(void)state;
	bool emulated = getenv("TEST_PATIENCE") != NULL;
	const char *const argv[] = {"/bin/sh", "-c", emulated ? "sleep 15; echo awake" : "sleep 1.5; echo awake", NULL};
	struct sandbox_limits limits = rig_limits();
	limits.cpu_s = emulated ? 10 : 1;
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .limits = limits}, &result);
	assert_string_equal(result.out, "awake\n");
	assert_false(result.report.cpu_hit);
}

static void a_fork_bomb_meets_its_limit_and_is_attributed(void **state) {
	(void)state;
	static const char *const argv[] = {"/bin/bash", "-c", "bomb() { bomb & bomb; }; bomb; wait", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .awaited = "fork: retry", .kill_ms = 500}, &result);
	assert_true(result.report.ran);
	assert_true(result.report.processes_hit);
	assert_int_equal(rig_count_processes("bomb()"), 0);
}

static void threads_count_as_processes(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result result;
	rig_attack(&rig, "threads", &result);
	assert_int_equal(result.report.exit_code, 8);
	assert_in_range(strtol(result.out, NULL, 10), 8, 32);
	assert_true(result.report.processes_hit || !limits_processes(rig.sandbox->maker.limits));
}

// Holds all that it can have until it is told to end.
static void a_process_that_has_all_its_files_open_is_seen(void **state) {
	(void)state;
	static const char *const argv[] = {"./attack", "attack", "descriptors", NULL};
	AUTO_RESULT struct rig_result result;
	// Several samples: the first may have come before.
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .awaited = "all open", .terminate_ms = 400}, &result);
	assert_string_equal(result.out, "256 all open\n");
	assert_true(result.report.files_hit);
	assert_false(result.report.processes_hit);
}

static void files_that_are_open_in_many_processes_are_nobodys_fault(void **state) {
	(void)state;
	static const char *const argv[] = {"./attack", "attack", "many-with-descriptors", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .awaited = "all open", .terminate_ms = 400}, &result);
	assert_string_equal(result.out, "all open\n");
	assert_false(result.report.files_hit);
}

static void ends_in_failure(const char *attack, int signal, bool files_hit) {
	AUTO_RESULT struct rig_result result;
	rig_attack(&rig, attack, &result);
	assert_int_equal(result.report.signal, signal);
	assert_int_equal(result.report.exit_code, signal ? -1 : 7);
	assert_int_equal(result.report.files_hit, files_hit);
}

static void a_process_that_fails_for_want_of_files_is_seen_however_soon_it_ends(void **state) {
	(void)state;
	ends_in_failure("descriptors-and-exit", 0, true);
	ends_in_failure("descriptors-closed-before", 0, true);
	ends_in_failure("descriptors-in-a-child", 0, true);
	ends_in_failure("descriptors-and-abort", SIGABRT, true);
	ends_in_failure("descriptors-polled", 0, true);
}

static void a_process_that_fails_with_fewer_files_fails_for_something_else(void **state) {
	(void)state;
#ifdef COVERAGE
	skip(); // at its end the attack opens files of its own: its counters
#endif
	ends_in_failure("descriptors-but-one", 0, false);
	ends_in_failure("descriptors-closed-unseen", 0, false);
}

static void a_process_that_copes_with_too_few_files_ends_well(void **state) {
	(void)state;
	rig_attack_fails(&rig, "descriptors-and-cope");
}

static void a_file_larger_than_one_may_be_ends_its_writer(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result own, childs;
	static const char *const argv[] = {"/usr/bin/truncate", "-s", "1G", "/tmp/x", NULL};
	rig_run_job(&rig, &(struct rig_job){.argv = argv}, &own);
	assert_int_equal(own.report.signal, SIGXFSZ);
	rig_shell(&rig, "truncate -s 1G /tmp/x; exit $?", &childs);
	assert_int_equal(childs.report.exit_code, 128 + SIGXFSZ);
}

static void a_tree_larger_than_the_disk_is_the_jobs_own_fault(void **state) {
	(void)state;
	AUTO_FREE char *tree = mem_format("%s/large", rig.dir);
	assert_int_equal(mkdir(tree, 0755), 0);
	AUTO_FREE char *file = mem_format("%s/file", tree);
	AUTO_CLOSE int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 200 * RIG_MB), 0);
	static const char *const argv[] = {"/bin/true", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .tree = tree}, &result);
	assert_false(result.report.ran);
	assert_true(result.report.disk_hit);
	assert_int_equal(result.report.error.kind, ERROR_INPUT);
	assert_non_null(strstr(error_text(&result.report.error), "file"));
}

static void make_deep(const char *tree, int depth) {
	int folder = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < depth; i++) {
		assert_int_equal(mkdirat(folder, "d", 0755), 0);
		int inner = openat(folder, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(folder);
		folder = inner;
	}
	AUTO_CLOSE int file = openat(folder, "bottom", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(file >= 0);
	close(folder);
}

static void a_deep_tree_is_copied_and_a_bottomless_one_refused(void **state) {
	(void)state;
	AUTO_FREE char *deep = mem_format("%s/deep", rig.dir), *bottomless = mem_format("%s/bottomless", rig.dir);
	assert_int_equal(mkdir(deep, 0755) | mkdir(bottomless, 0755), 0);
	make_deep(deep, 390);
	make_deep(bottomless, 1500);
	static const char *const argv[] = {"/bin/sh", "-c", "find . -name bottom | wc -l", NULL};
	AUTO_RESULT struct rig_result fits, refused;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .tree = deep}, &fits);
	assert_string_equal(fits.out, "1\n");
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .tree = bottomless}, &refused);
	assert_false(refused.report.ran);
	assert_int_equal(refused.report.error.kind, ERROR_INPUT);
}

static void many_files_are_copied_each(void **state) {
	(void)state;
	AUTO_FREE char *tree = mem_format("%s/many", rig.dir);
	assert_int_equal(mkdir(tree, 0755), 0);
	for (int i = 0; i < 5000; i++) {
		char name[64];
		(void)snprintf(name, sizeof(name), "file %d", i);
		rig_write(tree, name, "content of a file\n", i % 2 ? 0644 : 0755);
	}
	static const char *const argv[] = {
		"/bin/sh", "-c", "find . -type f -size 18c | wc -l; find . -type f -perm 0755 | wc -l", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .tree = tree}, &result);
	assert_string_equal(result.out, "5000\n2500\n");
	print_message("start with 5000 files: %lld us\n", (long long)result.report.start_us);
}

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "attack") == 0) return rig_main_attack(attacks, COUNT_OF(attacks), argv[2]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(too_much_memory_ends_the_job_and_is_attributed),
		cmocka_unit_test(memory_counts_over_all_processes_of_the_job),
		cmocka_unit_test(memory_that_no_process_has_mapped_is_bounded),
		cmocka_unit_test(files_are_not_memory),
		cmocka_unit_test(a_full_disk_is_the_jobs_own_and_is_attributed),
		cmocka_unit_test(no_place_that_can_be_written_is_without_bounds),
		cmocka_unit_test(empty_files_without_end_are_a_full_disk),
		cmocka_unit_test(processor_time_counts_over_all_processes_of_the_job),
		cmocka_unit_test(processor_time_counts_of_those_too_whom_nobody_reaps),
		cmocka_unit_test(waiting_is_no_processor_time),
		cmocka_unit_test(a_fork_bomb_meets_its_limit_and_is_attributed),
		cmocka_unit_test(threads_count_as_processes),
		cmocka_unit_test(a_process_that_has_all_its_files_open_is_seen),
		cmocka_unit_test(a_process_that_fails_for_want_of_files_is_seen_however_soon_it_ends),
		cmocka_unit_test(a_process_that_fails_with_fewer_files_fails_for_something_else),
		cmocka_unit_test(a_process_that_copes_with_too_few_files_ends_well),
		cmocka_unit_test(files_that_are_open_in_many_processes_are_nobodys_fault),
		cmocka_unit_test(a_file_larger_than_one_may_be_ends_its_writer),
		cmocka_unit_test(a_tree_larger_than_the_disk_is_the_jobs_own_fault),
		cmocka_unit_test(a_deep_tree_is_copied_and_a_bottomless_one_refused),
		cmocka_unit_test(many_files_are_copied_each),
	};
	return cmocka_run_group_tests(tests, setup_copying, teardown);
}
