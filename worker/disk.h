// Whether WORKER_DIR has room for another job: a worker whose disk is full claims nothing, says so, and goes on by itself when
// there is room again.
#pragma once

#include "lib/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct disk;

// least_bytes: what must be free; as much in inodes as a small repository needs. changed is called when the answer changes.
struct disk *disk_watch(
	struct loop *loop, const char *dir, int64_t least_bytes, void (*changed)(bool full, void *arg), void *arg) MUST_USE;
void disk_close(struct disk *disk); // NULL is fine
bool disk_full(const struct disk *disk);
