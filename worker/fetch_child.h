// One process of trabajos-fetch: started without privileges and under limits, given one order, read for one line, killed when it
// takes too long. It may be started ahead of need: it then loads what takes long and waits.
#pragma once

#include "lib/error.h"
#include "lib/loop.h"
#include "lib/resultado.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fetch_child_config {
	int program_fd;
	uid_t uid; // (uid_t)-1: the worker's
	gid_t gid;
	int64_t file_bytes;   // largest file it may write
	int64_t memory_bytes; // of address space
	int64_t timeout_ms;   // from the order to the answer
	char *ca_variable;    // "GIT_CA_FILE=…" for its environment; NULL: the system's certificates alone
};

struct fetch_child;
// Once, from the loop; the child is freed after it. answer: the line, NUL-terminated, outcome NULL; or answer NULL and the
// outcome of its failure. A child that ended before it had an order: both NULL.
typedef void fetch_child_done(const char *answer, size_t length, const struct outcome *outcome, void *arg);

int fetch_child_start(struct loop *loop, const struct fetch_child_config *config, fetch_child_done *done, void *arg,
	struct fetch_child **child, struct error *error) MUST_USE;
// order: one line of JSON with its newline. -1: it is gone already, or the order is too long; done follows in the first case.
int fetch_child_order(struct fetch_child *child, const char *order) MUST_USE;
// Who is told of its end from now on.
void fetch_child_hand_over(struct fetch_child *child, fetch_child_done *done, void *arg);
void fetch_child_free(struct fetch_child *child); // kills it and waits for its end; done is not called; NULL is fine
