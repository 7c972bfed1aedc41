// Trees that stand ready under WORKER_DIR/trees/<mirror>/<commit>, each with <commit>.json beside it: what is known of it, so
// that a second run looks nothing up. The JSON is written last; without it the tree does not count.
//
// A tree that is not what it was when it was written (seal.h) does not count either, and is written anew.
//
// Nothing is synced to disk: a tree counts only in the boot that wrote it (its JSON names the boot).
#pragma once

#include "lib/json.h"
#include "lib/resultado.h"
#include "worker/fetch/checkout.h"

// The tree's JSON (new reference) if it stands ready, marked as used now; else NULL.
json_t *store_find(int root_fd, const char *mirror, const char *commit) MUST_USE;
// Writes the tree and detects its plan. -1: outcome is set, nothing is left behind.
int store_put(int root_fd, const char *mirror, const char *commit, git_repository *repository,
	const struct checkout_limits *limits, json_t **tree, bool *damaged, struct outcome *outcome) MUST_USE;
