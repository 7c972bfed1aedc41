// The artifacts of one attempt, from its box into the ledger, or the store outside of it. Reading the box's frames and writing the
// content block, so that each is a thread's; the rest belongs to the loop.
//
//     artifacts_start --> the box writes into its pipe, a thread reads --> artifacts_store: another thread writes --> done
//                                                                     `--> artifacts_drop
//
// What is written is seen by nobody until the attempt's end is in the ledger with what `done` has given (sql/0013-artifacts.sql).
#pragma once

#include "lib/json.h"
#include "worker/worker.h"

struct artifacts;

void artifacts_register(void); // its metrics

// NULL, and error: no pipe, or no room for a file.
struct artifacts *artifacts_start(struct worker *worker, struct error *error) MUST_USE;
void artifacts_order(const struct artifacts *artifacts, struct sandbox_job *job); // all but the globs
void artifacts_handed_over(struct artifacts *artifacts);                          // the box has it, or there will be none

struct artifacts_of {
	const char *key, *owner;
	int64_t attempt;
};
// Once the box has ended. detail, for attempts.detail, is the callee's to drop; from the loop, never from inside. With it
// `artifacts` are gone. Whatever could not be stored is said in it.
void artifacts_store(
	struct artifacts *artifacts, const struct artifacts_of *of, void (*done)(json_t *detail, void *arg), void *arg);
// Of artifacts that are not being stored, or are: then done does not come. NULL is fine.
void artifacts_drop(struct artifacts *artifacts);

// The worker stops: those that are under way are left, and no done comes any more. -1: a thread does not end.
int artifacts_stop(struct worker *worker) MUST_USE;
