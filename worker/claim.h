// When to claim jobs, and the claim itself: as many as slots are free, one statement at a time.
#pragma once

#include "worker/worker.h"

struct claimer *claimer_new(struct worker *worker) MUST_USE;
void claimer_free(struct claimer *claimer); // NULL is fine; the ledger session must be closed
// Something may be there to claim: the ingest brought something, a job ended, a NOTIFY came. Cheap.
void claim_soon(struct claimer *claimer);
bool claim_under_way(const struct claimer *claimer);
