// Whether the boxes of a maker hold: starts one with small limits in which `trabajos-init probe` tries what must not be
// possible. Blocks for as long as that takes (some 50 ms), at the worker's start only.
#pragma once

#include "lib/error.h"
#include "worker/sandbox_box.h"

// hidden: the folder (WORKER_DIR) that must not be seen from inside. 0: it holds; -1: ERROR_UNAVAILABLE, the message says what
// could not be started, or what was possible. Sets the maker's landlock and no_landlock.
// Whether a box with egress (maker's rules) can be made, and holds; as above.
int probe_egress(struct box_maker *maker, struct error *error) MUST_USE;
int probe_box(struct box_maker *maker, const char *hidden, struct error *error) MUST_USE;
// What this machine is known to want for the message of a probe that failed; "" where nothing is known. Owned by the caller.
char *probe_remedy(const char *message) MUST_USE;
