#include "worker/fetch/seal.h"

#include "lib/mem.h"
#include "worker/fetch/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define DEPTH_MAX 200 // deeper than any tree that checkout writes

static int seal_file(int dir_fd, const char *name, const struct stat *status, char digest[DIGEST_TEXT]) {
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	size_t length = (size_t)status->st_size;
	if (fd < 0) return -1;
	if (length == 0) {
		digest_sha256_hex("", 0, digest);
		return 0;
	}
	// Nobody writes to it: it is not cut off under the map.
	void *data = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (data == MAP_FAILED) return -1;
	digest_sha256_hex(data, length, digest);
	return munmap(data, length);
}

static int seal_link(int dir_fd, const char *name, char digest[DIGEST_TEXT]) {
	char target[PATH_MAX];
	ssize_t length = readlinkat(dir_fd, name, target, sizeof target);
	if (length < 0) return -1;
	digest_sha256_hex(target, (size_t)length, digest);
	return 0;
}

static int seal_folder(int dir_fd, const char *name, int depth, char digest[DIGEST_TEXT]);

static int seal_entry(FILE *lines, int dir_fd, const char *name, int depth) {
	struct stat status;
	char digest[DIGEST_TEXT];
	if (fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0) return -1;
	int done = -1;
	errno = EINVAL;
	if (S_ISREG(status.st_mode))
		done = seal_file(dir_fd, name, &status, digest);
	else if (S_ISLNK(status.st_mode))
		done = seal_link(dir_fd, name, digest);
	else if (S_ISDIR(status.st_mode) && depth > 0)
		done = seal_folder(dir_fd, name, depth - 1, digest);
	if (done < 0) return -1;
	fprintf(lines, "%o %s %s%c", (unsigned)status.st_mode, digest, name, '\0');
	return 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_entry(const struct dirent *entry) {
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int seal_folder(int dir_fd, const char *name, int depth, char digest[DIGEST_TEXT]) {
	AUTO_CLOSE int fd = folder_open(dir_fd, name);
	struct dirent **entries = NULL;
	AUTO_FREE char *text = NULL;
	size_t size = 0;
	int count = fd < 0 ? -1 : scandirat(fd, ".", &entries, is_entry, by_bytes);
	if (count < 0) return -1;
	FILE *lines = open_memstream(&text, &size);
	if (!lines) mem_die("out of memory");
	int done = 0, number = 0;
	for (int i = 0; i < count; i++) {
		if (done == 0 && (done = seal_entry(lines, fd, entries[i]->d_name, depth)) < 0) number = errno;
		free(entries[i]);
	}
	free(entries);
	if (fclose(lines) != 0) mem_die("out of memory");
	errno = number;
	if (done == 0) digest_sha256_hex(text, size, digest);
	return done;
}

int seal_tree(int dir_fd, const char *name, char seal[DIGEST_TEXT]) {
	return seal_folder(dir_fd, name, DEPTH_MAX, seal);
}
