// A job that wants out, by the files and processes that it can reach; the system calls are test_sandbox_calls.c's.
#include "tests/unit/escape_rig.h"
#include "worker/limits_internal.h"

#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#define HINDER "hinder-pid-1"
#define RACES  1000000

// ---- attacks on the supervisor: pid 1 of the box, or who plays it

static int open_of_supervisor(const char *name, int flags) {
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)getppid(), name);
	return open(path, flags | O_CLOEXEC);
}

// An address at which it has something; where that is not to be learnt, one of our own.
static uintptr_t address_of_supervisor(void) {
	char text[64] = "";
	AUTO_CLOSE int fd = open_of_supervisor("maps", O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0) return (uintptr_t)&suite;
	return (uintptr_t)strtoull(text, NULL, 16);
}

static int read_memory(void) {
	char byte;
	AUTO_CLOSE int fd = open_of_supervisor("mem", O_RDONLY);
	return fd >= 0 && pread(fd, &byte, 1, (off_t)address_of_supervisor()) == 1 ? escape_achieved("mem") : ESCAPE_NOTHING;
}

static int open_memory_for_writing(void) {
	AUTO_CLOSE int fd = open_of_supervisor("mem", O_RDWR);
	return fd >= 0 ? escape_achieved("mem") : ESCAPE_NOTHING;
}

static int look_into_supervisor(void) {
	static const char *const names[] = {"environ", "maps", "io", "fd/0", "fd/1", "fd/3", "root/etc", "cwd"};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		AUTO_CLOSE int fd = open_of_supervisor(names[i], O_RDONLY | O_NONBLOCK);
		if (fd >= 0) return escape_achieved(names[i]);
	}
	return ESCAPE_NOTHING;
}

static int trace(void) {
	if (ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0) return escape_achieved("seized");
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0 ? escape_achieved("attached") : ESCAPE_NOTHING;
}

static int read_by_call(void) {
	char buffer[8];
	struct iovec mine = {buffer, 1}, its = {(void *)address_of_supervisor(), 1};
	long length = process_vm_readv(getppid(), &mine, 1, &its, 1, 0);
	return length >= 0 || errno == EFAULT ? escape_achieved("process_vm_readv") : ESCAPE_NOTHING;
}

static int take_descriptor(void) {
	int pidfd = (int)syscall(SYS_pidfd_open, getppid(), 0);
	for (int fd = 0; pidfd >= 0 && fd < 8; fd++)
		if (syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0) return escape_achieved("a descriptor");
	// a container's own filter may forbid the call, to the control too
	return errno == EPERM ? escape_refused("pidfd_getfd") : ESCAPE_NOTHING;
}

// Outside the end is awaited, which is sure to come; in the box there is nothing to await.
static int await_death_of(pid_t supervisor) {
	for (int i = 0; i < (escape_is_control() ? 2000 : 20); i++) {
		if (getppid() != supervisor) return escape_achieved("it is gone");
		(void)poll(NULL, 0, 5);
	}
	return ESCAPE_NOTHING;
}

static int kill_supervisor(void) {
	pid_t supervisor = getppid();
	for (int number = 1; number < 64; number++)
		if (number != SIGCHLD) (void)kill(supervisor, number);
	return await_death_of(supervisor);
}

static int kill_all(void) {
	pid_t supervisor = getppid();
	(void)kill(-1, SIGKILL);
	return await_death_of(supervisor);
}

static int see_others(void) {
	DIR *proc = opendir("/proc");
	int seen = 0;
	for (struct dirent *entry; proc && (entry = readdir(proc));) seen += strtol(entry->d_name, NULL, 10) > 0;
	if (proc) closedir(proc);
	return seen > 2 ? escape_achieved("others' processes") : ESCAPE_NOTHING;
}

// Everything that may be done to a process of one's own uid without tracing it.
static int hinder_supervisor(void) {
	(void)signal(SIGTERM, SIG_IGN);
	const struct rlimit none = {0, 0};
	(void)syscall(SYS_prlimit64, 1, RLIMIT_CPU, &none, NULL);
	(void)syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, &none, NULL);
	(void)syscall(SYS_prlimit64, 1, RLIMIT_FSIZE, &none, NULL);
	(void)syscall(SYS_prlimit64, 1, RLIMIT_AS, &none, NULL);
	(void)setpriority(PRIO_PROCESS, 1, 19);
	const struct sched_param param = {0};
	(void)sched_setscheduler(1, SCHED_IDLE, &param);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) break;
	(void)!write(STDOUT_FILENO, "hindering\n", strlen("hindering\n"));
	for (;;) {
	}
	return 0;
}

// ---- attacks on files

static int use_descriptors(void) {
	for (int fd = 3; fd < 65536; fd++)
		if (fcntl(fd, F_GETFD) >= 0) return escape_achieved("an inherited descriptor");
	return ESCAPE_NOTHING;
}

static int read_outside(void) {
	AUTO_CLOSE int fd = open(escape_outside("secret"), O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? escape_achieved("read") : ESCAPE_NOTHING;
}

static int write_outside(void) {
	AUTO_CLOSE int fd = open(escape_outside("written"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd >= 0 ? escape_achieved("written") : ESCAPE_NOTHING;
}

static int link_from_outside(void) {
	return link(escape_outside("secret"), "linked") == 0 ? escape_achieved("linked") : ESCAPE_NOTHING;
}

// The tree itself holds this one.
static int follow_link(void) {
	AUTO_CLOSE int fd = open("way-out", O_RDWR | O_CLOEXEC);
	return fd >= 0 ? escape_achieved("followed") : ESCAPE_NOTHING;
}

static int walk_out_by_dots(void) {
	static const char *const ways[] = {"", "/..", "/../../..", "/proc/self/root/..", "/proc/self/cwd/../../.."};
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		AUTO_FREE char *path = mem_format("%s%s", ways[i], escape_outside("secret"));
		if (access(path, F_OK) == 0) return escape_achieved(path);
	}
	return ESCAPE_NOTHING;
}

// A folder and a link to the outside change places, again and again; who looks first and opens then is led out.
static int win_link_race(void) {
	if (mkdir("race", 0700) != 0 || symlink(escape_outside(""), "race-link") != 0) return ESCAPE_NOTHING;
	pid_t pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (renameat2(AT_FDCWD, "race", AT_FDCWD, "race-link", RENAME_EXCHANGE) == 0)
			;
		_exit(0);
	}
	int result = ESCAPE_NOTHING;
	for (int i = 0; i < RACES && result == ESCAPE_NOTHING; i++) {
		struct stat info;
		if (lstat("race", &info) != 0 || !S_ISDIR(info.st_mode)) continue;
		if (access("race/secret", F_OK) == 0) result = escape_achieved("led out");
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return result;
}

static int look_around(void) {
	static const char *const places[] = {"/sys/kernel", "/sys/fs/cgroup", "/proc/kcore", "/var/lib/dpkg/status",
		"/etc/machine-id", "/boot", "/dev/kmsg", "/dev/mem", "/lost+found"};
	for (size_t i = 0; i < COUNT_OF(places); i++)
		if (access(places[i], R_OK) == 0) return escape_achieved(places[i]);
	return ESCAPE_NOTHING;
}

static int write_file_of_kernel(const char *path) {
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd >= 0 ? escape_achieved(path) : ESCAPE_NOTHING;
}

static int write_core_pattern(void) {
	return write_file_of_kernel("/proc/sys/kernel/core_pattern");
}

static int write_sysrq(void) {
	return write_file_of_kernel("/proc/sysrq-trigger");
}

// A disk, the kernel's memory, a tunnel. (What anybody may make, number 0, is no device: overlayfs marks removed files with it.)
static int make_node(void) {
	if (mknod("disk", S_IFBLK | 0600, makedev(8, 0)) == 0) return escape_achieved("a disk");
	if (mknod("memory", S_IFCHR | 0600, makedev(1, 1)) == 0) return escape_achieved("memory");
	if (mknod("tunnel", S_IFCHR | 0600, makedev(10, 200)) == 0) return escape_achieved("a tunnel");
	if (mknod("nothing", S_IFCHR | 0600, 0) == 0 && open("nothing", O_RDONLY) >= 0) return escape_achieved("number 0");
	return ESCAPE_NOTHING;
}

static int show_rights(void) {
	return geteuid() != getuid() || getegid() != getgid() ? escape_achieved("another's rights") : ESCAPE_NOTHING;
}

static int run_setuid_program(void) {
	struct stat own, its;
	if (escape_is_control() && stat(".", &own) == 0 && stat("attack-setuid", &its) == 0 && own.st_uid == its.st_uid) {
		errno = EPERM;
		return escape_refused("a file of another user");
	}
	struct statvfs place;
	if (escape_is_control() && statvfs(".", &place) == 0 && (place.f_flag & ST_NOSUID)) {
		errno = EPERM;
		return escape_refused("setuid on a file system mounted nosuid");
	}
	pid_t pid = fork();
	if (pid == 0) {
		(void)execl("./attack-setuid", "attack", "attack", "show-rights", NULL);
		_exit(ESCAPE_NOTHING);
	}
	int status;
	(void)waitpid(pid, &status, 0);
	return WEXITSTATUS(status) == ESCAPE_ACHIEVED ? escape_achieved("setuid") : ESCAPE_NOTHING;
}

// ---- attacks on what the kernel shares

static int connect_abstract(void) {
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	socklen_t length = escape_abstract_address(getenv("ESCAPE_OUTSIDE"), &address);
	return connect(fd, (struct sockaddr *)&address, length) == 0 ? escape_achieved("connected") : ESCAPE_NOTHING;
}

// Numbers can be guessed; this one's stands in the tree.
static int attach_segment(void) {
	char text[32] = "";
	AUTO_CLOSE int fd = open("segment", O_RDONLY | O_CLOEXEC);
	(void)!read(fd, text, sizeof(text) - 1);
	void *memory = shmat((int)strtol(text, NULL, 10), NULL, SHM_RDONLY);
	return memory != (void *)-1 ? escape_achieved("another's segment") : ESCAPE_NOTHING;
}

static int leave_something(void) {
	AUTO_FREE char *path = mem_format("/tmp/left-%s", escape_unique(getenv("ESCAPE_OUTSIDE")));
	int memory = shm_open(path + strlen("/tmp"), O_CREAT | O_EXCL | O_RDWR, 0600);
	int file = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
	return memory < 0 || file < 0 ? escape_achieved("of an earlier job") : ESCAPE_NOTHING;
}

static const char root_only[] = "the kernel asks for root";

// A line of one of these has an address of the kernel's own code: what an exploit would begin with. Zeros are none.
static bool shows_addresses(const char *path) {
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	char line[1024];
	while (file && fgets(line, sizeof(line), file)) {
		const char *hexadecimal = strstr(line, "0x");
		if (strtoull(hexadecimal ? hexadecimal : line, NULL, 16) > UINT32_MAX) return true;
	}
	return false;
}

static int read_kernel_addresses(void) {
	if (shows_addresses("/proc/kallsyms")) return escape_achieved("the kernel's symbols");
	if (shows_addresses("/proc/modules")) return escape_achieved("its modules");
	errno = EPERM;
	return escape_refused("no address is shown");
}

static const struct escape escapes[] = {
	{.name = "the_supervisor's_memory_cannot_be_read", .fn = read_memory, .weakest = SANDBOX_NONE},
	{.name = "the_supervisor's_memory_cannot_be_opened_for_writing",
		.fn = open_memory_for_writing,
		.weakest = SANDBOX_NONE},
	{.name = "the_supervisor's_environment_descriptors_and_folders_cannot_be_read",
		.fn = look_into_supervisor,
		.weakest = SANDBOX_NONE},
	{.name = "the_supervisor_cannot_be_traced", .fn = trace, .weakest = SANDBOX_NONE},
	{.name = "the_supervisor_cannot_be_read_by_process_vm_readv", .fn = read_by_call, .weakest = SANDBOX_NONE},
	{.name = "no_descriptor_can_be_taken_from_the_supervisor", .fn = take_descriptor, .weakest = SANDBOX_NONE},
	{.name = "the_supervisor_cannot_be_killed", .fn = kill_supervisor, .weakest = SANDBOX_REDUCED},
	{.name = "kill_minus_one_does_not_reach_the_supervisor", .fn = kill_all, .weakest = SANDBOX_REDUCED, .own_user = true},
	{.name = "no_other's_process_can_be_seen", .fn = see_others, .weakest = SANDBOX_REDUCED},
	{.name = "no_descriptor_of_the_box_or_the_worker_reaches_the_job", .fn = use_descriptors, .weakest = SANDBOX_NONE},
	{.name = "no_file_outside_can_be_read", .fn = read_outside, .weakest = SANDBOX_REDUCED},
	{.name = "no_file_outside_can_be_written", .fn = write_outside, .weakest = SANDBOX_REDUCED},
	{.name = "no_file_outside_can_be_hard_linked", .fn = link_from_outside, .weakest = SANDBOX_REDUCED},
	{.name = "a_link_of_the_tree_leads_nowhere", .fn = follow_link, .weakest = SANDBOX_REDUCED},
	{.name = "no_way_leads_out_by_dots", .fn = walk_out_by_dots, .weakest = SANDBOX_REDUCED},
	{.name = "no_race_of_links_leads_out", .fn = win_link_race, .weakest = SANDBOX_REDUCED},
	{.name = "nothing_of_the_host's_own_is_to_be_seen", .fn = look_around, .weakest = SANDBOX_REDUCED},
	{.name = "core_pattern_cannot_be_written",
		.fn = write_core_pattern,
		.weakest = SANDBOX_REDUCED,
		.no_control = root_only},
	{.name = "sysrq_cannot_be_triggered", .fn = write_sysrq, .weakest = SANDBOX_REDUCED, .no_control = root_only},
	{.name = "the_kernel's_addresses_cannot_be_read", .fn = read_kernel_addresses, .weakest = SANDBOX_REDUCED},
	{.name = "no_device_node_can_be_made", .fn = make_node, .weakest = SANDBOX_REDUCED, .no_control = root_only},
	{.name = "a_setuid_program_gives_nothing", .fn = run_setuid_program, .weakest = SANDBOX_NONE},
	{.name = "abstract_sockets_of_the_host_are_out_of_reach", .fn = connect_abstract, .weakest = SANDBOX_REDUCED},
	{.name = "shared_memory_of_the_host_is_out_of_reach", .fn = attach_segment, .weakest = SANDBOX_REDUCED},
};

// Attacks of the tests below.
static const struct escape helpers[] = {
	{.name = "show-rights", .fn = show_rights},
	{.name = "leave-something", .fn = leave_something},
	{.name = HINDER, .fn = hinder_supervisor},
};

// ---- tests

static void restore_level(void) {
	rig_force(&suite.rig, suite.best);
}

static void a_job_that_hinders_pid_1_is_killed_all_the_same(void **state) {
	(void)state;
	restore_level();
	rig_require(&suite.rig, SANDBOX_REDUCED);
	static const char *const argv[] = {"./attack", "attack", HINDER, NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&suite.rig, &(struct rig_job){.argv = argv, .awaited = "hindering", .terminate_ms = 1, .kill_ms = 100},
		&result);
	assert_true(result.report.ran);
	assert_int_equal(result.report.signal, SIGKILL);
	assert_int_equal(rig_count_processes(HINDER), 0);
}

static void what_a_job_leaves_behind_is_not_there_for_the_next(void **state) {
	(void)state;
	restore_level();
	rig_require(&suite.rig, SANDBOX_REDUCED);
	char text[256];
	AUTO_FREE char *left = mem_format("/tmp/left-%s", escape_unique(suite.outside));
	int first = escape_outside_of_any_box("leave-something", text, sizeof(text));
	int second = escape_outside_of_any_box("leave-something", text, sizeof(text));
	(void)shm_unlink(left + strlen("/tmp"));
	(void)unlink(left);
	assert_int_equal(first, ESCAPE_NOTHING);
	assert_int_equal(second, ESCAPE_ACHIEVED);
	const struct escape leave = {.name = "leave-something"};
	escape_try(&leave, suite.best);
	escape_try(&leave, suite.best);
}

static void a_daemon_that_ignores_every_signal_dies_with_its_job(void **state) {
	(void)state;
	restore_level();
	AUTO_RESULT struct rig_result result;
	rig_shell(&suite.rig,
		"(trap '' TERM HUP INT; setsid sh -c 'setsid sleep 98761 >/dev/null 2>&1 &' ) & setsid nohup sleep 98761 >/dev/null 2>&1 & sleep 0.1; "
		"echo bye",
		&result);
	assert_string_equal(result.out, "bye\n");
	assert_int_equal(rig_count_processes("sleep 98761"), 0);
}

static void two_jobs_at_a_time_see_nothing_of_each_other(void **state) {
	(void)state;
	restore_level();
	rig_require(&suite.rig, SANDBOX_FULL);
	static const char *const argv[] = {
		"/bin/sh", "-c", "echo mine >/tmp/shared; sleep 0.5; ls /proc >/tmp/seen; grep -c '^[0-9]' /tmp/seen", NULL};
	static const char *const env[] = {NULL};
	struct rig_result first = {.loop = suite.rig.loop, .out = mem_zalloc(RIG_KEEP + 1), .err = mem_zalloc(RIG_KEEP + 1)};
	const struct sandbox_job job = {.slot = 1,
		.tree = suite.rig.tree,
		.argv = (char *const *)(uintptr_t)argv,
		.env = (char *const *)(uintptr_t)env,
		.limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done, .arg = &first};
	assert_int_equal(sandbox_start(suite.rig.sandbox, &job, &handlers, &first.run, NULL), 0);
	AUTO_RESULT struct rig_result second;
	rig_shell(
		&suite.rig, "sleep 0.2; cat /tmp/shared; kill -9 -1; ls /proc >/tmp/seen; grep -c '^[0-9]' /tmp/seen", &second);
	assert_non_null(strstr(second.err, "No such file"));
	while (!first.done) loop_run(suite.rig.loop);
	// pid 1, the shell and ls
	assert_string_equal(first.out, "3\n");
	assert_string_equal(second.out, "3\n");
	rig_result_clear(&first);
}

static bool wait_for_processes(const char *text, int least, int most) {
	for (int i = 0; i < 500; i++) {
		int found = rig_count_processes(text);
		if (found >= least && found <= most) return true;
		(void)poll(NULL, 0, 20);
	}
	return false;
}

static int count_entries(const char *folder, const char *prefix) {
	DIR *open_folder = opendir(folder);
	int found = 0;
	assert_non_null(open_folder);
	for (struct dirent *entry; (entry = readdir(open_folder));)
		found += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	closedir(open_folder);
	return found;
}

// A child of ours plays the worker.
static NORETURN void play_worker(struct rig *own) {
	rig_open_sandbox(own, SANDBOX_NONE);
	static const char *const argv[] = {"/bin/sh", "-c", "trap '' TERM HUP; echo up; sleep 98762 & sleep 98762", NULL};
	struct rig_result result;
	rig_run_job(own, &(struct rig_job){.argv = argv}, &result);
	_exit(0);
}

static void a_box_dies_with_its_worker_and_the_next_worker_cleans_up(void **state) {
	(void)state;
	struct rig own;
	rig_make_folder(&own);
	pid_t pid = fork();
	if (pid == 0) play_worker(&own);
	assert_true(wait_for_processes("sleep 98762", 3, 100));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(wait_for_processes("sleep 98762", 0, 0));
	rig_open_sandbox(&own, SANDBOX_NONE);
	AUTO_FREE char *boxes = mem_format("%s/boxes", own.dir);
	assert_int_equal(count_entries(boxes, ""), 1);
	const struct limits *limits = own.sandbox->maker.limits;
	for (size_t i = 0; i < limits->count; i++) {
		AUTO_FREE char *folder = mem_format("/proc/self/fd/%d", limits->own[i]);
		AUTO_FREE char *prefix = mem_format("%.*s-%d-",
			(int)(strchr(strchr(limits->prefix, '-') + 1, '-') - limits->prefix), limits->prefix, (int)pid);
		assert_int_equal(count_entries(folder, prefix), 0);
	}
	rig_close(&own);
}

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "attack") == 0) {
		int code = escape_main(escapes, COUNT_OF(escapes), argv[2]);
		return code == 99 ? escape_main(helpers, COUNT_OF(helpers), argv[2]) : code;
	}
	const struct CMUnitTest others[] = {
		cmocka_unit_test(a_job_that_hinders_pid_1_is_killed_all_the_same),
		cmocka_unit_test(what_a_job_leaves_behind_is_not_there_for_the_next),
		cmocka_unit_test(a_daemon_that_ignores_every_signal_dies_with_its_job),
		cmocka_unit_test(two_jobs_at_a_time_see_nothing_of_each_other),
		cmocka_unit_test(a_box_dies_with_its_worker_and_the_next_worker_cleans_up),
	};
	struct CMUnitTest tests[COUNT_OF(escapes) + COUNT_OF(others)];
	escape_tests(escapes, COUNT_OF(escapes), tests);
	memcpy(tests + COUNT_OF(escapes), others, sizeof(others));
	return cmocka_run_group_tests_name("what succeeds outside and fails in the box", tests, escape_setup, escape_teardown);
}
