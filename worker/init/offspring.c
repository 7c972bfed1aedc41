// Without a pid namespace nothing in the kernel knows "everything that this job started". This process is the reaper of its
// descendants (PR_SET_CHILD_SUBREAPER), so that all of them hang below it in the tree of parents, double forks included.
#include "worker/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

struct process {
	pid_t pid, parent;
	bool ours;
};

// "pid (name) state ppid …": the name may hold anything, so it is skipped from behind.
static pid_t parent_of(int proc, const char *pid) {
	char path[64], text[512];
	(void)snprintf(path, sizeof(path), "%s/stat", pid);
	int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	ssize_t length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0) return -1;
	text[length] = 0;
	const char *end = strrchr(text, ')');
	return end && strlen(end) > 4 ? (pid_t)strtol(end + 4, NULL, 10) : -1;
}

static struct process *list_processes(size_t *count) {
	*count = 0;
	DIR *proc = opendir("/proc");
	if (!proc) return NULL;
	struct process *list = NULL;
	size_t room = 0;
	for (struct dirent *entry; (entry = readdir(proc));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid <= 0) continue;
		if (*count == room) {
			room = room ? room * 2 : 256;
			struct process *larger = reallocarray(list, room, sizeof(*list));
			if (!larger) break;
			list = larger;
		}
		list[(*count)++] = (struct process){.pid = pid, .parent = parent_of(dirfd(proc), entry->d_name)};
	}
	closedir(proc);
	return list;
}

static int by_pid(const void *a, const void *b) {
	pid_t x = ((const struct process *)a)->pid, y = ((const struct process *)b)->pid;
	return (x > y) - (x < y);
}

static bool is_ours(const struct process *list, size_t count, pid_t pid) {
	const struct process key = {.pid = pid};
	const struct process *found = bsearch(&key, list, count, sizeof(key), by_pid);
	return found && found->ours;
}

void offspring_kill(int signal) {
	size_t count;
	AUTO_FREE struct process *list = list_processes(&count);
	if (!list) return;
	qsort(list, count, sizeof(*list), by_pid);
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			if (list[i].ours) continue;
			list[i].ours = list[i].parent == getpid() || is_ours(list, count, list[i].parent);
			more = more || list[i].ours;
		}
	}
	for (size_t i = 0; i < count; i++)
		if (list[i].ours) (void)kill(list[i].pid, signal);
}
