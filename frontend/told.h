// What clients were told of when their jobs will start: kept in the ledger in batches, beside the requests, so that the observer can
// score it (ranges_told in sql/0011-scores.sql). Bounded: what comes while the ledger takes none is counted as lost.
#pragma once

#include "lib/db.h"
#include "lib/loop.h"
#include "lib/uuid.h"

struct told;

struct told_range {
	char key[UUID_TEXT];
	int64_t attempt;         // the fence at that time
	int64_t at_ms;           // by the ledger's clock
	int64_t low_ms, high_ms; // from then on
};

struct told *told_open(struct loop *loop) MUST_USE;
void told_ledger(struct told *told, struct db_session *session); // as soon as there is one; it outlives its use here
void told_note(struct told *told, const struct told_range *range);
bool told_idle(struct told *told);  // nothing left to write; else writes it now
void told_close(struct told *told); // after the session; NULL is fine
