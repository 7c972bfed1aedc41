// What a job prints, on its way into the ledger: numbered chunks, kept up to a cap, then drained and counted.
#pragma once

#include "lib/db.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct output;

struct output *output_new(int64_t cap_bytes) MUST_USE;
void output_free(struct output *output); // NULL is fine
// stream 1 or 2; wall_ms: when it came. Chunks of one stream that come close together are joined.
void output_add(struct output *output, int stream, const char *data, size_t length, int64_t wall_ms);
int64_t output_bytes(const struct output *output); // all that came
int64_t output_kept(const struct output *output);

// Chunks of several attempts, with the number of the attempt beside each. The data stay the outputs'.
struct output_columns {
	size_t count, room;
	int64_t bytes;
	int64_t *numbers, *seqs, *streams, *moments;
	const void **data;
	size_t *lengths;
};
// Adds the chunks that are not acknowledged, in order, until there are most_bytes in the columns (at least one), and returns the
// mark up to which they reach: output_acknowledge(mark) when they are in the ledger. A chunk that was handed out grows no more.
// It ends where a character of UTF-8 does: the beginning of one waits for the rest, or for output_end.
int64_t output_gather(struct output *output, int64_t number, int64_t most_bytes, struct output_columns *columns);
void output_end(struct output *output); // nothing comes any more
// The arrays (number, seq, stream, at_ms, data).
void output_columns_params(const struct output_columns *columns, struct db_params *params);
void output_columns_clear(struct output_columns *columns);
void output_acknowledge(struct output *output, int64_t mark);
int64_t output_waiting_bytes(const struct output *output);
bool output_waiting(const struct output *output); // whether there is something to hand out
