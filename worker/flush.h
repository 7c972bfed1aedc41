// The output of running jobs on its way into the ledger: what several jobs have printed goes in one statement, one at a time.
// A job that somebody follows is written within a few milliseconds, and frontends are told; any other about once a second, or
// when it has printed a lot: a ledger full of chatty jobs that nobody watches costs next to nothing.
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct worker;
struct output;
struct flusher;

// One attempt's output; the caller's, from flush_add to flush_remove.
struct flush_entry {
	const char *key;
	int64_t attempt;
	struct output *output;

	LIST_ENTRY(flush_entry) entry; // the flusher's from here on
	bool added, followed, sent;
	int64_t since_ms; // when the first of what waits came; 0: nothing does
	int64_t sent_ms, mark;
};

struct flusher *flusher_new(struct worker *worker) MUST_USE;
void flusher_free(struct flusher *flusher); // NULL is fine; answers that come later are not heard
void flush_add(struct flusher *flusher, struct flush_entry *entry);
void flush_soon(struct flusher *flusher, struct flush_entry *entry); // something has been added to its output
// What is not acknowledged stays in the output. Again is fine.
void flush_remove(struct flusher *flusher, struct flush_entry *entry);
// Something about a job has changed in the ledger: whoever follows it shall hear of it.
void flush_news(struct flusher *flusher, const char *key);
