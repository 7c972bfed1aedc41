// Arguments that the kernel takes as 32 bits are compared as 32 bits: a comparison of the whole register is passed by garbage
// in its upper half (CVE-2019-10063).
#include "worker/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define X32_BIT      0x40000000U
#define IPC_SEMGET   2
#define IPC_MSGGET   13
#define IPC_SHMGET   23
#define PROTOCOL_SMC 256

// By name: one that no architecture has any more has no number, and is left out. Those that are younger than some libseccomp stand
// in `young` too.
static const char *const refused[] = {
	// mounts and roots
	"mount", "umount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig",
	"fsmount", "fspick", "mount_setattr",
	// namespaces; clone and unshare by their flags
	"setns",
	// other processes
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd",
	"move_pages", "migrate_pages",
	// large and young parts of the kernel
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key",
	"request_key", "fanotify_init", "fanotify_mark", "memfd_secret", "lookup_dcookie", "nfsservctl", "uselib", "vmsplice",
	"modify_ldt", "vm86", "vm86old", "iopl", "ioperm",
	// files by handle pass every folder's rights
	"open_by_handle_at",
	// the machine
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "get_kernel_syms",
	"query_module", "reboot", "swapon", "swapoff", "acct", "settimeofday", "stime", "clock_settime", "clock_settime64",
	"clock_adjtime", "clock_adjtime64", "adjtimex", "sethostname", "setdomainname", "quotactl", "quotactl_fd", "syslog",
	"vhangup", "_sysctl", "sysfs", "bdflush", "ustat"};

// Those that programs fall back from when they do not exist. io_setup: the number of contexts is one for the whole machine.
static const char *const missing[] = {"clone3", "io_setup", "statmount", "listmount", "listns"};

// Since Linux 5.1 a new call has the same number everywhere. Their rules stand before libseccomp's, where it does not know the name.
static const struct {
	const char *name;
	uint32_t number;
	int answer;
} young[] = {{"statmount", 457, ENOSYS}, {"listmount", 458, ENOSYS}, {"open_tree_attr", 467, EPERM}, {"listns", 470, ENOSYS}};

static const char *const holding_memory[] = {"memfd_create", "shmget", "semget", "msgget"};

// Families that a job may open; netlink only for the list of interfaces (getifaddrs).
#define FAMILY_LAST AF_NETLINK
static const int families_refused[] = {3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15};

static const uint64_t namespace_flags[] = {
	CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};

static int add(
	scmp_filter_ctx filter, uint32_t action, const char *name, unsigned count, const struct scmp_arg_cmp *arguments) {
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR) return 0;
	int result = seccomp_rule_add_array(filter, action, number, count, arguments);
	// A call that this architecture never had.
	return result == -EDOM || result == -EACCES ? 0 : result;
}

static int add_names(scmp_filter_ctx filter, int number, const char *const *names, size_t count) {
	int result = 0;
	for (size_t i = 0; i < count && result == 0; i++)
		result = add(filter, SCMP_ACT_ERRNO((uint32_t)number), names[i], 0, NULL);
	return result;
}

static int add_namespaces(scmp_filter_ctx filter) {
	int result = 0;
	for (size_t i = 0; i < COUNT_OF(namespace_flags) && result == 0; i++) {
		const struct scmp_arg_cmp flag = SCMP_A0(SCMP_CMP_MASKED_EQ, namespace_flags[i], namespace_flags[i]);
		result = add(filter, SCMP_ACT_ERRNO(EPERM), "clone", 1, &flag);
		if (result == 0) result = add(filter, SCMP_ACT_ERRNO(EPERM), "unshare", 1, &flag);
	}
	// In clone(2) this bit is part of the exit signal.
	const struct scmp_arg_cmp time = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWTIME, CLONE_NEWTIME);
	return result ? result : add(filter, SCMP_ACT_ERRNO(EPERM), "unshare", 1, &time);
}

// Bits above the lower 32 make the number larger than FAMILY_LAST, so that they are refused by the first rule.
static int add_sockets(scmp_filter_ctx filter) {
	const struct scmp_arg_cmp beyond = SCMP_A0(SCMP_CMP_GT, FAMILY_LAST, 0);
	int result = add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &beyond);
	for (size_t i = 0; i < COUNT_OF(families_refused) && result == 0; i++) {
		const struct scmp_arg_cmp family = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families_refused[i], 0);
		result = add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &family);
	}
	const struct scmp_arg_cmp pair = SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0);
	if (result == 0) result = add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socketpair", 1, &pair);
	const struct scmp_arg_cmp netlink[] = {
		SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0), SCMP_A2(SCMP_CMP_NE, 0 /* NETLINK_ROUTE */, 0)};
	if (result == 0) result = add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", COUNT_OF(netlink), netlink);
	// Since Linux 6.11 AF_SMC's sockets are also a protocol of these.
	static const uint64_t internet[] = {AF_INET, AF_INET6};
	for (size_t i = 0; i < COUNT_OF(internet) && result == 0; i++) {
		const struct scmp_arg_cmp smc[] = {
			SCMP_A0(SCMP_CMP_EQ, internet[i], 0), SCMP_A2(SCMP_CMP_MASKED_EQ, 0xffffffffU, PROTOCOL_SMC)};
		result = add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", COUNT_OF(smc), smc);
	}
	return result;
}

// Putting characters into a terminal's input: a way out where the job has a terminal of somebody else.
static int add_terminals(scmp_filter_ctx filter) {
	static const uint64_t requests[] = {TIOCSTI, TIOCLINUX};
	int result = 0;
	for (size_t i = 0; i < COUNT_OF(requests) && result == 0; i++) {
		const struct scmp_arg_cmp request = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffU, requests[i]);
		result = add(filter, SCMP_ACT_ERRNO(EPERM), "ioctl", 1, &request);
	}
	return result;
}

// Huge pages are set aside for somebody else on this machine, and no memory group counts them.
static int add_huge_pages(scmp_filter_ctx filter, bool uncharged_memory_refused) {
	const struct scmp_arg_cmp mapped = SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_HUGETLB, MAP_HUGETLB);
	const struct scmp_arg_cmp file = SCMP_A1(SCMP_CMP_MASKED_EQ, MFD_HUGETLB, MFD_HUGETLB);
	const struct scmp_arg_cmp segment = SCMP_A2(SCMP_CMP_MASKED_EQ, SHM_HUGETLB, SHM_HUGETLB);
	int result = add(filter, SCMP_ACT_ERRNO(EPERM), "mmap", 1, &mapped);
	if (uncharged_memory_refused) return result;
	if (result == 0) result = add(filter, SCMP_ACT_ERRNO(EPERM), "memfd_create", 1, &file);
	return result ? result : add(filter, SCMP_ACT_ERRNO(EPERM), "shmget", 1, &segment);
}

// The 32-bit entry of x86 has two calls whose arguments lie in memory, or are others': mmap (libraries use mmap2) and ipc, whose
// upper half is a version that the kernel ignores for most of what it does. What cannot be looked at is refused.
static int add_huge_pages_32(scmp_filter_ctx filter, bool uncharged_memory_refused) {
	const struct scmp_arg_cmp mapped = SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_HUGETLB, MAP_HUGETLB);
	const struct scmp_arg_cmp file = SCMP_A1(SCMP_CMP_MASKED_EQ, MFD_HUGETLB, MFD_HUGETLB);
	int result = add(filter, SCMP_ACT_ERRNO(ENOSYS), "mmap", 0, NULL);
	if (result == 0) result = add(filter, SCMP_ACT_ERRNO(EPERM), "mmap2", 1, &mapped);
	if (result == 0 && !uncharged_memory_refused) result = add(filter, SCMP_ACT_ERRNO(EPERM), "memfd_create", 1, &file);
	if (result == 0 && !uncharged_memory_refused) result = add(filter, SCMP_ACT_ERRNO(ENOSYS), "shmget", 0, NULL);
	static const uint64_t calls[] = {IPC_SHMGET, IPC_SEMGET, IPC_MSGGET};
	for (size_t i = 0; i < (uncharged_memory_refused ? COUNT_OF(calls) : 1) && result == 0; i++) {
		const struct scmp_arg_cmp call = SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffff, calls[i]);
		result = add(filter, SCMP_ACT_ERRNO(ENOSYS), "ipc", 1, &call);
	}
	return result;
}

static int add_all(scmp_filter_ctx filter, bool old_entry, bool uncharged_memory_refused) {
	int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (result == 0) result = add_names(filter, EPERM, refused, COUNT_OF(refused));
	if (result == 0) result = add_names(filter, ENOSYS, missing, COUNT_OF(missing));
	if (result == 0 && uncharged_memory_refused)
		result = add_names(filter, ENOSYS, holding_memory, COUNT_OF(holding_memory));
	if (result == 0) result = add_namespaces(filter);
	if (result == 0) result = add_sockets(filter);
	if (result == 0) result = add_terminals(filter);
	if (result == 0) result = (old_entry ? add_huge_pages_32 : add_huge_pages)(filter, uncharged_memory_refused);
	return result;
}

// A filter of its own for the 32-bit entry: some of its calls have other arguments. Taken over by the filter of the others.
static int add_old_entry(scmp_filter_ctx filter, uint32_t architecture, bool uncharged_memory_refused) {
	scmp_filter_ctx old = seccomp_init(SCMP_ACT_ALLOW);
	if (!old) return -ENOMEM;
	int result = seccomp_arch_add(old, architecture);
	if (result == 0) result = seccomp_arch_remove(old, SCMP_ARCH_NATIVE);
	if (result == 0) result = add_all(old, true, uncharged_memory_refused);
	if (result == 0) result = seccomp_merge(filter, old);
	if (result != 0) seccomp_release(old);
	return result;
}

static int add_architectures(scmp_filter_ctx filter, bool uncharged_memory_refused) {
	bool x86 = seccomp_arch_native() == SCMP_ARCH_X86_64, arm = seccomp_arch_native() == SCMP_ARCH_AARCH64;
	int result = x86 ? seccomp_arch_add(filter, SCMP_ARCH_X32) : 0;
	if (result == 0) result = add_all(filter, false, uncharged_memory_refused);
	if (result == 0 && x86) result = add_old_entry(filter, SCMP_ARCH_X86, uncharged_memory_refused);
	if (result == 0 && arm) result = add_old_entry(filter, SCMP_ARCH_ARM, uncharged_memory_refused);
	// A binary tree over the numbers instead of a list: each system call of a job passes here.
	if (result == 0) (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return result;
}

// The kernel takes both programs as one: whatever the first does not answer goes on into libseccomp's.
static int write_young(int file) {
	struct sock_filter program[2 + 2 * COUNT_OF(young)] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, nr)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT),
	};
	size_t count = 2;
	for (size_t i = 0; i < COUNT_OF(young); i++) {
		if (seccomp_syscall_resolve_name(young[i].name) != __NR_SCMP_ERROR) continue;
		program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, young[i].number, 0, 1);
		program[count++] = (struct sock_filter)BPF_STMT(
			BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((uint32_t)young[i].answer & SECCOMP_RET_DATA));
	}
	ssize_t bytes = (ssize_t)(count * sizeof(*program));
	return write(file, program, (size_t)bytes) == bytes ? 0 : -1;
}

static int export(scmp_filter_ctx filter, int *fd, struct error *error) {
	AUTO_CLOSE int file = memfd_create("trabajos-seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file < 0) return error_set_errno(error, ERROR_INTERNAL, errno, "seccomp: memfd");
	if (write_young(file) != 0) return error_set_errno(error, ERROR_INTERNAL, errno, "seccomp: write");
	int result = seccomp_export_bpf(filter, file);
	if (result != 0) return error_set_errno(error, ERROR_INTERNAL, -result, "seccomp: export");
	if (fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
		return error_set_errno(error, ERROR_INTERNAL, errno, "seccomp: seal");
	*fd = steal_fd(&file);
	return 0;
}

int seccomp_make(bool uncharged_memory_refused, int *fd, struct error *error) {
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter) return error_set(error, ERROR_INTERNAL, "seccomp: no memory");
	int result = add_architectures(filter, uncharged_memory_refused);
	if (result == 0)
		result = export(filter, fd, error);
	else
		(void)error_set_errno(error, ERROR_INTERNAL, -result, "seccomp: rules");
	seccomp_release(filter);
	return result == 0 ? 0 : -1;
}
