#include "worker/fetch/checkout.h"

#include "worker/fetch/fault.h"
#include "worker/fetch/folder.h"
#include "worker/fetch/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX   100
#define BLOCK_BYTES 4096
#define BLOB_MAX    ((int64_t)1 << 30) // a blob is held in memory while it is written

struct writer {
	git_repository *repository;
	git_odb *odb;
	const struct checkout_limits *limits;
	struct checkout_sum *sum;
	struct outcome *outcome;
	bool *damaged;
	bool measuring;     // the first of two rounds: everything is counted and judged before anything is written
	size_t path_length; // of the folder being written, as bytes of a path from the root
};

static int refuse(struct writer *writer, const char *what) {
	outcome_set(writer->outcome, OUTCOME_FETCH, BLAME_USER, "the repository's tree has %s", what);
	return -1;
}

static int too_much(struct writer *writer, const char *what) {
	outcome_set(writer->outcome, OUTCOME_FETCH, BLAME_LIMIT, "the repository's tree %s", what);
	return -1;
}

static int broken(struct writer *writer) {
	*writer->damaged = true;
	return fault_local(writer->outcome, "reading the repository's objects");
}

static int failed(struct writer *writer) {
	return fault_errno(writer->outcome, "writing the tree", errno);
}

// In the measuring round, so that neither a huge blob nor a folder shared a thousandfold costs a write.
static int account(struct writer *writer, int64_t bytes) {
	if (!writer->measuring) return 0;
	int64_t blocks = (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
	writer->sum->files++;
	writer->sum->bytes += blocks > 0 ? blocks : 0;
	if (writer->sum->files > writer->limits->files) return too_much(writer, "has too many files");
	if (bytes > BLOB_MAX || writer->sum->bytes > writer->limits->bytes) return too_much(writer, "is too large");
	return 0;
}

static int write_all(int fd, const char *data, size_t length) {
	while (length > 0) {
		ssize_t done = write(fd, data, length);
		if (done < 0 && errno == EINTR) continue;
		if (done < 0) return -1;
		data += done;
		length -= (size_t)done;
	}
	return 0;
}

static int write_file(struct writer *writer, int dir_fd, const char *name, mode_t mode, git_odb_object *object) {
	AUTO_CLOSE int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 && errno == EEXIST) return refuse(writer, "the same name twice");
	if (fd < 0 || write_all(fd, git_odb_object_data(object), git_odb_object_size(object)) < 0) return failed(writer);
	return 0;
}

static int write_link(struct writer *writer, int dir_fd, const char *name, git_odb_object *object) {
	const char *target = git_odb_object_data(object); // libgit2 ends every object with a NUL
	size_t length = git_odb_object_size(object);
	if (length == 0 || length >= PATH_MAX || memchr(target, '\0', length))
		return refuse(writer, "a symbolic link that is none");
	if (symlinkat(target, dir_fd, name) == 0) return 0;
	return errno == EEXIST ? refuse(writer, "the same name twice") : failed(writer);
}

static int measure_blob(struct writer *writer, const git_tree_entry *entry) {
	git_object_t type;
	size_t size;
	if (git_odb_read_header(&size, &type, writer->odb, git_tree_entry_id(entry)) < 0) return broken(writer);
	if (type != GIT_OBJECT_BLOB) return refuse(writer, "a file that is no blob");
	return account(writer, size > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)size);
}

static int write_blob(struct writer *writer, int dir_fd, const git_tree_entry *entry, git_filemode_t mode) {
	const char *name = git_tree_entry_name(entry);
	git_odb_object *object = NULL;
	if (writer->measuring) return measure_blob(writer, entry);
	if (git_odb_read(&object, writer->odb, git_tree_entry_id(entry)) < 0) return broken(writer);
	int done = mode == GIT_FILEMODE_LINK
			   ? write_link(writer, dir_fd, name, object)
			   : write_file(writer, dir_fd, name, mode == GIT_FILEMODE_BLOB_EXECUTABLE ? 0755 : 0644, object);
	git_odb_object_free(object);
	return done;
}

static int make_folder(struct writer *writer, int dir_fd, const char *name, int *fd) {
	if (writer->measuring) return 0;
	if (mkdirat(dir_fd, name, 0755) < 0) return errno == EEXIST ? refuse(writer, "the same name twice") : failed(writer);
	*fd = folder_open(dir_fd, name);
	return *fd < 0 ? failed(writer) : 0;
}

static int write_tree(struct writer *writer, int dir_fd, const git_oid *id, int depth);

static int write_folder(struct writer *writer, int dir_fd, const git_tree_entry *entry, git_filemode_t mode, int depth) {
	AUTO_CLOSE int fd = -1;
	if (depth == DEPTH_MAX) return too_much(writer, "is too deep");
	if (account(writer, BLOCK_BYTES) < 0 || make_folder(writer, dir_fd, git_tree_entry_name(entry), &fd) < 0) return -1;
	return mode == GIT_FILEMODE_COMMIT ? 0 : write_tree(writer, fd, git_tree_entry_id(entry), depth + 1);
}

static int write_entry(struct writer *writer, int dir_fd, const git_tree_entry *entry, int depth) {
	git_filemode_t mode = git_tree_entry_filemode(entry);
	const char *name = git_tree_entry_name(entry), *fault = path_fault(name);
	if (fault) return refuse(writer, fault);
	size_t before = writer->path_length;
	writer->path_length += strlen(name) + 1;
	if (writer->path_length >= PATH_MAX) return too_much(writer, "has too long a path");
	int done;
	switch (mode) {
	case GIT_FILEMODE_TREE:
	case GIT_FILEMODE_COMMIT:
		done = write_folder(writer, dir_fd, entry, mode, depth);
		break;
	case GIT_FILEMODE_BLOB:
	case GIT_FILEMODE_BLOB_EXECUTABLE:
	case GIT_FILEMODE_LINK:
		done = write_blob(writer, dir_fd, entry, mode);
		break;
	default:
		done = refuse(writer, "an entry of an unknown kind");
	}
	writer->path_length = before;
	return done;
}

static int write_tree(struct writer *writer, int dir_fd, const git_oid *id, int depth) {
	git_tree *tree = NULL;
	if (git_tree_lookup(&tree, writer->repository, id) < 0) return broken(writer);
	int done = 0;
	size_t count = git_tree_entrycount(tree);
	for (size_t i = 0; i < count && done == 0; i++)
		done = write_entry(writer, dir_fd, git_tree_entry_byindex(tree, i), depth);
	git_tree_free(tree);
	return done;
}

int checkout_write(git_repository *repository, const git_oid *commit_id, int dir_fd, const char *name,
	const struct checkout_limits *limits, struct checkout_sum *sum, bool *damaged, struct outcome *outcome) {
	struct writer writer = {.repository = repository, .limits = limits, .sum = sum, .outcome = outcome, .damaged = damaged};
	AUTO_CLOSE int fd = -1;
	git_commit *commit = NULL;
	*sum = (struct checkout_sum){.bytes = BLOCK_BYTES};
	if (git_commit_lookup(&commit, repository, commit_id) < 0 || git_repository_odb(&writer.odb, repository) < 0) {
		git_commit_free(commit);
		return broken(&writer);
	}
	writer.measuring = true;
	int done = write_tree(&writer, -1, git_commit_tree_id(commit), 0);
	writer.measuring = false;
	if (done == 0) done = make_folder(&writer, dir_fd, name, &fd);
	if (done == 0) done = write_tree(&writer, fd, git_commit_tree_id(commit), 0);
	git_odb_free(writer.odb);
	git_commit_free(commit);
	return done;
}
