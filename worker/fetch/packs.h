// The packs of a mirror. Each fetch that brings something adds one, and each look-up of an object asks all of them.
#pragma once

#include "lib/attr.h"
#include "worker/fetch/git.h"

#include <stddef.h>

// Removes from the folder objects/pack what a killed fetch left half-written, and counts the packs. -1: errno.
int packs_sweep(int pack_fd, size_t *count) MUST_USE;
// Makes one pack of all but the largest one. The repository must be opened anew after it. -1: something cannot be read or written;
// what was there is there still.
int packs_merge(git_repository *repository, int pack_fd) MUST_USE;
