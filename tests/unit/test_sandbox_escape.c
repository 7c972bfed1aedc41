// A job that wants out. The attacks are functions of this program, executed inside of the box; each returns 0 where it has
// achieved nothing and else says what it has.
#include "tests/unit/sandbox_rig.h"
#include "worker/limits_internal.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#define ABSTRACT_NAME "trabajos-test-abstract"

static struct rig rig;
static int host_socket = -1;

static int bad(const char *what) {
	printf("%s\n", what);
	return 1;
}

// ---- attacks

static int attack_descriptors(void) {
	for (int fd = 3; fd < 65536; fd++)
		if (write(fd, "{\"event\":\"ended\",\"status\":0}\n", 29) > 0 || fcntl(fd, F_GETFD) >= 0)
			return bad("an inherited descriptor");
	return 0;
}

static int attack_init_process(void) {
	char path[64];
	static const char *const names[] = {"mem", "environ", "maps", "fd/3", "fd/2", "root/etc", "cwd/.."};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		(void)snprintf(path, sizeof(path), "/proc/1/%s", names[i]);
		int fd = open(path, O_RDWR);
		if (fd < 0) fd = open(path, O_RDONLY);
		char byte;
		if (fd >= 0 && read(fd, &byte, 1) == 1) return bad(path);
	}
	if (ptrace(PTRACE_ATTACH, 1, NULL, NULL) == 0) return bad("ptrace of pid 1");
	if (ptrace(PTRACE_SEIZE, 1, NULL, NULL) == 0) return bad("ptrace of pid 1");
	char buffer[8];
	struct iovec mine = {buffer, sizeof(buffer)}, its = {(void *)0x10000, sizeof(buffer)};
	if (process_vm_readv(1, &mine, 1, &its, 1, 0) >= 0 || errno == EFAULT) return bad("process_vm_readv of pid 1");
	int pidfd = (int)syscall(SYS_pidfd_open, 1, 0);
	if (pidfd >= 0 && syscall(SYS_pidfd_getfd, pidfd, 3, 0) >= 0) return bad("pidfd_getfd of pid 1");
	for (int number = 1; number < 64; number++)
		if (number != SIGCHLD) (void)kill(1, number);
	return kill(1, 0) == 0 ? 0 : bad("pid 1 is gone");
}

// Everything that may be done to a process of one's own uid without tracing it.
static int attack_hinder_init(void) {
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
	for (;;) {
	}
	return 0;
}

static int attack_kill_all(void) {
	(void)kill(-1, SIGKILL);
	printf("alone\n");
	return 0;
}

static int attack_setuid_programs(void) {
	static const char *const programs[] = {
		"/usr/bin/su", "/usr/bin/mount", "/usr/bin/passwd", "/usr/bin/sudo", "/usr/bin/newgrp"};
	for (size_t i = 0; i < COUNT_OF(programs); i++) {
		struct stat info;
		if (stat(programs[i], &info) == 0 && (info.st_mode & S_ISUID) && info.st_uid == 0 && getuid() == 0)
			return bad("root");
	}
	// A setuid program of one's own, too: of nobody else's uid, and without effect.
	if (chmod("attack", 06755) == 0) {
		pid_t pid = fork();
		if (pid == 0) {
			(void)execl("./attack", "attack", "attack", "show-uid", NULL);
			_exit(98);
		}
		int status;
		(void)waitpid(pid, &status, 0);
		if (WEXITSTATUS(status) != 0) return bad("setuid worked");
	}
	return setuid(0) == 0 || setresuid(0, 0, 0) == 0 || setgid(0) == 0 ? bad("setuid(0)") : 0;
}

static int attack_show_uid(void) {
	return getuid() == 1000 && geteuid() == 1000 && getegid() == 1000 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0
															 : 1;
}

static int attack_abstract_socket(void) {
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path + 1, ABSTRACT_NAME, sizeof(ABSTRACT_NAME) - 1);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(ABSTRACT_NAME));
	return connect(fd, (struct sockaddr *)&address, length) == 0 ? bad("an abstract socket of the host") : 0;
}

static int attack_namespaces(void) {
	static const unsigned long flags[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
		CLONE_NEWUTS, CLONE_NEWCGROUP, CLONE_NEWUSER | CLONE_NEWNS, 0x80 /* CLONE_NEWTIME */};
	for (size_t i = 0; i < COUNT_OF(flags); i++) {
		if (syscall(SYS_unshare, flags[i]) == 0) return bad("unshare");
		// The upper half of the register is nothing to the kernel.
		if (syscall(SYS_unshare, flags[i] | 0x100000000UL) == 0) return bad("unshare with garbage");
	}
	int fd = open("/proc/1/ns/user", O_RDONLY);
	return fd >= 0 && setns(fd, 0) == 0 ? bad("setns") : 0;
}

static int attack_mounts(void) {
	if (mount("none", "/tmp", "tmpfs", 0, NULL) == 0) return bad("mount");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) == 0) return bad("remount");
	if (umount2("/proc", MNT_DETACH) == 0 || umount2("/", MNT_DETACH) == 0) return bad("umount");
	if (syscall(SYS_pivot_root, "/tmp", "/tmp") == 0 || chroot("/tmp") == 0) return bad("another root");
	if (mknod("/tmp/disk", S_IFBLK | 0600, 8 << 8) == 0) return bad("a device node");
	return 0;
}

// TIOCSTI with garbage in the upper half, 32-bit entry points, sockets of families of old trouble.
static int attack_filter(void) {
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (master >= 0) {
		errno = 0;
		if (syscall(SYS_ioctl, master, TIOCSTI, "x") == 0 || errno != EPERM) return bad("TIOCSTI");
		errno = 0;
		if (syscall(SYS_ioctl, master, TIOCSTI | 0x100000000UL, "x") == 0 || errno != EPERM)
			return bad("TIOCSTI with garbage");
	}
	if (syscall(SYS_socket, 38 | 0x100000000UL, SOCK_SEQPACKET, 0) >= 0) return bad("AF_ALG with garbage");
	if (socket(AF_NETLINK, SOCK_RAW, 9 /* audit */) >= 0) return bad("netlink audit");
#ifdef __x86_64__
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(310L /* unshare */), "b"((long)CLONE_NEWUSER) : "memory");
	if (result == 0) return bad("unshare by the 32-bit entry");
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(102L /* socketcall */), "b"(1L), "c"(0L) : "memory");
	if (result >= 0 || result == -EFAULT) return bad("socketcall by the 32-bit entry");
	if (syscall(SYS_bpf | 0x40000000L, 0, NULL, 0) >= 0) return bad("bpf by the x32 entry");
#endif
	return 0;
}

static int attack_look_around(void) {
	static const char *const secrets[] = {"/etc/shadow", "/root/.bashrc", "/var/lib/postgresql", "/home/user", "/sys/class",
		"/proc/kcore", "/proc/1/environ", "/dev/sda", "/dev/vda", "/dev/mem", "/dev/kmsg", "/run/docker.sock",
		"/var/run/docker.sock"};
	for (size_t i = 0; i < COUNT_OF(secrets); i++) {
		int fd = open(secrets[i], O_RDONLY | O_NONBLOCK);
		char byte;
		if (fd >= 0 && (read(fd, &byte, 1) == 1 || errno == EISDIR)) return bad(secrets[i]);
	}
	// Out of the root by its "..", and by links of /proc.
	if (access("/../../../etc/shadow", F_OK) == 0 || access("/proc/self/root/../etc/shadow", F_OK) == 0) return bad("..");
	static const char *const writable[] = {
		"/x", "/usr/x", "/etc/x", "/dev/x", "/proc/x", "/var/x", "/home/x", "/root/x", "/run/x", "/sys/x"};
	for (size_t i = 0; i < COUNT_OF(writable); i++)
		if (open(writable[i], O_CREAT | O_WRONLY, 0600) >= 0) return bad(writable[i]);
	return open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0 ? bad("core_pattern") : 0;
}

static int attack_leave_ipc(void) {
	int id = shmget(0x7ab, 4096, IPC_CREAT | IPC_EXCL | 0666);
	int fd = shm_open("/left", O_CREAT | O_EXCL | O_RDWR, 0666);
	int file = open("/tmp/left", O_CREAT | O_EXCL | O_RDWR, 0666);
	if (fd < 0 || file < 0) return bad("shared memory or a file of an earlier job");
	return id < 0 && errno == EEXIST ? bad("a segment of an earlier job") : 0;
}

static const struct attack attacks[] = {
	{"descriptors", attack_descriptors},
	{"init-process", attack_init_process},
	{"hinder-init", attack_hinder_init},
	{"kill-all", attack_kill_all},
	{"setuid-programs", attack_setuid_programs},
	{"show-uid", attack_show_uid},
	{"abstract-socket", attack_abstract_socket},
	{"namespaces", attack_namespaces},
	{"mounts", attack_mounts},
	{"filter", attack_filter},
	{"look-around", attack_look_around},
	{"leave-ipc", attack_leave_ipc},
};

// ---- tests

static int setup(void **state) {
	(void)state;
	rig_open(&rig, SANDBOX_NONE);
	host_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path + 1, ABSTRACT_NAME, sizeof(ABSTRACT_NAME) - 1);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(ABSTRACT_NAME));
	return bind(host_socket, (struct sockaddr *)&address, length) != 0 || listen(host_socket, 1) != 0;
}

static int teardown(void **state) {
	(void)state;
	close(host_socket);
	rig_close(&rig);
	return 0;
}

static void no_descriptor_of_the_box_or_the_worker_reaches_the_job(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	rig_attack_fails(&rig, "descriptors");
}

static void pid_1_of_the_box_cannot_be_read_traced_or_killed(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_FULL);
	rig_attack_fails(&rig, "init-process");
}

static void a_job_that_hinders_pid_1_is_killed_all_the_same(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	static const char *const argv[] = {"./attack", "attack", "hinder-init", NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .terminate_ms = 200, .kill_ms = 300}, &result);
	assert_true(result.report.ran);
	assert_int_equal(result.report.signal, SIGKILL);
	// Sooner where pid 1 itself died of it.
	assert_in_range(result.took_us, 0, 5000000);
	assert_int_equal(rig_count_processes("hinder-init"), 0);
}

static void kill_minus_one_reaches_nobody_else(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	AUTO_RESULT struct rig_result result;
	rig_attack(&rig, "kill-all", &result);
	assert_int_equal(result.report.exit_code, 0);
	assert_string_equal(result.out, "alone\n");
}

static void setuid_programs_give_nothing(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	rig_attack_fails(&rig, "setuid-programs");
}

static void abstract_sockets_of_the_host_are_out_of_reach(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	rig_attack_fails(&rig, "abstract-socket");
}

static void no_namespace_can_be_made_or_entered(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	rig_attack_fails(&rig, "namespaces");
}

static void nothing_can_be_mounted_and_no_device_made(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	rig_attack_fails(&rig, "mounts");
}

static void the_filter_holds_at_every_entry(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	rig_attack_fails(&rig, "filter");
}

static void nothing_of_the_host_is_to_be_found_or_written(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_FULL);
	rig_attack_fails(&rig, "look-around");
}

static void what_a_job_leaves_behind_is_not_there_for_the_next(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_REDUCED);
	rig_attack_fails(&rig, "leave-ipc");
	rig_attack_fails(&rig, "leave-ipc");
}

static void a_daemon_that_ignores_every_signal_dies_with_its_job(void **state) {
	(void)state;
	AUTO_RESULT struct rig_result result;
	rig_shell(&rig,
		"(trap '' TERM HUP INT; setsid sh -c 'setsid sleep 98761 >/dev/null 2>&1 &' ) & setsid nohup sleep 98761 >/dev/null 2>&1 & sleep 0.1; "
		"echo bye",
		&result);
	assert_string_equal(result.out, "bye\n");
	assert_int_equal(rig_count_processes("sleep 98761"), 0);
}

static void two_jobs_at_a_time_see_nothing_of_each_other(void **state) {
	(void)state;
	rig_require(&rig, SANDBOX_FULL);
	static const char *const argv[] = {
		"/bin/sh", "-c", "echo mine >/tmp/shared; sleep 0.5; ls /proc >/tmp/seen; grep -c '^[0-9]' /tmp/seen", NULL};
	static const char *const env[] = {NULL};
	struct rig_result first = {.loop = rig.loop, .out = mem_zalloc(RIG_KEEP + 1), .err = mem_zalloc(RIG_KEEP + 1)};
	const struct sandbox_job job = {.slot = 1,
		.tree = rig.tree,
		.argv = (char *const *)(uintptr_t)argv,
		.env = (char *const *)(uintptr_t)env,
		.limits = rig_limits()};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done, .arg = &first};
	assert_int_equal(sandbox_start(rig.sandbox, &job, &handlers, &first.run, NULL), 0);
	AUTO_RESULT struct rig_result second;
	rig_shell(&rig, "sleep 0.2; cat /tmp/shared; kill -9 -1; ls /proc >/tmp/seen; grep -c '^[0-9]' /tmp/seen", &second);
	assert_non_null(strstr(second.err, "No such file"));
	while (!first.done) loop_run(rig.loop);
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
	if (argc > 2 && strcmp(argv[1], "attack") == 0) return rig_main_attack(attacks, COUNT_OF(attacks), argv[2]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_descriptor_of_the_box_or_the_worker_reaches_the_job),
		cmocka_unit_test(pid_1_of_the_box_cannot_be_read_traced_or_killed),
		cmocka_unit_test(a_job_that_hinders_pid_1_is_killed_all_the_same),
		cmocka_unit_test(kill_minus_one_reaches_nobody_else),
		cmocka_unit_test(setuid_programs_give_nothing),
		cmocka_unit_test(abstract_sockets_of_the_host_are_out_of_reach),
		cmocka_unit_test(no_namespace_can_be_made_or_entered),
		cmocka_unit_test(nothing_can_be_mounted_and_no_device_made),
		cmocka_unit_test(the_filter_holds_at_every_entry),
		cmocka_unit_test(nothing_of_the_host_is_to_be_found_or_written),
		cmocka_unit_test(what_a_job_leaves_behind_is_not_there_for_the_next),
		cmocka_unit_test(a_daemon_that_ignores_every_signal_dies_with_its_job),
		cmocka_unit_test(two_jobs_at_a_time_see_nothing_of_each_other),
		cmocka_unit_test(a_box_dies_with_its_worker_and_the_next_worker_cleans_up),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
