// The kernel counts no call that it refused because a process had all its files open, and when a process's end is told its files
// are gone. But the last of them has a number of its own, one less than the bound, and programs begin to use a descriptor as soon
// as they have it. So the command loads a filter before it is executed, which all that it starts inherits: before such a call
// with that number the kernel asks here, and the process is looked at. The answer is always to go on.
//
// Nobody but who is at the bound is asked about, or waits: a call that waits can be interrupted (EINTR), and ends of processes,
// which would be the surest moment, must not be. Not seen are those that never do anything with their last descriptor but read, or
// that are 32-bit programs; the worker's sampler may see them.
#include "worker/init/filter.h"
#include "worker/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

// ---- the filter

static int load(int64_t bound, unsigned long flags) {
	struct sock_filter instructions[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		EQUALS(OWN_ARCH, 0, 15),
		LOAD(offsetof(struct seccomp_data, nr)),
		EQUALS(__NR_close, 8, 0),
		EQUALS(__NR_fstat, 7, 0),
		EQUALS(__NR_newfstatat, 6, 0),
		EQUALS(__NR_statx, 5, 0),
		EQUALS(__NR_fcntl, 4, 0),
		EQUALS(__NR_connect, 3, 0),
		EQUALS(__NR_bind, 2, 0),
		EQUALS(__NR_setsockopt, 1, 0),
		EQUALS(__NR_epoll_ctl, 2, 5),
		LOAD_ARGUMENT(0),
		GO_ON(1),
		LOAD_ARGUMENT(2),
		EQUALS(bound - 1, 0, 1),
		RETURN(SECCOMP_RET_USER_NOTIF),
		RETURN(SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = sizeof(instructions) / sizeof(*instructions), .filter = instructions};
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

int files_watch(int64_t bound) {
	// Where /proc cannot be seen there is nothing to look at.
	if (bound <= 0 || access("/proc/self/status", R_OK) != 0) return -1;
	// Whoever is looked at is interrupted by its death only (Linux 5.19).
	int listener = load(bound, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	return listener < 0 && errno == EINVAL ? load(bound, SECCOMP_FILTER_FLAG_NEW_LISTENER) : listener;
}

// ---- a look

// The table of descriptors has a power of two of places: most processes have too few for that many descriptors.
static int64_t count_places(pid_t pid) {
	char text[4096];
	(void)snprintf(text, sizeof(text), "/proc/%d/status", (int)pid);
	int fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	ssize_t length = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[length > 0 ? length : 0] = 0;
	// The process's own name comes first, and the kernel escapes line ends in it.
	const char *places = strstr(text, "\nFDSize:");
	return places ? strtoll(places + strlen("\nFDSize:"), NULL, 10) : 0;
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

void files_answer(int listener, int64_t bound, bool *found) {
	// The kernel's own structures may have grown.
	union {
		struct seccomp_notif question;
		struct seccomp_notif_resp answer;
		char room[1024];
	} said = {0};
	// Who asked may have been killed meanwhile.
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &said) != 0) return;
	pid_t pid = (pid_t)said.question.pid;
	uint64_t id = said.question.id;
	if (!*found) *found = count_places(pid) >= bound && count_open(pid) >= bound;
	memset(&said, 0, sizeof(said));
	said.answer = (struct seccomp_notif_resp){.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &said);
}
