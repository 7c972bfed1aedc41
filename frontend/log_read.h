// What the ledger knows of logs. The log of a job that took an earlier one's result is that job's.
#pragma once

#include "frontend/log_block.h"
#include "lib/db.h"
#include "lib/uuid.h"

#include <stdbool.h>

// ---- one job, before anything is sent

// $1 key, $2 owner, NULL: anybody's, $3 attempt, 0: the newest → none, or (status, attempt, outcome of the job; the attempt
// asked for, whether that is over, the seq behind the newest attempt's last chunk)
extern const struct db_statement log_read_look;
// $1 key, $2 attempt, $3 stream, 0: both → (bytes, bytes that were dropped)
extern const struct db_statement log_read_size;
// $1 key, $2 attempt, $3 stream, $4 bytes to skip → none, or (seq of the chunk that begins at or before there, bytes before it)
extern const struct db_statement log_read_seek;

// ---- pages

struct log_place {
	char key[UUID_TEXT];
	int64_t attempt, seq;
};

// What there is from a place on, and how things stood at the same moment.
struct log_page {
	struct log_block *block;      // NULL: nothing
	bool full;                    // there may be more
	bool known;                   // false: the job is gone, and nothing else is told
	const char *status, *outcome; // of the job
	int64_t job_attempt;
	bool over; // the attempt has ended
	const char *attempt_outcome;
	int64_t dropped; // bytes that the attempt printed beyond what is kept
};

// One page for each place, in their order; NULL: error says why not.
typedef void log_read_done(const struct log_page *pages, enum db_status status, const struct error *error, void *arg);
void log_read(struct db_session *session, const struct log_place *places, size_t count, log_read_done *done, void *arg);
