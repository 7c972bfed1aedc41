// Where the groups are found, and one group's life where this machine gives any.
#include "lib/mem.h"
#include "worker/limits_internal.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#ifdef __SANITIZE_THREAD__
#define TASKS      2 // of a process: the sanitizer has a thread in each, and memory
#define MORE_BYTES (1 << 30)
#else
#define TASKS      1
#define MORE_BYTES 0
#endif

static void expect_path(const char *cgroups, const char *mounts, const char *controller, const char *expected) {
	AUTO_FREE char *own = limits_own_group(cgroups, controller);
	AUTO_FREE char *path = own ? limits_group_path(mounts, controller, own) : NULL;
	if (expected)
		assert_string_equal(path, expected);
	else
		assert_null(path);
}

static const char v1_cgroups[] =
	"9:name=systemd:/user.slice\n8:pids:/user.slice\n4:memory:/jobs/worker 1\n1:cpu,cpuacct:/\n0::/x\n";
static const char v1_mounts[] = "29 23 0:25 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
				"30 23 0:26 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
				"31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n";

static void version_1_has_a_group_in_each_hierarchy(void **state) {
	(void)state;
	expect_path(v1_cgroups, v1_mounts, "memory", "/sys/fs/cgroup/memory/jobs/worker 1");
	expect_path(v1_cgroups, v1_mounts, "pids", "/sys/fs/cgroup/pids/user.slice");
	expect_path(v1_cgroups, v1_mounts, "cpu", "/sys/fs/cgroup/cpu,cpuacct");
	expect_path(v1_cgroups, v1_mounts, "cpuset", NULL);
	// A controller's name is a whole word.
	expect_path("1:cpuset:/a\n", v1_mounts, "cpu", NULL);
	// No version 2 is mounted.
	expect_path(v1_cgroups, v1_mounts, "", NULL);
}

static void version_2_has_one_group(void **state) {
	(void)state;
	static const char mounts[] =
		"24 30 0:22 / /proc rw - proc proc rw\n35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
	expect_path("0::/system.slice/trabajos-worker.service\n", mounts, "",
		"/sys/fs/cgroup/system.slice/trabajos-worker.service");
	expect_path("0::/\n", mounts, "", "/sys/fs/cgroup");
	expect_path("0::/\n", mounts, "memory", NULL);
}

static void a_containers_mount_may_begin_with_its_own_group(void **state) {
	(void)state;
	static const char mounts[] = "700 650 0:30 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n";
	expect_path("4:memory:/docker/abc\n", mounts, "memory", "/sys/fs/cgroup/memory");
	expect_path("4:memory:/docker/abc/inner\n", mounts, "memory", "/sys/fs/cgroup/memory/inner");
	// With a cgroup namespace the path is seen from the container's own group.
	expect_path("4:memory:/\n", mounts, "memory", "/sys/fs/cgroup/memory");
}

static void fields_are_found_at_the_beginning_of_a_line(void **state) {
	(void)state;
	static const char text[] = "cache 1\nrss 2\nrss_huge 3\ntotal_rss 4\noom_kill_disable 0\noom_kill 5";
	assert_int_equal(limits_field(text, "rss"), 2);
	assert_int_equal(limits_field(text, "oom_kill"), 5);
	assert_int_equal(limits_field(text, "total"), -1);
	assert_int_equal(limits_field("", "rss"), -1);
}

// ---- a real group

static struct limits_group *group;
static struct limits *limits;

static int open_real(void **state) {
	(void)state;
	limits = limits_open();
	struct error error = {0};
	if (limits_group_new(limits, &group, &error) != 0) fail_msg("%s", error_text(&error));
	return 0;
}

static int close_real(void **state) {
	(void)state;
	for (int i = 0; group && i < 500 && limits_group_remove(group) != 0; i++) (void)poll(NULL, 0, 10);
	group = NULL;
	limits_close(limits);
	return 0;
}

static void join(void) {
	int joins[LIMITS_GROUPS];
	size_t count = limits_group_joins(group, joins);
	for (size_t i = 0; i < count; i++)
		if (write(joins[i], "0", 1) != 1) _exit(80);
}

static void a_group_refuses_forks_beyond_its_tasks_and_counts_them(void **state) {
	(void)state;
	if (!limits_processes(limits)) {
		print_message("skipped: %s\n", limits_why(limits));
		skip();
	}
	assert_int_equal(limits_group_set(group, 64 << 20, 4, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) {
		join();
		int made = 0;
		while (made < 50 && fork() != -1) made++;
		_exit(made < 50 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	struct limits_hits hits;
	limits_group_hits(group, &hits);
	assert_int_equal(hits.oom_kills + hits.foreign_kills, 0);
	assert_true(hits.refused_forks > 0);
}

static NORETURN void take_memory(void) {
	join();
	volatile char *memory = mem_zalloc(64 << 20);
	for (size_t i = 0; i < 64 << 20; i += 4096) memory[i] = 1;
	_exit(0);
}

static void a_group_kills_whom_its_memory_does_not_suffice_and_counts_them(void **state) {
	(void)state;
	if (!limits_memory(limits)) skip();
	assert_int_equal(limits_group_set(group, 16 << 20, 8, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) take_memory();
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	struct limits_hits hits;
	limits_group_hits(group, &hits);
	assert_true(hits.oom_kills > 0);
	assert_int_equal(hits.foreign_kills, 0);
}

// ---- a group below one that is not ours to set: a container's, a slice's

static struct limits *whole;

// Only the controllers that are bounded above: the group in between has no others.
static bool put_one_above(bool memory) {
	int own = memory ? limits->memory_at : limits->processes_at;
	if (own < 0) return false;
	struct limits *below = mem_zalloc(sizeof(*below));
	*below = (struct limits){.version = limits->version, .memory = memory, .processes = !memory, .count = 1, .cpu_at = -1};
	below->memory_at = memory ? 0 : -1;
	below->processes_at = memory ? -1 : 0;
	below->prefix = mem_strdup("trabajos-test");
	AUTO_FREE char *name = mem_format("%s-above", limits->prefix);
	assert_int_equal(mkdirat(limits->own[own], name, 0755), 0);
	below->own[0] = openat(limits->own[own], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(below->own[0] >= 0);
	if (limits->version == 2)
		assert_int_equal(limits_write(below->own[0], "cgroup.subtree_control", memory ? "+memory" : "+pids"), 0);
	const char *const bounds[] = {"pids.max", limits->version == 2 ? "memory.max" : "memory.limit_in_bytes"};
	assert_int_equal(limits_write(below->own[0], bounds[memory], memory ? "16777216" : "4"), 0);
	if (memory) (void)!limits_write(below->own[0], "memory.swap.max", "0");
	if (memory) (void)!limits_write(below->own[0], "memory.memsw.limit_in_bytes", "16777216");
	assert_int_equal(limits_group_remove(group), 0);
	whole = limits;
	limits = below;
	assert_int_equal(limits_group_new(limits, &group, NULL), 0);
	return true;
}

static void take_away_the_one_above(void) {
	for (int i = 0; i < 500 && limits_group_remove(group) != 0; i++) (void)poll(NULL, 0, 10);
	group = NULL;
	int own = limits->memory ? whole->memory_at : whole->processes_at;
	AUTO_FREE char *name = mem_format("%s-above", whole->prefix);
	assert_int_equal(unlinkat(whole->own[own], name, AT_REMOVEDIR), 0);
	limits_close(limits);
	limits = whole;
}

static void a_kill_for_the_memory_of_others_is_not_the_groups_own(void **state) {
	(void)state;
	if (!put_one_above(true)) skip();
	assert_int_equal(limits_group_set(group, 1 << 30, 8, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) take_memory();
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	struct limits_hits hits;
	limits_group_hits(group, &hits);
	assert_int_equal(hits.oom_kills, 0);
	assert_true(hits.foreign_kills > 0);
	take_away_the_one_above();
}

static void a_fork_that_a_group_above_refuses_is_not_the_groups_own(void **state) {
	(void)state;
	if (!put_one_above(false)) skip();
	assert_int_equal(limits_group_set(group, 64 << 20, 100, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) {
		join();
		int made = 0;
		while (made < 50 && fork() != -1) made++;
		_exit(made < 50 ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	struct limits_hits hits;
	limits_group_hits(group, &hits);
	assert_int_equal(hits.refused_forks, 0);
	take_away_the_one_above();
}

// ---- processor time

static void burn_ms(int64_t ms) {
	struct timespec used;
	do (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < ms);
}

static void a_group_counts_the_time_of_those_whom_nobody_reaps(void **state) {
	(void)state;
	if (!limits_cpu(limits)) {
		print_message("skipped: no group counts processor time here\n");
		skip();
	}
	int64_t before_us = limits_group_cpu_us(group);
	pid_t pid = fork();
	if (pid == 0) {
		join();
		(void)signal(SIGCHLD, SIG_IGN);
		for (int i = 0; i < 4; i++) {
			if (fork() == 0) {
				burn_ms(50);
				_exit(0);
			}
		}
		(void)wait(NULL); // until there is none left
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_in_range(limits_group_cpu_us(group) - before_us, 190000, 60000000);
}

static void a_group_is_killed_whole_and_then_removed(void **state) {
	(void)state;
	if (!limits_kind(limits)) skip();
	pid_t pid = fork();
	if (pid == 0) {
		join();
		(void)fork();
		for (;;) (void)pause();
	}
	struct limits_usage usage = {0};
	for (int i = 0; i < 500 && usage.tasks < 2 * TASKS; i++) {
		limits_group_read(group, 0, INT64_MAX, &usage);
		(void)poll(NULL, 0, 10);
	}
	assert_int_equal(usage.tasks, 2 * TASKS);
	assert_int_equal(limits_group_remove(group), -1);
	assert_false(limits_group_empty(group));
	limits_group_kill(group, 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void without_groups_the_tree_of_processes_is_counted(void **state) {
	(void)state;
	struct limits none = {.memory_at = -1, .processes_at = -1, .cpu_at = -1, .prefix = mem_strdup("trabajos-test")};
	struct limits_group *empty;
	assert_int_equal(limits_group_new(&none, &empty, NULL), 0);
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)setpgid(0, 0);
		(void)fork();
		char *memory = mem_zalloc(20 << 20);
		memset(memory, 1, 20 << 20);
		(void)!write(ready[1], "x", 1);
		for (;;) (void)pause();
	}
	char byte;
	assert_int_equal(read(ready[0], &byte, 1) + read(ready[0], &byte, 1), 2);
	struct limits_usage usage;
	limits_group_read(empty, pid, INT64_MAX, &usage);
	assert_int_equal(usage.tasks, 2 * TASKS);
	assert_in_range(usage.memory_bytes, 40 << 20, (80 << 20) + MORE_BYTES);
	limits_group_read(empty, 0, INT64_MAX, &usage);
	assert_int_equal(usage.tasks, -1);
	assert_int_equal(kill(-pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(limits_group_remove(empty), 0);
	free(none.prefix);
}

#define SHARERS 4

static NORETURN void share_memory(char *common, int ready) {
	char *memory = common ? common : mmap(NULL, 20 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory != MAP_FAILED) memset(memory, 1, 20 << 20);
	(void)!write(ready, "x", 1);
	for (;;) (void)pause();
}

// What the sampler sees of processes that have 20 MiB of shared memory mapped: the same, or each its own.
static int64_t see_shared_memory(char *common, int64_t most_bytes, int looks) {
	struct limits none = {.memory_at = -1, .processes_at = -1, .cpu_at = -1, .prefix = mem_strdup("trabajos-test")};
	struct limits_group *empty;
	assert_int_equal(limits_group_new(&none, &empty, NULL), 0);
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)setpgid(0, 0);
		for (int i = 0; i < SHARERS; i++)
			if (fork() == 0) share_memory(common, ready[1]);
		for (;;) (void)pause();
	}
	char byte;
	for (int i = 0; i < SHARERS; i++) assert_int_equal(read(ready[0], &byte, 1), 1);
	struct limits_usage usage;
	int64_t most_seen = 0;
	// A busy machine may not come to all of them in one look.
	for (int i = 0; i < looks; i++) {
		limits_group_read(empty, pid, most_bytes, &usage);
		if (usage.memory_bytes > most_seen) most_seen = usage.memory_bytes;
		if (most_seen > most_bytes) break;
		(void)poll(NULL, 0, 5);
	}
	assert_int_equal(kill(-pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(limits_group_remove(empty), 0);
	free(none.prefix);
	return most_seen;
}

static void without_groups_shared_memory_of_several_counts_each(void **state) {
	(void)state;
	assert_in_range(see_shared_memory(NULL, 70 << 20, 2000), 70 << 20, (100 << 20) + MORE_BYTES);
}

static void without_groups_memory_that_several_share_counts_once(void **state) {
	(void)state;
	char *common = mmap(NULL, 20 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(common != MAP_FAILED);
	assert_in_range(see_shared_memory(common, 70 << 20, 20), 20 << 20, (40 << 20) + MORE_BYTES);
	(void)munmap(common, 20 << 20);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1_has_a_group_in_each_hierarchy),
		cmocka_unit_test(version_2_has_one_group),
		cmocka_unit_test(a_containers_mount_may_begin_with_its_own_group),
		cmocka_unit_test(fields_are_found_at_the_beginning_of_a_line),
		cmocka_unit_test_setup_teardown(a_group_refuses_forks_beyond_its_tasks_and_counts_them, open_real, close_real),
		cmocka_unit_test_setup_teardown(
			a_group_kills_whom_its_memory_does_not_suffice_and_counts_them, open_real, close_real),
		cmocka_unit_test_setup_teardown(a_kill_for_the_memory_of_others_is_not_the_groups_own, open_real, close_real),
		cmocka_unit_test_setup_teardown(a_fork_that_a_group_above_refuses_is_not_the_groups_own, open_real, close_real),
		cmocka_unit_test_setup_teardown(a_group_counts_the_time_of_those_whom_nobody_reaps, open_real, close_real),
		cmocka_unit_test_setup_teardown(a_group_is_killed_whole_and_then_removed, open_real, close_real),
		cmocka_unit_test(without_groups_the_tree_of_processes_is_counted),
		cmocka_unit_test(without_groups_shared_memory_of_several_counts_each),
		cmocka_unit_test(without_groups_memory_that_several_share_counts_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
