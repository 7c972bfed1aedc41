#include "worker/fetch_place.h"

#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U // Linux 6.3
#endif

static int make_all(const char *path) {
	AUTO_FREE char *copy = mem_strdup(path);
	for (char *at = copy + 1; *at; at++) {
		if (*at != '/') continue;
		*at = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST) return -1;
		*at = '/';
	}
	// Searchable, so that the child and the slots reach what is theirs below; not to be listed.
	return mkdir(copy, 0711) < 0 && errno != EEXIST ? -1 : 0;
}

static int make_folder(int dir_fd, const char *name, mode_t mode, const struct fetch_config *config, struct error *error) {
	if (mkdirat(dir_fd, name, mode) < 0 && errno != EEXIST)
		return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: %s/%s", config->dir, name);
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: %s/%s", config->dir, name);
	if (config->uid != (uid_t)-1 && fchown(fd, config->uid, config->gid) < 0)
		return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: owner of %s/%s", config->dir, name);
	if (fchmod(fd, mode) < 0)
		return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: mode of %s/%s", config->dir, name);
	return 0;
}

// A uid of its own gets nowhere if a folder on the way is closed to it, and every fetch would fail with an obscure message.
static int check_reach(const char *dir, const struct fetch_config *config, struct error *error) {
	char path[PATH_MAX];
	if (config->uid == (uid_t)-1) return 0;
	if (!realpath(dir, path)) return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: %s", dir);
	for (size_t length = strlen(path); length > 0; length--) {
		struct stat status;
		if (path[length] != '\0' && path[length] != '/') continue;
		path[length] = '\0';
		if (stat(path, &status) < 0) return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: %s", path);
		bool reachable = status.st_uid == config->uid   ? status.st_mode & S_IXUSR
				 : status.st_gid == config->gid ? status.st_mode & S_IXGRP
								: status.st_mode & S_IXOTH;
		if (!reachable)
			return error_set(error, ERROR_INPUT,
				"WORKER_DIR: %s is closed to uid %u, under which repositories are fetched: chmod o+x %s", path,
				(unsigned)config->uid, path);
	}
	return 0;
}

int fetch_place_open(const struct fetch_config *config, int *dir_fd, struct error *error) {
	if (make_all(config->dir) < 0) return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: %s", config->dir);
	if (check_reach(config->dir, config, error) < 0) return -1;
	AUTO_CLOSE int fd = open(config->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: %s", config->dir);
	if (make_folder(fd, "mirrors", 0700, config, error) < 0 || make_folder(fd, "trees", 0750, config, error) < 0) return -1;
	*dir_fd = steal_fd(&fd);
	return 0;
}

static int copy_to_memory(int program_fd, off_t size) {
	int fd = (int)memfd_create("trabajos-fetch", MFD_CLOEXEC | MFD_EXEC);
	if (fd < 0 && errno == EINVAL) fd = memfd_create("trabajos-fetch", MFD_CLOEXEC);
	AUTO_CLOSE int copy = fd;
	off_t done = 0;
	while (copy >= 0 && done < size)
		if (sendfile(copy, program_fd, &done, (size_t)(size - done)) <= 0) return -1;
	if (copy < 0 || fchmod(copy, 0555) < 0) return -1;
	// The kernel executes no file that is open for writing.
	AUTO_FREE char *path = mem_format("/proc/self/fd/%d", copy);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int fetch_place_program(const struct fetch_config *config, int *program_fd, struct error *error) {
	struct stat status;
	AUTO_CLOSE int fd = open(config->program, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0) return error_set_errno(error, ERROR_INPUT, errno, "%s", config->program);
	bool executable = config->uid == (uid_t)-1 ? faccessat(fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS) == 0
						   : (status.st_mode & S_IXOTH) != 0;
	*program_fd = executable ? steal_fd(&fd) : copy_to_memory(fd, status.st_size);
	if (*program_fd < 0)
		return error_set_errno(error, ERROR_INPUT, errno, "%s: a copy that can be executed", config->program);
	return 0;
}
