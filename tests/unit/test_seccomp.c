// The filter, loaded into child processes of the test itself: no box is needed.
#include "worker/seccomp.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int filter = -1, strict = -1;

static int setup(void **state) {
	(void)state;
	return seccomp_make(false, &filter, NULL) != 0 || seccomp_make(true, &strict, NULL) != 0;
}

static int teardown(void **state) {
	(void)state;
	close(filter);
	close(strict);
	return 0;
}

static void load(int fd) {
	static struct sock_filter instructions[4096];
	ssize_t length = pread(fd, instructions, sizeof(instructions), 0);
	const struct sock_fprog program = {
		.len = (unsigned short)((size_t)length / sizeof(*instructions)), .filter = instructions};
	if (length <= 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(90);
}

// Exit code of fn under the filter.
static int under(int fd, int (*fn)(void)) {
	pid_t pid = fork();
	if (pid == 0) {
		load(fd);
		_exit(fn());
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool answers(int number, long result) {
	return result == -1 && errno == number;
}

static bool map_fails(int flags) {
	void *memory = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
	return memory == MAP_FAILED && errno == EPERM;
}

static int try_refused(void) {
	int at = 1;
	const bool held[] = {
		answers(EPERM, mount("none", "/tmp", "tmpfs", 0, NULL)),
		answers(EPERM, syscall(SYS_open_by_handle_at, -1, NULL, 0)),
		answers(EPERM, ptrace(PTRACE_TRACEME, 0, NULL, NULL)),
		answers(EPERM, syscall(SYS_bpf, 0, NULL, 0)),
		answers(EPERM, syscall(SYS_keyctl, 0, 0, 0, 0, 0)),
		answers(EPERM, syscall(SYS_io_uring_setup, 1, NULL)),
		answers(EPERM, syscall(SYS_userfaultfd, 0)),
		answers(EPERM, syscall(SYS_unshare, CLONE_NEWUSER)),
		answers(EPERM, syscall(SYS_unshare, 0x80)),
		answers(EPERM, syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL, NULL)),
		answers(EPERM, syscall(SYS_setns, -1, 0)),
		answers(ENOSYS, syscall(SYS_clone3, NULL, 0)),
		answers(EPERM, syscall(SYS_ioctl, 0, TIOCSTI, "x")),
		answers(EPERM, syscall(SYS_ioctl, 0, TIOCSTI | 0xff00000000UL, "x")),
		answers(EPERM, syscall(SYS_ioctl, 0, TIOCLINUX, "x")),
		answers(EAFNOSUPPORT, socket(AF_PACKET, SOCK_RAW, 0)),
		answers(EAFNOSUPPORT, socket(38 /* AF_ALG */, SOCK_SEQPACKET, 0)),
		answers(EAFNOSUPPORT, socket(40 /* AF_VSOCK */, SOCK_STREAM, 0)),
		answers(EAFNOSUPPORT, syscall(SYS_socket, 38 | 0x100000000UL, SOCK_SEQPACKET, 0)),
		answers(EAFNOSUPPORT, socket(43 /* AF_SMC */, SOCK_STREAM, 0)),
		answers(EAFNOSUPPORT, socket(AF_INET, SOCK_STREAM, 256 /* SMC */)),
		answers(EAFNOSUPPORT, syscall(SYS_socket, AF_INET6, SOCK_STREAM, 256 | 0x100000000UL)),
		answers(EAFNOSUPPORT, socket(AF_NETLINK, SOCK_RAW, 12 /* NETFILTER */)),
		// Younger than some libseccomp.
		answers(ENOSYS, syscall(457 /* statmount */, NULL, NULL, 0, 0)),
		answers(ENOSYS, syscall(458 /* listmount */, NULL, NULL, 0, 0)),
		answers(EPERM, syscall(467 /* open_tree_attr */, -1, NULL, 0, NULL, 0)),
		answers(ENOSYS, syscall(470 /* listns */, NULL, NULL, 0, 0)),
		map_fails(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB),
		map_fails(MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT)),
	};
	for (size_t i = 0; i < COUNT_OF(held); i++, at++)
		if (!held[i]) return at;
	return 0;
}

static void *thread(void *arg) {
	return arg;
}

static int try_allowed(void) {
	int pair[2], number = 7;
	pthread_t made;
	void *result = NULL;
	if (pthread_create(&made, NULL, thread, &number) != 0 || pthread_join(made, &result) != 0 || result != &number)
		return 1;
	pid_t pid = fork();
	if (pid == 0) _exit(5);
	int status;
	if (waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 5) return 2;
	if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socket(AF_INET, SOCK_STREAM, 0) < 0 || socket(AF_INET6, SOCK_DGRAM, 0) < 0)
		return 3;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 4;
	struct if_nameindex *names = if_nameindex();
	if (!names) return 5;
	if_freenameindex(names);
	if (syscall(SYS_unshare, CLONE_FILES) != 0) return 6;
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || munmap(memory, 4096) != 0) return 8;
	return memfd_create("x", 0) >= 0 ? 0 : 7;
}

static int try_huge_pages(void) {
	if (!answers(EPERM, memfd_create("x", MFD_HUGETLB))) return 1;
	if (!answers(EPERM, syscall(SYS_shmget, 0 /* IPC_PRIVATE */, 2 << 20, 0600 | SHM_HUGETLB))) return 2;
	// The others are open.
	long segment = syscall(SYS_shmget, 0, 4096, 0600);
	if (segment < 0) return 3;
	return syscall(SYS_shmctl, segment, IPC_RMID, NULL) == 0 ? 0 : 4;
}

static int try_memory(void) {
	if (!answers(ENOSYS, memfd_create("x", 0))) return 1;
	if (!answers(ENOSYS, syscall(SYS_shmget, 1, 4096, 0600))) return 2;
	if (!answers(ENOSYS, syscall(SYS_semget, 0 /* IPC_PRIVATE */, 1, 0600))) return 3;
	return answers(ENOSYS, syscall(SYS_msgget, 0 /* IPC_PRIVATE */, 0600)) ? 0 : 4;
}

#ifdef __x86_64__
static long old_entry(long number, long first, long second) {
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second) : "memory");
	return result;
}

static long old_map(long flags) {
	long result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(192 /* mmap2 */), "b"(0), "c"(2 << 20), "d"(PROT_READ), "S"(flags), "D"(-1)
			 : "memory");
	return result;
}

static int try_old_memory(void) {
	if (old_map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB) != -EPERM) return 1;
	long mapped = old_map(MAP_PRIVATE | MAP_ANONYMOUS);
	if (mapped < 0 && mapped > -4096) return 2;
	if (old_entry(90 /* mmap, whose arguments lie in memory */, 0, 0) != -ENOSYS) return 3;
	if (old_entry(117 /* ipc */, 23 /* SHMGET */, 0) != -ENOSYS) return 4;
	if (old_entry(117, 23 | 0x10000 /* a version */, 0) != -ENOSYS) return 5;
	if (old_entry(395 /* shmget */, 0, 4096) != -ENOSYS) return 6;
	return old_entry(20 /* getpid */, 0, 0) == getpid() ? 0 : 7;
}

static int try_old_queues(void) {
	static const long calls[] = {2 /* SEMGET */, 13 /* MSGGET */};
	for (size_t i = 0; i < COUNT_OF(calls); i++)
		if (old_entry(117, calls[i], 0) != -ENOSYS || old_entry(117, calls[i] | 0x10000, 0) != -ENOSYS) return 1;
	return 0;
}

static int try_other_entries(void) {
	if (old_entry(310 /* unshare */, CLONE_NEWUSER, 0) != -EPERM) return 1;
	if (old_entry(26 /* ptrace */, 0, 0) != -EPERM) return 2;
	if (old_entry(359 /* socket */, 38, SOCK_SEQPACKET) != -EAFNOSUPPORT) return 3;
	if (old_entry(102 /* socketcall */, 1, 0) != -EAFNOSUPPORT) return 4;
	if (old_entry(20 /* getpid */, 0, 0) != getpid()) return 5;
	if (old_entry(457 /* statmount */, 0, 0) != -ENOSYS) return 7;
	if (old_entry(467 /* open_tree_attr */, 0, 0) != -EPERM) return 8;
	if (!answers(ENOSYS, syscall(0x40000000 | 458 /* listmount by x32 */, NULL, NULL, 0, 0))) return 9;
	if (!answers(EPERM, syscall(0x40000000 | 467, -1, NULL, 0, NULL, 0))) return 10;
	if (!answers(EPERM,
		    syscall(0x40000000 | SYS_mmap, NULL, 2 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0)))
		return 11;
	return answers(EPERM, syscall(0x40000000 | 321 /* bpf by x32 */, 0, NULL, 0)) ? 0 : 6;
}
#endif

static void what_reaches_beyond_the_box_is_refused(void **state) {
	(void)state;
	assert_int_equal(under(filter, try_refused), 0);
	assert_int_equal(under(strict, try_refused), 0);
}

static void what_programs_live_by_is_allowed(void **state) {
	(void)state;
	assert_int_equal(under(filter, try_allowed), 0);
	assert_int_equal(under(strict, try_allowed), 7);
}

static void memory_outside_of_processes_is_refused_where_nothing_counts_it(void **state) {
	(void)state;
	assert_int_equal(under(strict, try_memory), 0);
	assert_int_equal(under(filter, try_memory), 1);
}

static void huge_pages_are_refused(void **state) {
	(void)state;
	assert_int_equal(under(filter, try_huge_pages), 0);
}

static void the_other_entry_points_are_no_way_around(void **state) {
	(void)state;
#ifdef __x86_64__
	// A kernel without 32-bit calls answers the first of them by a signal.
	int code = under(filter, try_other_entries);
	if (code == 128 + SIGSEGV) skip();
	assert_int_equal(code, 0);
	assert_int_equal(under(filter, try_old_memory), 0);
	assert_int_equal(under(strict, try_old_memory), 0);
	assert_int_equal(under(strict, try_old_queues), 0);
#else
	skip();
#endif
}

static void the_filter_cannot_be_changed(void **state) {
	(void)state;
	assert_int_equal(pwrite(filter, "x", 1, 0), -1);
	assert_int_equal(ftruncate(filter, 0), -1);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_reaches_beyond_the_box_is_refused),
		cmocka_unit_test(what_programs_live_by_is_allowed),
		cmocka_unit_test(memory_outside_of_processes_is_refused_where_nothing_counts_it),
		cmocka_unit_test(huge_pages_are_refused),
		cmocka_unit_test(the_other_entry_points_are_no_way_around),
		cmocka_unit_test(the_filter_cannot_be_changed),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
