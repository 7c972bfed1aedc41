// The ends of attempts on their way into the ledger: those that come while one statement is under way become the next one.
#pragma once

#include "lib/db.h"
#include "worker/worker.h"

struct output;

struct finisher;

// One attempt's end; the caller's, with all that it points to, until done is called.
struct finish_entry {
	const char *key;
	int64_t attempt;
	const char *status; // "Queued": it is to be tried again after delay_ms
	int64_t delay_ms;
	bool dead; // Failed, with a budget used up
	char *outcome, *detail;
	int64_t execution_ms;
	const char *commit; // NULL: did not come to that
	int64_t user_failures, platform_failures;
	struct output *output; // what is not acknowledged is written too
	// ours: written; else another has taken the attempt over (or an earlier try of ours has written it), and nothing was written.
	// Not DB_OK: nothing is known of it but what the status says; with DB_BAD_DATA it was this entry's values.
	void (*done)(enum db_status status, bool ours, const struct error *error, void *arg);
	void *arg;

	struct finish_entry *next; // the finisher's
	bool alone;
};

struct finisher *finisher_new(struct worker *worker) MUST_USE;
void finisher_free(struct finisher *finisher); // those not sent are done with DB_UNAVAILABLE; NULL is fine
void finish_attempt(struct finisher *finisher, struct finish_entry *entry);
