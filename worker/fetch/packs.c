#include "worker/fetch/packs.h"

#include "lib/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define STEM_MAX 64 // "pack-" and 40 digits, or 64 of them

struct pack {
	char stem[STEM_MAX]; // without .pack and .idx
	int64_t bytes;
};

struct packs {
	struct pack *list;
	size_t count;
};

// "pack-…" of "pack-….idx"; false: another name.
static bool read_stem(const char *name, const char *suffix, char stem[STEM_MAX]) {
	size_t length = strlen(name), tail = strlen(suffix);
	if (strncmp(name, "pack-", 5) != 0 || length <= tail || length - tail >= STEM_MAX ||
		strcmp(name + length - tail, suffix) != 0)
		return false;
	memcpy(stem, name, length - tail);
	stem[length - tail] = '\0';
	return true;
}

static bool is_there(int pack_fd, const char *stem, const char *suffix) {
	AUTO_FREE char *name = mem_format("%s%s", stem, suffix);
	return faccessat(pack_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

// Each of the two files without the other is what a process that was killed has left, and so is every other name.
static bool is_whole(int pack_fd, const char *name) {
	char stem[STEM_MAX];
	if (read_stem(name, ".idx", stem)) return is_there(pack_fd, stem, ".pack");
	return read_stem(name, ".pack", stem) && is_there(pack_fd, stem, ".idx");
}

static DIR *list(int pack_fd) {
	int fd = openat(pack_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0) close(fd);
	return dir;
}

int packs_sweep(int pack_fd, size_t *count) {
	DIR *dir = list(pack_fd);
	*count = 0;
	if (!dir) return -1;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		char stem[STEM_MAX];
		if (entry->d_name[0] == '.') continue;
		if (!is_whole(pack_fd, entry->d_name))
			unlinkat(pack_fd, entry->d_name, 0);
		else if (read_stem(entry->d_name, ".idx", stem))
			++*count;
	}
	closedir(dir);
	return 0;
}

// ---- merging

// The largest comes first.
static int compare(const void *left, const void *right) {
	const struct pack *a = left, *b = right;
	return a->bytes > b->bytes ? -1 : a->bytes < b->bytes;
}

static int read_packs(int pack_fd, struct packs *packs) {
	DIR *dir = list(pack_fd);
	if (!dir) return -1;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		struct pack pack;
		struct stat status;
		if (!read_stem(entry->d_name, ".pack", pack.stem) ||
			fstatat(pack_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		pack.bytes = status.st_size;
		packs->list = mem_resize(packs->list, packs->count + 1, sizeof *packs->list);
		packs->list[packs->count++] = pack;
	}
	closedir(dir);
	if (packs->count > 0) qsort(packs->list, packs->count, sizeof *packs->list, compare);
	return 0;
}

static int insert(const git_oid *id, void *builder) {
	return git_packbuilder_insert(builder, id, NULL);
}

static int insert_all(git_packbuilder *builder, const char *folder, const char *stem) {
	AUTO_FREE char *index = mem_format("%s/%s.idx", folder, stem);
	git_odb_backend *backend = NULL;
	git_odb *odb = NULL;
	if (git_odb_new(&odb) < 0) return -1;
	int done = git_odb_backend_one_pack(&backend, index);
	if (done == 0) done = git_odb_add_backend(odb, backend, 1); // its owner from here on
	if (done == 0) done = git_odb_foreach(odb, insert, builder);
	git_odb_free(odb);
	return done < 0 ? -1 : 0;
}

static int build(git_packbuilder *builder, const char *folder, const struct packs *packs) {
	git_packbuilder_set_threads(builder, 1); // the process may start none
	for (size_t i = 1; i < packs->count; i++)
		if (insert_all(builder, folder, packs->list[i].stem) < 0) return -1;
	return git_packbuilder_write(builder, folder, 0, NULL, NULL) < 0 ? -1 : 0;
}

// The index goes first: without it nobody looks for the pack. The new one may have an old one's name, where that held it all.
static void remove_old(int pack_fd, const struct packs *packs, const char *merged) {
	AUTO_FREE char *fresh = mem_format("pack-%s", merged);
	for (size_t i = 1; i < packs->count; i++) {
		if (strcmp(packs->list[i].stem, fresh) == 0) continue;
		AUTO_FREE char *index = mem_format("%s.idx", packs->list[i].stem);
		AUTO_FREE char *pack = mem_format("%s.pack", packs->list[i].stem);
		if (unlinkat(pack_fd, index, 0) == 0) unlinkat(pack_fd, pack, 0);
	}
}

int packs_merge(git_repository *repository, int pack_fd) {
	AUTO_FREE char *folder = mem_format("%sobjects/pack", git_repository_path(repository));
	struct packs packs = {0};
	git_packbuilder *builder = NULL;
	int done = read_packs(pack_fd, &packs);
	if (done == 0) done = git_packbuilder_new(&builder, repository);
	if (done == 0) done = build(builder, folder, &packs);
	if (done == 0) remove_old(pack_fd, &packs, git_packbuilder_name(builder));
	git_packbuilder_free(builder);
	free(packs.list);
	return done < 0 ? -1 : 0;
}
