#include "worker/fetch/evict.h"

#include "lib/mem.h"
#include "worker/fetch/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define FRESH_S   60 // used so recently: its job may be about to take hold of it
#define DEPTH_MAX 100
#define EMPTY_S   3600 // a folder that stayed empty so long was made by a fetch that is over

struct item {
	char *folder; // "trees/<mirror>" or "mirrors"
	char *name;   // of the tree, or "<id>" of the mirror
	bool is_tree;
	int64_t bytes, used_at;
};

struct items {
	struct item *list;
	size_t count;
	int64_t bytes;
	int root_fd;
	int64_t now;
	bool locked;   // whether the lock of the mirror that is being looked at was tried
	int locked_fd; // -1: somebody else has it
};

typedef void each(struct items *items, const char *folder, int dir_fd, const char *name, const struct stat *status);

static bool has_suffix(const char *name, const char *suffix) {
	size_t length = strlen(name), tail = strlen(suffix);
	return length > tail && strcmp(name + length - tail, suffix) == 0;
}

static void for_each(struct items *items, const char *folder, each *fn) {
	int fd = folder_open(items->root_fd, folder);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0) close(fd);
		return;
	}
	for (const struct dirent *entry; (entry = readdir(dir));) {
		struct stat status;
		if (entry->d_name[0] != '.' && fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
			fn(items, folder, fd, entry->d_name, &status);
	}
	closedir(dir);
}

static void add(struct items *items, struct item item) {
	items->list = mem_resize(items->list, items->count + 1, sizeof *items->list);
	items->list[items->count++] = item;
	items->bytes += item.bytes;
}

// ---- what there is

static int64_t tree_bytes(int dir_fd, const char *json_name) {
	char text[65536];
	AUTO_JSON json_t *tree = NULL;
	AUTO_CLOSE int fd = openat(dir_fd, json_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text);
	int64_t bytes = 0;
	if (length < 0 || json_read(text, (size_t)length, sizeof text, &tree, NULL) < 0) return 0;
	return json_int(tree, "bytes", 0, INT64_MAX / 4, 0, &bytes, NULL) < 0 ? 0 : bytes;
}

// The trees of a mirror are written and moved with its lock held (serve.c): what is half there while it is ours was left by a
// process that died, however long ago.
static bool lock_mirror(struct items *items, const char *folder) {
	if (items->locked) return items->locked_fd >= 0;
	AUTO_FREE char *lock = mem_format("mirrors%s.lock", strrchr(folder, '/'));
	items->locked = true;
	items->locked_fd = folder_lock(items->root_fd, lock, 0);
	return items->locked_fd >= 0;
}

// A lock that stands for no mirror goes with us.
static void unlock_mirror(struct items *items, const char *folder) {
	AUTO_FREE char *lock = mem_format("mirrors%s.lock", strrchr(folder, '/'));
	AUTO_FREE char *mirror = mem_format("mirrors%s.git", strrchr(folder, '/'));
	if (items->locked_fd >= 0) {
		if (faccessat(items->root_fd, mirror, F_OK, AT_SYMLINK_NOFOLLOW) < 0) (void)unlinkat(items->root_fd, lock, 0);
		close(items->locked_fd);
	}
	items->locked = false;
	items->locked_fd = -1;
}

// Trees that are being written or removed, or were not described yet.
static bool is_half(int dir_fd, const char *name, const struct stat *status) {
	AUTO_FREE char *json = mem_format("%s.json", name);
	if (strstr(name, ".tmp-") || strstr(name, ".gone-")) return true;
	return S_ISDIR(status->st_mode) && faccessat(dir_fd, json, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
}

static void sweep(struct items *items, const char *folder, int dir_fd, const char *name, const struct stat *status) {
	bool ours = lock_mirror(items, folder);
	if (ours && !is_half(dir_fd, name, status)) return; // it was finished before the lock was free
	if (ours && folder_remove(dir_fd, name) == 0) return;
	items->bytes += (int64_t)status->st_blocks * 512;
	if (S_ISDIR(status->st_mode)) items->bytes += folder_bytes(dir_fd, name, DEPTH_MAX);
}

// <commit>.json stands for its tree.
static void each_in_mirror(struct items *items, const char *folder, int dir_fd, const char *name, const struct stat *status) {
	if (is_half(dir_fd, name, status)) {
		sweep(items, folder, dir_fd, name, status);
	} else if (has_suffix(name, ".json")) {
		char *commit = mem_strndup(name, strlen(name) - strlen(".json"));
		add(items, (struct item){mem_strdup(folder), commit, true, tree_bytes(dir_fd, name), status->st_mtim.tv_sec});
	}
}

static void each_tree_folder(struct items *items, const char *folder, int dir_fd, const char *name, const struct stat *status) {
	if (!S_ISDIR(status->st_mode)) return;
	AUTO_FREE char *path = mem_format("%s/%s", folder, name);
	for_each(items, path, each_in_mirror);
	unlock_mirror(items, path);
	if (items->now - status->st_ctim.tv_sec > EMPTY_S) (void)unlinkat(dir_fd, name, AT_REMOVEDIR); // if it is empty
}

static void each_mirror(struct items *items, const char *folder, int dir_fd, const char *name, const struct stat *status) {
	if (!has_suffix(name, ".git")) return;
	char *id = mem_strndup(name, strlen(name) - strlen(".git"));
	AUTO_FREE char *lock = mem_format("%s.lock", id);
	struct stat used;
	if (fstatat(dir_fd, lock, &used, AT_SYMLINK_NOFOLLOW) < 0) used = *status;
	add(items, (struct item){mem_strdup(folder), id, false, folder_bytes(dir_fd, name, 4), used.st_mtim.tv_sec});
}

static int compare(const void *left, const void *right) {
	const struct item *a = left, *b = right;
	if (a->is_tree != b->is_tree) return a->is_tree ? -1 : 1;
	return a->used_at < b->used_at ? -1 : a->used_at > b->used_at;
}

// ---- removing

static bool is_named(const json_t *in_use, const char *path) {
	size_t index;
	const json_t *name;
	json_array_foreach(in_use, index, name) {
		if (json_is_string(name) && strcmp(json_string_value(name), path) == 0) return true;
	}
	return false;
}

static bool remove_tree(int dir_fd, const char *commit) {
	AUTO_FREE char *json = mem_format("%s.json", commit);
	AUTO_FREE char *gone = mem_format("%s.gone-%d", commit, (int)getpid());
	AUTO_CLOSE int held = folder_open(dir_fd, commit);
	if (held >= 0 && flock(held, LOCK_EX | LOCK_NB) < 0) return false; // a job runs on it
	if (unlinkat(dir_fd, json, 0) < 0) return false;
	if (held < 0) return true;
	if (renameat(dir_fd, commit, dir_fd, gone) < 0) return false;
	return folder_remove(dir_fd, gone) == 0;
}

static bool remove_mirror(int dir_fd, const char *id) {
	AUTO_FREE char *lock = mem_format("%s.lock", id);
	AUTO_FREE char *repository = mem_format("%s.git", id);
	AUTO_CLOSE int held = folder_lock(dir_fd, lock, 0);
	if (held < 0) return false;
	bool removed = folder_remove(dir_fd, repository) == 0;
	if (removed && unlinkat(dir_fd, lock, 0) < 0) return false;
	return removed;
}

static bool remove_item(struct items *items, const struct item *item) {
	AUTO_CLOSE int dir_fd = folder_open(items->root_fd, item->folder);
	if (dir_fd < 0) return false;
	return item->is_tree ? remove_tree(dir_fd, item->name) : remove_mirror(dir_fd, item->name);
}

static void clear(struct items *items) {
	for (size_t i = 0; i < items->count; i++) {
		free(items->list[i].folder);
		free(items->list[i].name);
	}
	free(items->list);
}

int evict_run(const struct order *order, int root_fd, json_t **answer, struct error *error) {
	struct items items = {.root_fd = root_fd, .now = (int64_t)time(NULL), .locked_fd = -1};
	json_t *removed = json_array();
	size_t length = 0;
	(void)error;
	for_each(&items, "trees", each_tree_folder);
	for_each(&items, "mirrors", each_mirror);
	if (items.count > 0) qsort(items.list, items.count, sizeof *items.list, compare);
	for (size_t i = 0; i < items.count && items.bytes > order->keep_bytes; i++) {
		const struct item *item = &items.list[i];
		AUTO_FREE char *path = mem_format("%s/%s", item->folder, item->name);
		if (items.now - item->used_at < FRESH_S || is_named(order->in_use, path) || !remove_item(&items, item))
			continue;
		items.bytes -= item->bytes;
		length += strlen(path) + 3;
		// The answer is a line of 64 KiB; whoever needs the names of thousands does not exist.
		if (item->is_tree && length < 48000) json_array_append_new(removed, json_string(path));
	}
	*answer = json_pack("{s:b, s:o, s:I}", "ok", 1, "removed", removed, "bytes", (json_int_t)items.bytes);
	clear(&items);
	return 0;
}
