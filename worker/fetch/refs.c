#include "worker/fetch/refs.h"

#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define HEX 40

bool refs_is_commit_id(const char *ref) {
	return ref && strlen(ref) == HEX && strspn(ref, "0123456789abcdefABCDEF") == HEX;
}

bool refs_is_mirrored(const char *name) {
	return strncmp(name, "refs/heads/", 11) == 0 || strncmp(name, "refs/tags/", 10) == 0;
}

static const git_remote_head *find(const git_remote_head *const *heads, size_t count, const char *name) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(heads[i]->name, name) == 0) return heads[i];
	return NULL;
}

const git_remote_head *refs_pick(const git_remote_head *const *heads, size_t count, const char *ref) {
	static const char *const folders[] = {"refs/heads/", "refs/tags/", "refs/"};
	if (!ref || strcmp(ref, "HEAD") == 0) return find(heads, count, "HEAD");
	if (strncmp(ref, "refs/", 5) == 0) return find(heads, count, ref);
	for (size_t i = 0; i < COUNT_OF(folders); i++) {
		AUTO_FREE char *name = mem_format("%s%s", folders[i], ref);
		const git_remote_head *head = find(heads, count, name);
		if (head) return head;
	}
	return NULL;
}

// ---- the file

struct line {
	const char *name;
	const git_oid *id;
};

static int compare(const void *left, const void *right) {
	const struct line *a = left, *b = right;
	return strcmp(a->name, b->name);
}

static const char *name_in_mirror(const git_remote_head *head, const git_remote_head *picked) {
	int valid = 0;
	if (head == picked && strcmp(head->name, "HEAD") == 0) return "refs/trabajos/HEAD";
	if (head != picked && !refs_is_mirrored(head->name)) return NULL;
	return git_reference_name_is_valid(&valid, head->name) == 0 && valid ? head->name : NULL;
}

static size_t collect(
	git_odb *odb, const git_remote_head *const *heads, size_t count, const git_remote_head *picked, struct line *lines) {
	size_t used = 0;
	for (size_t i = 0; i < count; i++) {
		const char *name = name_in_mirror(heads[i], picked);
		if (name && git_odb_exists(odb, &heads[i]->oid)) lines[used++] = (struct line){name, &heads[i]->oid};
	}
	qsort(lines, used, sizeof *lines, compare);
	return used;
}

static char *render(const struct line *lines, size_t count, size_t *length) {
	char *text = NULL;
	FILE *out = open_memstream(&text, length);
	if (!out) return NULL;
	fputs("# pack-refs with: sorted \n", out);
	for (size_t i = 0; i < count; i++) {
		char hex[HEX + 1] = "";
		if (i > 0 && strcmp(lines[i].name, lines[i - 1].name) == 0) continue; // a server that says a name twice
		git_oid_fmt(hex, lines[i].id);
		fprintf(out, "%s %s\n", hex, lines[i].name);
	}
	if (fclose(out) == 0) return text;
	free(text);
	return NULL;
}

static char *read_packed(git_repository *repository, size_t *length) {
	AUTO_FREE char *path = mem_format("%spacked-refs", git_repository_path(repository));
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0) return NULL;
	AUTO_FREE char *text = mem_zalloc((size_t)status.st_size + 1);
	*length = 0;
	while (*length < (size_t)status.st_size) {
		ssize_t got = read(fd, text + *length, (size_t)status.st_size - *length);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) return NULL;
		if (got == 0) break;
		*length += (size_t)got;
	}
	return STEAL(text);
}

static int replace(git_repository *repository, const char *text, size_t length) {
	AUTO_FREE char *path = mem_format("%spacked-refs", git_repository_path(repository));
	AUTO_FREE char *fresh = mem_format("%s.new", path);
	AUTO_CLOSE int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0) return -1;
	for (size_t done = 0; done < length;) {
		ssize_t wrote = write(fd, text + done, length - done);
		if (wrote < 0 && errno == EINTR) continue;
		if (wrote < 0) return -1;
		done += (size_t)wrote;
	}
	return rename(fresh, path);
}

int refs_write(git_repository *repository, const git_remote_head *const *heads, size_t count, const git_remote_head *picked) {
	git_odb *odb = NULL;
	size_t length = 0, old_length = 0;
	if (git_repository_odb(&odb, repository) < 0) {
		errno = EIO;
		return -1;
	}
	struct line *lines = mem_zalloc_array(count + 1, sizeof *lines);
	size_t used = collect(odb, heads, count, picked, lines);
	AUTO_FREE char *text = render(lines, used, &length);
	free(lines);
	git_odb_free(odb);
	AUTO_FREE char *old = read_packed(repository, &old_length);
	if (!text) return -1;
	bool same = old && old_length == length && memcmp(old, text, length) == 0;
	return same ? 0 : replace(repository, text, length);
}

int refs_read(git_repository *repository, git_oid **ids, size_t *count) {
	size_t length = 0, most = 1;
	AUTO_FREE char *text = read_packed(repository, &length);
	*ids = NULL;
	*count = 0;
	if (!text) return errno == ENOENT ? 0 : -1;
	for (size_t i = 0; i < length; i++) most += text[i] == '\n';
	*ids = mem_zalloc_array(most, sizeof **ids);
	for (const char *at = text; *at;) {
		size_t span = strcspn(at, "\n");
		if (span > HEX && at[HEX] == ' ' && git_oid_fromstrn(&(*ids)[*count], at, HEX) == 0) ++*count;
		at += span + (at[span] == '\n');
	}
	return 0;
}
