// What a tree on disk holds, as one digest: SHA-256 over the names, kinds, modes and digests of a folder's entries, and so on down, as
// git's own trees are made. A tree whose seal is not the one that it was written with is not used.
#pragma once

#include "lib/attr.h"
#include "lib/digest.h"

// -1: errno. What a tree cannot hold (sockets, devices) has no seal.
int seal_tree(int dir_fd, const char *name, char seal[DIGEST_TEXT]) MUST_USE;
