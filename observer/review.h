// Scores the leading observer's past decisions (scale_decisions), each once its deadline's time has passed: what happened while it
// held, and how many workers would have done (hindsight.h), kept beside it. On a thread with a connection of its own, by three
// bounded statements a round and within a budget of time; what is not reached waits for the next round, up to a day.
#pragma once

#include "lib/db.h"

#include <stdbool.h>

struct review;

struct review_config {
	const struct db_config *db; // outlives the review
	int64_t start_ms;           // of a worker, where none was measured
	int64_t user_running;       // USER_RUNNING; 0: no limit
};

struct review *review_start(const struct review_config *config) MUST_USE; // the schema is there
void review_lead(struct review *review, bool leads);                      // NULL is fine
void review_ask(struct review *review);                                   // to end soon; NULL is fine
int review_close(struct review *review, int64_t ms) MUST_USE;             // NULL is fine; -1: see task_end

// One round, for the thread and for tests: how many decisions were judged, or -1.
int64_t review_round(struct db *db, const struct review_config *config, struct error *error) MUST_USE;
