// The worker's knowledge of its trees: which answer belongs to a full commit id of a URL, and which trees are held by jobs.
#pragma once

#include "lib/json.h"

#include <stdbool.h>
#include <stddef.h>

struct fetch_trees;
struct fetch_trees *fetch_trees_new(int dir_fd) MUST_USE; // WORKER_DIR; not owned
void fetch_trees_free(struct fetch_trees *trees);

// Answers by URL and commit: a bounded table, the newer one of two that fall together stays.
void fetch_trees_remember(
	struct fetch_trees *trees, const char *url, const char *commit, json_t *answer);          // takes its own reference
json_t *fetch_trees_recall(const struct fetch_trees *trees, const char *url, const char *commit); // borrowed; NULL: not known
void fetch_trees_forget(struct fetch_trees *trees, const char *tree);

// A held tree is locked (flock) against eviction, by this worker or another that shares the folder, and marked as used now.
// False: it is not there (any more).
bool fetch_trees_hold(struct fetch_trees *trees, const char *tree) MUST_USE;
void fetch_trees_release(struct fetch_trees *trees, const char *tree);
json_t *fetch_trees_held(const struct fetch_trees *trees) MUST_USE; // array of names, new reference
