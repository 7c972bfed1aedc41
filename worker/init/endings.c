// The kernel counts no call that it refused because a process had all its files open, and when a process's end is told, its files
// are gone. So a process that fails is looked at while it is about to end: a filter that the command loads before it is executed,
// and that all it starts inherits, has the kernel ask here before exit_group with a code other than 0, and before the signal
// of abort(). Whoever ends well is not asked about, and pays nothing; the answer is always to go on.
//
// What is looked at is the size of its table of descriptors, which doubles when it is full and never shrinks. With a bound of one
// more than a power of two only the last descriptor needs the last doubling: whoever had it is known for the rest of its life, even
// if it has closed all. With any other bound those are counted that are open still.
#include "worker/init/init.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

// ---- the filter

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset))
// The lower half: the kernel takes these arguments as 32 bits.
#define ARGUMENT(n)                (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t) + (BYTE_ORDER == BIG_ENDIAN ? 4 : 0))
#define EQUALS(value, then, other) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), then, other)
#define RETURN(action)             BPF_STMT(BPF_RET | BPF_K, action)
#define X32_BIT                    0x40000000U // the numbers are the same without it
// One kind of system calls; the second line decides exit_group, the third tgkill.
#define KIND(which, exit_group, tgkill)                                                                                        \
	LOAD(offsetof(struct seccomp_data, arch)), EQUALS(which, 0, 10), LOAD(offsetof(struct seccomp_data, nr)),              \
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT), EQUALS(exit_group, 0, 2), LOAD(ARGUMENT(0)),                    \
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0xff, 3, 4), EQUALS(tgkill, 0, 3), LOAD(ARGUMENT(2)),                     \
		EQUALS(SIGABRT, 0, 1), RETURN(SECCOMP_RET_USER_NOTIF), RETURN(SECCOMP_RET_ALLOW)

int endings_watch(void) {
	static const struct sock_filter instructions[] = {
#if defined(__x86_64__)
		KIND(AUDIT_ARCH_X86_64, 231, 234),
		KIND(AUDIT_ARCH_I386, 252, 270),
#elif defined(__aarch64__)
		KIND(AUDIT_ARCH_AARCH64, 94, 131),
		KIND(AUDIT_ARCH_ARM, 248, 268),
#endif
		RETURN(SECCOMP_RET_ALLOW)
	};
	const struct sock_fprog program = {
		.len = sizeof(instructions) / sizeof(*instructions), .filter = (struct sock_filter *)(uintptr_t)instructions};
	// Where /proc cannot be seen there is nothing to look at.
	if (access("/proc/self/status", R_OK) != 0) return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

// ---- a look

static ssize_t read_status(pid_t pid, char *text, size_t size) {
	(void)snprintf(text, size, "/proc/%d/status", (int)pid);
	int fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	ssize_t length = read(fd, text, size - 1);
	close(fd);
	text[length > 0 ? length : 0] = 0;
	return length;
}

static int64_t count_open(pid_t pid) {
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *folder = opendir(path);
	int64_t count = 0;
	for (struct dirent *entry; folder && (entry = readdir(folder));) count += entry->d_name[0] != '.';
	if (folder) closedir(folder);
	return count;
}

static bool had_all(pid_t pid, int64_t bound) {
	// The process's own name comes first, and the kernel escapes line ends in it.
	char text[4096];
	const char *places = read_status(pid, text, sizeof(text)) > 0 ? strstr(text, "\nFDSize:") : NULL;
	if (!places || strtoll(places + strlen("\nFDSize:"), NULL, 10) < bound) return false;
	return spec_bound_marks(bound) || count_open(pid) >= bound;
}

bool endings_look(int listener, int64_t bound) {
	// The kernel's own structures may have grown.
	union {
		struct seccomp_notif question;
		struct seccomp_notif_resp answer;
		char room[1024];
	} said = {0};
	// Who asked may have been killed meanwhile.
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &said) != 0) return false;
	bool found = had_all((pid_t)said.question.pid, bound);
	uint64_t id = said.question.id;
	memset(&said, 0, sizeof(said));
	said.answer = (struct seccomp_notif_resp){.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &said);
	return found;
}
