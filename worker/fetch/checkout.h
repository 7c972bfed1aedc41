// A commit's tree, written as files: no filters, no attributes, no hooks, submodules as empty folders, links as they stand and
// never followed. Own work instead of git_checkout_tree, which knows no caps and follows what it finds on the way.
#pragma once

#include "lib/attr.h"
#include "lib/resultado.h"
#include "worker/fetch/git.h"

#include <stdbool.h>
#include <stdint.h>

struct checkout_limits {
	int64_t bytes, files; // bytes as they lie on disk; files: every entry, folders and links too
};

struct checkout_sum {
	int64_t bytes, files;
};

// Makes the folder `name` in dir_fd, which must not exist. -1: outcome is set, *damaged says whether objects were missing or
// broken; what was written so far is for the caller to remove.
int checkout_write(git_repository *repository, const git_oid *commit, int dir_fd, const char *name,
	const struct checkout_limits *limits, struct checkout_sum *sum, bool *damaged, struct outcome *outcome) MUST_USE;
