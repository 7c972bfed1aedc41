// Writes what was collected: content where it is kept, then the rows that name it. Blocks; for a thread.
#pragma once

#include "lib/blobs.h"
#include "lib/db.h"
#include "lib/task.h"
#include "worker/collected.h"

struct artifacts_write {
	const struct db_config *db;
	const struct blobs_config *store;
	int64_t most_bytes; // of an owner, in all; 0: no limit
	const char *key, *owner;
	int64_t attempt;
	struct collected *collected; // who had no room is named in its left_paths
	int file;
	// what came of it
	int64_t files, bytes;
	int64_t no_room;
	struct error error; // not stored, and why
};

// Tries again while the ledger is away, as the attempt's end will have to; the store outside of it for a bounded time.
void artifacts_write(struct artifacts_write *write, struct task *task);
void artifacts_write_clear(struct artifacts_write *write);
