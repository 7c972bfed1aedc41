// A piece of a job's log as it came from the ledger, and its text as events: made once, shared by all who read it. One thread.
#pragma once

#include "lib/attr.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct log_chunk {
	int64_t seq, at_ms;
	int stream;                 // 1 standard output, 2 standard error
	size_t from, length;        // in data
	size_t event, event_length; // in events
};

// Chunks of one attempt, one behind the other: from_seq <= seq < to_seq.
struct log_block {
	unsigned holders;
	int64_t attempt, from_seq, to_seq;
	size_t count, room;
	struct log_chunk *chunks;
	char *data, *events; // events: NULL until somebody wants them
	size_t length, events_length;

	TAILQ_ENTRY(log_block) entry; // of whom it belongs to first
};

// With one holder. from_seq: what was asked for; to_seq follows from what is added.
struct log_block *log_block_new(int64_t attempt, int64_t from_seq) MUST_USE;
struct log_block *log_block_hold(struct log_block *block);
void log_block_drop(struct log_block *block); // NULL is fine
void log_block_add(
	struct log_block *block, int64_t seq, int stream, int64_t at_ms, const void *data, size_t length); // data: copied
size_t log_block_bytes(const struct log_block *block);
// Makes the events: each chunk is one of https://html.spec.whatwg.org/multipage/server-sent-events.html, "output", with the id
// ATTEMPT.SEQ. Bytes that are no UTF-8 are in base64.
void log_block_make_events(struct log_block *block);
// The first chunk from that seq on; count: none.
size_t log_block_find(const struct log_block *block, int64_t seq);
