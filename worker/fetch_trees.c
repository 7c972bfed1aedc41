#include "worker/fetch_trees.h"

#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PLACES 2048

struct known {
	char *url, *commit;
	json_t *answer;
};

struct hold {
	char *tree;
	int fd;
	size_t count;
	struct hold *next;
};

struct fetch_trees {
	int dir_fd;
	struct known known[PLACES];
	struct hold *holds;
};

struct fetch_trees *fetch_trees_new(int dir_fd) {
	struct fetch_trees *trees = mem_zalloc(sizeof *trees);
	trees->dir_fd = dir_fd;
	return trees;
}

static void forget(struct known *known) {
	free(known->url);
	free(known->commit);
	json_decref(known->answer);
	*known = (struct known){0};
}

static void hold_free(struct hold *hold) {
	close(hold->fd);
	free(hold->tree);
	free(hold);
}

void fetch_trees_free(struct fetch_trees *trees) {
	if (!trees) return;
	for (size_t i = 0; i < PLACES; i++) forget(&trees->known[i]);
	while (trees->holds) {
		struct hold *hold = trees->holds;
		trees->holds = hold->next;
		hold_free(hold);
	}
	free(trees);
}

// ---- answers

// FNV-1a; a table of ours that nobody gains by crowding: the worst is that a child is asked again.
static size_t place_of(const char *url, const char *commit) {
	uint64_t hash = 14695981039346656037U;
	for (const char *at = url; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211U;
	for (const char *at = commit; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211U;
	return (size_t)(hash % PLACES);
}

void fetch_trees_remember(struct fetch_trees *trees, const char *url, const char *commit, json_t *answer) {
	struct known *known = &trees->known[place_of(url, commit)];
	forget(known);
	*known = (struct known){mem_strdup(url), mem_strdup(commit), json_incref(answer)};
}

json_t *fetch_trees_recall(const struct fetch_trees *trees, const char *url, const char *commit) {
	const struct known *known = &trees->known[place_of(url, commit)];
	return known->url && strcmp(known->url, url) == 0 && strcmp(known->commit, commit) == 0 ? known->answer : NULL;
}

void fetch_trees_forget(struct fetch_trees *trees, const char *tree) {
	for (size_t i = 0; i < PLACES; i++) {
		const char *known = json_text(trees->known[i].answer, "tree");
		if (known && strcmp(known, tree) == 0) forget(&trees->known[i]);
	}
}

// ---- holds

static void touch(const struct fetch_trees *trees, const char *tree) {
	AUTO_FREE char *json = mem_format("%s.json", tree);
	(void)utimensat(trees->dir_fd, json, NULL, AT_SYMLINK_NOFOLLOW); // at worst it is evicted earlier
}

bool fetch_trees_hold(struct fetch_trees *trees, const char *tree) {
	for (struct hold *hold = trees->holds; hold; hold = hold->next)
		if (strcmp(hold->tree, tree) == 0) {
			hold->count++;
			return true;
		}
	AUTO_CLOSE int fd = openat(trees->dir_fd, tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0) return false;
	struct stat ours, named;
	// Evicted between open and lock: the name leads nowhere, or elsewhere.
	if (fstat(fd, &ours) < 0 || fstatat(trees->dir_fd, tree, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
		ours.st_ino != named.st_ino)
		return false;
	struct hold *hold = mem_zalloc(sizeof *hold);
	*hold = (struct hold){mem_strdup(tree), steal_fd(&fd), 1, trees->holds};
	trees->holds = hold;
	touch(trees, tree);
	return true;
}

void fetch_trees_release(struct fetch_trees *trees, const char *tree) {
	for (struct hold **at = &trees->holds; *at; at = &(*at)->next) {
		struct hold *hold = *at;
		if (strcmp(hold->tree, tree) != 0) continue;
		if (--hold->count == 0) {
			*at = hold->next;
			hold_free(hold);
		}
		return;
	}
}

json_t *fetch_trees_held(const struct fetch_trees *trees) {
	json_t *list = json_array();
	for (const struct hold *hold = trees->holds; hold; hold = hold->next)
		json_array_append_new(list, json_string(hold->tree));
	return list;
}
