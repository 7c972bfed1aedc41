#include "worker/fetch/store.h"

#include "lib/mem.h"
#include "worker/fetch/fault.h"
#include "worker/fetch/folder.h"
#include "worker/fetch/reply.h"
#include "worker/fetch/seal.h"
#include "worker/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define TREE_JSON_MAX 65536

static const char *boot_id(void) {
	static char id[64];
	AUTO_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 || id[0] ? 0 : read(fd, id, sizeof id - 1);
	if (got > 0) id[strcspn(id, "\n")] = '\0';
	return id;
}

// ---- finding

static char *read_text(int dir_fd, const char *name, size_t *length) {
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) return NULL;
	AUTO_FREE char *text = mem_zalloc(TREE_JSON_MAX + 1);
	*length = 0;
	for (;;) {
		ssize_t got = read(fd, text + *length, TREE_JSON_MAX - *length);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return NULL;
		if (got == 0) break;
		*length += (size_t)got;
	}
	futimens(fd, NULL); // last used
	return STEAL(text);
}

static bool is_current(const json_t *tree, const char *mirror, const char *commit) {
	const char *boot = json_text(tree, "boot"), *version = json_text(tree, "version");
	const char *ours = json_text(tree, "mirror"), *id = json_text(tree, "commit");
	return boot && *boot && strcmp(boot, boot_id()) == 0 && version && strcmp(version, TRABAJOS_VERSION) == 0 && ours &&
	       strcmp(ours, mirror) == 0 && id && strcmp(id, commit) == 0;
}

// Once for each tree in a worker's life: from then on the worker knows it by heart.
static bool is_sealed(int dir_fd, const char *commit, const json_t *tree) {
	char seal[DIGEST_TEXT];
	const char *known = json_text(tree, "seal");
	return known && seal_tree(dir_fd, commit, seal) == 0 && strcmp(seal, known) == 0;
}

json_t *store_find(int root_fd, const char *mirror, const char *commit) {
	AUTO_FREE char *folder = mem_format("trees/%s", mirror);
	AUTO_FREE char *name = mem_format("%s.json", commit);
	AUTO_CLOSE int dir_fd = folder_open(root_fd, folder);
	size_t length;
	if (dir_fd < 0) return NULL;
	AUTO_FREE char *text = read_text(dir_fd, name, &length);
	AUTO_JSON json_t *tree = NULL;
	struct stat status;
	if (!text || json_read(text, length, TREE_JSON_MAX, &tree, NULL) < 0 || !is_current(tree, mirror, commit)) return NULL;
	if (fstatat(dir_fd, commit, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(status.st_mode)) return NULL;
	return is_sealed(dir_fd, commit, tree) ? STEAL(tree) : NULL;
}

// ---- putting

static int describe_plan(int tree_fd, json_t *tree, struct outcome *outcome) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *looked_for = NULL;
	struct plan plan;
	int found = plan_detect(tree_fd, &plan, &looked_for, &error);
	if (found < 0 && error.kind != ERROR_INPUT) {
		outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "reading the run plan: %s", error_text(&error));
		return -1;
	}
	json_object_set_new(tree, "plan", found == 0 ? plan_json(&plan) : json_null());
	json_object_set_new(tree, "looked_for", reply_text(looked_for));
	json_object_set_new(tree, "plan_error", found < 0 ? reply_text(error_text(&error)) : json_null());
	if (found == 0) plan_clear(&plan);
	return 0;
}

static int write_text(int dir_fd, const char *name, const char *text) {
	size_t length = strlen(text);
	AUTO_CLOSE int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) return -1;
	while (length > 0) {
		ssize_t done = write(fd, text, length);
		if (done < 0 && errno == EINTR) continue;
		if (done < 0) return -1;
		text += done;
		length -= (size_t)done;
	}
	return 0;
}

// Another boot's tree, or one whose JSON was never written: moved aside at once, then removed.
static int clear_place(int dir_fd, const char *commit) {
	AUTO_FREE char *json = mem_format("%s.json", commit);
	AUTO_FREE char *gone = mem_format("%s.gone-%d", commit, (int)getpid());
	if (unlinkat(dir_fd, json, 0) < 0 && errno != ENOENT) return -1;
	if (renameat(dir_fd, commit, dir_fd, gone) < 0) return errno == ENOENT ? 0 : -1;
	return folder_remove(dir_fd, gone);
}

static int publish(int dir_fd, const char *fresh, const char *commit, const json_t *tree) {
	AUTO_FREE char *json = mem_format("%s.json", commit);
	AUTO_FREE char *fresh_json = mem_format("%s.json", fresh);
	AUTO_FREE char *text = json_write(tree);
	if (!text) {
		errno = EINVAL;
		return -1;
	}
	if (write_text(dir_fd, fresh_json, text) < 0 || clear_place(dir_fd, commit) < 0 ||
		renameat(dir_fd, fresh, dir_fd, commit) < 0 || renameat(dir_fd, fresh_json, dir_fd, json) < 0) {
		int number = errno;
		unlinkat(dir_fd, fresh_json, 0);
		errno = number;
		return -1;
	}
	return 0;
}

static int put_in(int dir_fd, const char *mirror, const char *commit, const char *fresh, git_repository *repository,
	const struct checkout_limits *limits, json_t *tree, bool *damaged, struct outcome *outcome) {
	struct checkout_sum sum;
	git_oid id;
	if (git_oid_fromstr(&id, commit) < 0) return fault_local(outcome, "reading a commit id");
	if (checkout_write(repository, &id, dir_fd, fresh, limits, &sum, damaged, outcome) < 0) return -1;
	json_object_set_new(tree, "boot", json_string(boot_id()));
	json_object_set_new(tree, "version", json_string(TRABAJOS_VERSION));
	json_object_set_new(tree, "commit", json_string(commit));
	json_object_set_new(tree, "mirror", json_string(mirror));
	json_object_set_new(tree, "tree", json_sprintf("trees/%s/%s", mirror, commit));
	json_object_set_new(tree, "bytes", json_integer(sum.bytes));
	json_object_set_new(tree, "files", json_integer(sum.files));
	char seal[DIGEST_TEXT];
	if (seal_tree(dir_fd, fresh, seal) < 0) return fault_errno(outcome, "reading the tree", errno);
	json_object_set_new(tree, "seal", json_string(seal));
	AUTO_CLOSE int tree_fd = folder_open(dir_fd, fresh);
	if (tree_fd < 0) return fault_errno(outcome, "opening the tree", errno);
	if (describe_plan(tree_fd, tree, outcome) < 0) return -1;
	return publish(dir_fd, fresh, commit, tree) < 0 ? fault_errno(outcome, "writing the tree", errno) : 0;
}

int store_put(int root_fd, const char *mirror, const char *commit, git_repository *repository,
	const struct checkout_limits *limits, json_t **tree, bool *damaged, struct outcome *outcome) {
	AUTO_FREE char *folder = mem_format("trees/%s", mirror);
	AUTO_FREE char *fresh = mem_format("%s.tmp-%d", commit, (int)getpid());
	if (folder_make(root_fd, folder) < 0) return fault_errno(outcome, "making a folder for trees", errno);
	AUTO_CLOSE int dir_fd = folder_open(root_fd, folder);
	if (dir_fd < 0) return fault_errno(outcome, "opening a folder for trees", errno);
	if (folder_remove(dir_fd, fresh) < 0) return fault_errno(outcome, "clearing a folder", errno);
	AUTO_JSON json_t *described = json_object();
	if (put_in(dir_fd, mirror, commit, fresh, repository, limits, described, damaged, outcome) < 0) {
		// What cannot be removed now is swept by the next evict.
		if (folder_remove(dir_fd, fresh) < 0) return -1;
		return -1;
	}
	*tree = STEAL(described);
	return 0;
}
