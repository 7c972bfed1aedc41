// Accepted jobs into the ledger, in batches across requests: one insert is under way at a time, what arrives meanwhile goes
// into the next. Knows no database: the insert is a port.
//
//     queued --kick--> [insert 0..n) --OK--------------------------> stored
//                        |  ^  `--BAD_DATA--> both halves, each by itself; a single bad row: later
//                        |  `-----RETRY (deadlock), a few times
//                        `--UNAVAILABLE, FAILED--------------------> later: a worker's ingest brings it from Kafka
#pragma once

#include "lib/ledger.h"

#include <stdbool.h>

struct batch;

struct batch_entry { // a member of the caller's; in the batch from batch_add to done
	const struct trabajo *trabajo;
	struct batch_entry *next;
	bool stored;
};

typedef void batch_inserted(enum db_status status, int64_t differing, const struct error *error, struct batch *batch);

struct batch_port {
	// Inserts rows [from, from + count); calls inserted exactly once, later, not from inside.
	void (*insert)(
		struct ledger_batch *rows, size_t from, size_t count, batch_inserted *inserted, struct batch *batch, void *arg);
	void (*done)(struct batch_entry *entry, bool stored, void *arg);
	void *arg;
};

struct batch *batch_new(const struct batch_port *port) MUST_USE;
void batch_free(struct batch *batch);                           // when nothing is under way; NULL is fine
void batch_add(struct batch *batch, struct batch_entry *entry); // does not insert yet
void batch_kick(struct batch *batch);                           // inserts what is queued, unless an insert is under way
// From now on entries are done as not stored without being tried; what is under way comes to its end.
void batch_stop(struct batch *batch);
