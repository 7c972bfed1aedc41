#include "worker/fetch_ca.h"

#include "lib/certificate.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define SYSTEM_BUNDLE "/etc/ssl/certs/ca-certificates.crt" // Debian's ca-certificates
#define BYTES_MAX     ((off_t)16 << 20)

static char *read_whole(const char *path, size_t *length) {
	struct stat status;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status) < 0) return NULL;
	if (!S_ISREG(status.st_mode) || status.st_size > BYTES_MAX) {
		errno = S_ISREG(status.st_mode) ? EFBIG : EINVAL;
		return NULL;
	}
	AUTO_FREE char *text = mem_zalloc((size_t)status.st_size + 1);
	for (*length = 0; *length < (size_t)status.st_size;) {
		ssize_t got = read(fd, text + *length, (size_t)status.st_size - *length);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return NULL;
		if (got == 0) break;
		*length += (size_t)got;
	}
	return STEAL(text);
}

static bool write_whole(int fd, const char *text, size_t length) {
	while (length > 0) {
		ssize_t done = write(fd, text, length);
		if (done < 0 && errno == EINTR) continue;
		if (done < 0) return false;
		text += done;
		length -= (size_t)done;
	}
	return true;
}

int fetch_ca_prepare(const char *ca_file, const char *dir, int dir_fd, char **path, struct error *error) {
	size_t length = 0, common_length = 0;
	AUTO_FREE char *text = read_whole(ca_file, &length);
	if (!text) return error_set_errno(error, ERROR_INPUT, errno, "GIT_CA_FILE: %s", ca_file);
	if (certificate_check(text, length, error) < 0) return error_wrap(error, "GIT_CA_FILE: %s", ca_file);
	AUTO_FREE char *common = read_whole(SYSTEM_BUNDLE, &common_length);
	AUTO_CLOSE int fd = openat(dir_fd, "ca.pem.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || fchmod(fd, 0644) < 0 || (common && !write_whole(fd, common, common_length)) ||
		!write_whole(fd, "\n", 1) || !write_whole(fd, text, length) ||
		renameat(dir_fd, "ca.pem.new", dir_fd, "ca.pem") < 0)
		return error_set_errno(error, ERROR_UNAVAILABLE, errno, "WORKER_DIR: %s/ca.pem", dir);
	char real[PATH_MAX]; // the child starts elsewhere
	if (!realpath(dir, real)) return error_set_errno(error, ERROR_INPUT, errno, "WORKER_DIR: %s", dir);
	*path = mem_format("%s/ca.pem", real);
	return 0;
}
