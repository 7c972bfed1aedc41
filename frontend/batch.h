// Accepted jobs into the ledger, in batches across requests: what arrives while inserts are under way goes into the next.
// Several at a time hide the disk's time from each other, as the server flushes its log for all that wait for it; but small
// batches cost the server more than large ones, so that a further one waits for a lane or until enough have gathered.
// Knows no database: the insert is a port.
//
//     queued --kick--> [insert 0..n) --OK--------------------------> stored
//                        |  ^  `--BAD_DATA--> both halves, each by itself; a single bad row: later
//                        |  `-----RETRY (deadlock), a few times
//                        `--UNAVAILABLE, FAILED--------------------> later: a worker's ingest brings it from Kafka
#pragma once

#include "lib/ledger.h"

#include <stdbool.h>

struct batch;
struct batch_lane; // an insert under way, or the place for one

struct batch_entry { // a member of the caller's; in the batch from batch_add to done
	const struct trabajo *trabajo;
	struct batch_entry *next;
	bool stored;
	bool doubtful; // stored in an insert of which some keys were in the ledger already: this one's row may be another job
};

// known: rows that were there already, also those that another insert has put there meanwhile; differing: those of them that are
// seen to be another job.
typedef void batch_inserted(
	enum db_status status, int64_t known, int64_t differing, const struct error *error, struct batch_lane *lane);

struct batch_port {
	// Inserts rows [from, from + count); calls inserted exactly once, later, not from inside.
	void (*insert)(struct ledger_batch *rows, size_t from, size_t count, batch_inserted *inserted, struct batch_lane *lane,
		void *arg);
	void (*done)(struct batch_entry *entry, bool stored, void *arg);
	void *arg;
	size_t lanes;  // inserts at a time; 0: one
	size_t enough; // entries that are worth a further insert while one is under way
};

struct batch *batch_new(const struct batch_port *port) MUST_USE;
void batch_free(struct batch *batch);                           // when nothing is under way; NULL is fine
void batch_add(struct batch *batch, struct batch_entry *entry); // does not insert yet
void batch_kick(struct batch *batch);                           // inserts what is queued, where there is a lane for it
size_t batch_lane_number(const struct batch_lane *lane);        // from 0
// From now on entries are done as not stored without being tried; what is under way comes to its end.
void batch_stop(struct batch *batch);
