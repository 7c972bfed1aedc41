// Putting accepted jobs into the ledger: what the frontend and the workers' ingest agree on. Never overwrites: rows are
// inserted ordered by key with ON CONFLICT DO NOTHING, whoever comes first wins, the status of a known job is never touched.
#pragma once

#include "lib/db.h"
#include "lib/resultado.h"
#include "lib/trabajo.h"

#define LEDGER_BATCH_MOST 1000 // rows a statement

// Columns of the result: one row (inserted bigint, differing bigint): rows that were new, and rows whose key is known with
// another fingerprint (the first one wins; the other is counted).
extern const struct db_statement ledger_insert;

struct ledger_batch;
struct ledger_batch *ledger_batch_new(void) MUST_USE;
void ledger_batch_free(struct ledger_batch *batch); // NULL is fine
// Copies what it needs. failed: NULL, or the outcome with which the job is recorded as Failed at once (a bad record).
void ledger_batch_add(struct ledger_batch *batch, const struct trabajo *trabajo, const struct outcome *failed);
size_t ledger_batch_count(const struct ledger_batch *batch);
// Parameters for ledger_insert, rows [from, from + count) in key order; db_params_free or db_run takes them.
struct db_params *ledger_batch_params(struct ledger_batch *batch, size_t from, size_t count) MUST_USE;
// Key of row i in key order (after a ledger_batch_params call): to name a poison record when bisecting.
const char *ledger_batch_key(const struct ledger_batch *batch, size_t row);

// The channel on which idle workers are told that something is queued.
#define LEDGER_CHANNEL "trabajos"
// NOTIFY, from a connection of its own, coalesced: at most one every few milliseconds.
struct ledger_tap;
struct ledger_tap *ledger_tap_open(struct loop *loop, const struct db_config *config) MUST_USE;
void ledger_tap(struct ledger_tap *tap); // cheap; safe to call for every job
void ledger_tap_close(struct ledger_tap *tap);
