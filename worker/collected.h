// What a box says of its job's artifacts (frames of worker/init/spec.h), read from a pipe into a file. Blocks; for a thread.
#pragma once

#include "lib/digest.h"
#include "lib/json.h"

#include <stdbool.h>
#include <stdint.h>

struct collected_file {
	char *path;           // UTF-8 without control characters
	int64_t size, offset; // in the file
	char sha256[DIGEST_TEXT];
};

struct collected {
	struct collected_file *files;
	size_t count, room;
	int64_t bytes;      // in the file
	int64_t left;       // how many were left out
	json_t *left_paths; // the first of them: {"path","reason"}
	bool complete;      // the box said that this is all
	char *fault;        // why it was not read to its end; NULL: the box has ended before
};

struct collected_limits {
	int64_t bytes, files;
};

// Until the frames end. Nothing that comes makes it take more than the limits, which the box keeps by itself.
void collected_read(int pipe, int file, const struct collected_limits *limits, struct collected *collected);
void collected_clear(struct collected *collected);
