// Which of a remote's refs is meant, and the mirror's record of them: one packed-refs file, written whole, instead of a file
// for each ref, so that a hundred thousand of them cost one inode and one rename.
#pragma once

#include "lib/attr.h"
#include "worker/fetch/git.h"

#include <stdbool.h>
#include <stddef.h>

bool refs_is_commit_id(const char *ref); // 40 hexadecimal digits
// The ref that a user's name means: NULL is HEAD; "refs/…" as it stands; else a branch, then a tag, then refs/NAME. NULL: none.
const git_remote_head *refs_pick(const git_remote_head *const *heads, size_t count, const char *ref) MUST_USE;
bool refs_is_mirrored(const char *name); // branches and tags

// Writes packed-refs of the repository's folder: the mirrored refs, and the picked one (NULL: none) under its own name or as
// refs/trabajos/HEAD, as far as their objects are there. 0, or -1 with errno.
int refs_write(
	git_repository *repository, const git_remote_head *const *heads, size_t count, const git_remote_head *picked) MUST_USE;
// The ids of packed-refs; owned by the caller. 0, or -1 with errno.
int refs_read(git_repository *repository, git_oid **ids, size_t *count) MUST_USE;
