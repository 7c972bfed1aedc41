#include "worker/fetch/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>

#define DEPTH_MAX 200 // deeper than any tree that checkout writes

int folder_open(int dir_fd, const char *name) {
	return openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int folder_make(int dir_fd, const char *name) {
	return mkdirat(dir_fd, name, 0750) < 0 && errno != EEXIST ? -1 : 0;
}

static DIR *list(int dir_fd, const char *name) {
	int fd = folder_open(dir_fd, name);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0) close(fd);
	return dir;
}

static bool is_dots(const char *name) {
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int remove_at(int dir_fd, const char *name, int depth);

static int empty_at(int dir_fd, const char *name, int depth) {
	DIR *dir = list(dir_fd, name);
	if (!dir) return -1;
	int done = 0;
	for (const struct dirent *entry; done == 0 && (entry = readdir(dir));)
		if (!is_dots(entry->d_name)) done = remove_at(dirfd(dir), entry->d_name, depth - 1);
	int number = errno;
	closedir(dir);
	errno = number;
	return done;
}

static int remove_at(int dir_fd, const char *name, int depth) {
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) return 0;
	if (errno != EISDIR && errno != EPERM) return -1;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0) return 0;
	if ((errno != ENOTEMPTY && errno != EEXIST) || depth == 0) return -1;
	return empty_at(dir_fd, name, depth) < 0 ? -1 : unlinkat(dir_fd, name, AT_REMOVEDIR);
}

int folder_empty(int dir_fd, const char *name) {
	return empty_at(dir_fd, name, DEPTH_MAX);
}

int folder_remove(int dir_fd, const char *name) {
	return remove_at(dir_fd, name, DEPTH_MAX);
}

int64_t folder_bytes(int dir_fd, const char *name, int depth) {
	int64_t bytes = 0;
	DIR *dir = list(dir_fd, name);
	if (!dir) return 0;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		struct stat status;
		if (is_dots(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0) continue;
		bytes += (int64_t)status.st_blocks * 512;
		if (S_ISDIR(status.st_mode) && depth > 0) bytes += folder_bytes(dirfd(dir), entry->d_name, depth - 1);
	}
	closedir(dir);
	return bytes;
}

static void interrupt(int signal) {
	(void)signal; // there only so that flock returns
}

// flock has no time limit of its own: a timer interrupts it, again and again lest it fires just before the wait begins.
static int flock_within(int fd, int64_t wait_ms) {
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
	if (errno != EWOULDBLOCK || wait_ms <= 0) return -1;
	struct sigaction action = {.sa_handler = interrupt}, before;
	struct itimerval timer = {
		.it_value = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000}, .it_interval = {.tv_usec = 100000}};
	const struct itimerval off = {0};
	sigaction(SIGALRM, &action, &before);
	setitimer(ITIMER_REAL, &timer, NULL);
	int done = flock(fd, LOCK_EX);
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &before, NULL);
	if (done < 0 && errno == EINTR) errno = EWOULDBLOCK;
	return done;
}

int folder_lock(int dir_fd, const char *name, int64_t wait_ms) {
	for (;;) {
		struct stat ours, theirs;
		int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0) return -1;
		if (flock_within(fd, wait_ms) < 0) {
			int number = errno;
			close(fd);
			errno = number;
			return -1;
		}
		// Whoever evicts a mirror removes its lock file while holding it: then the lock of the name is another one.
		if (fstat(fd, &ours) == 0 && fstatat(dir_fd, name, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
			ours.st_ino == theirs.st_ino)
			return fd;
		close(fd);
	}
}
