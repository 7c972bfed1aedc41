#include "lib/blobs.h"

#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define COPY_BYTES ((size_t)1 << 20)

// ---- names, which come from the ledger

static bool is_plain(const char *text, size_t most) {
	size_t length = strspn(text, "0123456789abcdef-");
	return length > 2 && length <= most && !text[length];
}

static int name_of(const struct blobs_object *object, char **name, struct error *error) {
	if (!is_plain(object->sha256, 64) || !is_plain(object->id, 36))
		return error_set(error, ERROR_INTERNAL, "artifacts: the name of an object is none");
	*name = mem_format("objects/%.2s/%s-%s", object->sha256, object->sha256, object->id);
	return 0;
}

// ---- the folder

static int fault(struct error *error, const struct blobs_config *config, const char *what) {
	return error_set_errno(error, ERROR_UNAVAILABLE, errno, "ARTIFACTS_DIR=%s: %s", config->dir, what);
}

static int open_top(const struct blobs_config *config, int *fd, struct error *error) {
	*fd = open(config->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? fault(error, config, "open") : 0;
}

// Not for others: what jobs leave belongs to their users.
static int make_folder(int top, const char *name) {
	return mkdirat(top, name, 0750) == 0 || errno == EEXIST ? 0 : -1;
}

static int copy(int from, int64_t offset, int64_t size, int to) {
	AUTO_FREE char *buffer = mem_zalloc(COPY_BYTES);
	while (size > 0) {
		size_t wanted = size < (int64_t)COPY_BYTES ? (size_t)size : COPY_BYTES;
		ssize_t length = pread(from, buffer, wanted, offset);
		if (length < 0 && errno == EINTR) continue;
		if (length == 0) errno = EIO;
		if (length <= 0) return -1;
		for (ssize_t done = 0; done < length;) {
			ssize_t written = write(to, buffer + done, (size_t)(length - done));
			if (written < 0 && errno == EINTR) continue;
			if (written < 0) return -1;
			done += written;
		}
		offset += length;
		size -= length;
	}
	return fsync(to);
}

static int sync_folder(int top, const char *name) {
	AUTO_CLOSE int folder = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 ? -1 : fsync(folder);
}

// From `incoming` into its place.
static int publish(int top, const char *incoming, const char *name) {
	AUTO_FREE char *folder = mem_strndup(name, strlen("objects/ab"));
	if (make_folder(top, "objects") != 0 || make_folder(top, folder) != 0) return -1;
	return renameat(top, incoming, top, name) == 0 ? sync_folder(top, folder) : -1;
}

static int put(const struct blobs_config *config, const struct blobs_object *object, const char *name, int file, int64_t offset,
	int64_t size, struct error *error) {
	AUTO_FREE char *incoming = mem_format("incoming/%s", object->id);
	AUTO_CLOSE int top = -1;
	if (open_top(config, &top, error) != 0) return -1;
	if (make_folder(top, "incoming") != 0) return fault(error, config, "make a folder");
	AUTO_CLOSE int to = openat(top, incoming, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (to < 0) return fault(error, config, "make a file");
	if (copy(file, offset, size, to) == 0 && publish(top, incoming, name) == 0) return 0;
	(void)fault(error, config, "write");
	(void)unlinkat(top, incoming, 0);
	return -1;
}

int blobs_put(const struct blobs_config *config, const struct blobs_object *object, int file, int64_t offset, int64_t size,
	struct error *error) {
	AUTO_FREE char *name = NULL;
	return name_of(object, &name, error) == 0 ? put(config, object, name, file, offset, size, error) : -1;
}

int blobs_open(const struct blobs_config *config, const struct blobs_object *object, int *fd, struct error *error) {
	AUTO_FREE char *name = NULL;
	AUTO_CLOSE int top = -1;
	if (!*config->dir) return error_set(error, ERROR_UNAVAILABLE, "ARTIFACTS_DIR is not set here");
	if (name_of(object, &name, error) != 0 || open_top(config, &top, error) != 0) return -1;
	*fd = openat(top, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? fault(error, config, "open an object") : 0;
}

int blobs_remove(const struct blobs_config *config, const struct blobs_object *object, struct error *error) {
	AUTO_FREE char *name = NULL, *incoming = mem_format("incoming/%s", object->id);
	AUTO_CLOSE int top = -1;
	if (name_of(object, &name, error) != 0 || open_top(config, &top, error) != 0) return -1;
	(void)unlinkat(top, incoming, 0);
	return unlinkat(top, name, 0) == 0 || errno == ENOENT ? 0 : fault(error, config, "remove an object");
}

// ---- for the daemons

int blobs_check(const struct blobs_config *config, struct error *error) {
	if (!*config->dir) return 0;
	if (*config->dir != '/') return error_set(error, ERROR_INPUT, "ARTIFACTS_DIR=%s: give an absolute path", config->dir);
	AUTO_CLOSE int top = -1;
	if (open_top(config, &top, error) == 0) return 0;
	error->kind = ERROR_INPUT;
	return -1;
}

const char *blobs_place(const struct blobs_config *config) {
	return *config->dir ? "folder" : "ledger";
}
