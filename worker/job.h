// One attempt at one job, from the claim to the ledger's answer. One small state machine:
//
//	               cached tree                       the box has ended
//	    claimed ---------------> RUNNING -----------------------------------+
//	     |    |                     ^                                       v
//	     |    +--> FETCHING --------+                                   FINISHING --> gone
//	     v           ^    |   fetched                                       ^
//	  WAITING -------+    +-------------------------------------------------+
//	      until it is alone     cannot be fetched, no plan
//
// A job whose worker was lost when it ran last, and that has one try left, may be what kills workers: it waits until nothing else
// runs here, and nothing is claimed beside it. So those that ran beside it by chance do not end with it.
//
// job_stop in FETCHING kills the child and goes on to FINISHING; in RUNNING it sends SIGTERM (SIGKILL after JOB_GRACE_S, or at once
// when the job is no longer ours) and waits for the box to end. FINISHING is one compare-and-set in the ledger, repeated while
// PostgreSQL is away: it makes the result visible, or queues the job anew, and finds no row if somebody took the job over.
#pragma once

#include "worker/judge.h"
#include "worker/worker.h"

struct job;

// Of a row of worker_claim's answer: whether it must run alone. Then job_start leaves it WAITING, for job_begin.
bool job_claimed_alone(const struct worker *worker, const struct db_result *claimed, size_t row);
bool job_alone(const struct job *job);
bool job_waits(const struct job *job);
void job_begin(struct job *job);
// Row `row` of worker_claim's answer, into a free slot. The job removes itself from the slot at its end.
void job_start(struct worker *worker, const struct db_result *claimed, size_t row);
const char *job_key(const struct job *job);
int64_t job_attempt(const struct job *job);
// First reason counts, but LOST and GIVE_BACK override. Idempotent.
void job_stop(struct job *job, enum job_stop why);
