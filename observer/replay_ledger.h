// The runs that the ledger remembers, as a trace to play again and as the waits that there were.
#pragma once

#include "lib/db.h"
#include "observer/replay.h"

#define REPLAY_LEDGER_MOST 1000000
#define REPLAY_WORST       5

struct replay_ledger {
	size_t runs, in_time; // claimed within deadline_ms
	int64_t p50_ms, p95_ms;
	int64_t at_once;                 // the most runs at one time
	int64_t workers;                 // that it takes to run so many
	int64_t slots;                   // of the worker last seen; 1 where there was never one
	int64_t decisions;               // of the observer in that time
	int64_t least, most;             // workers that these wanted
	int64_t there_least, there_most; // and those that were there

	// Starts that were foretold: of a sample of all jobs, and the first range that clients were told of each wait.
	struct replay_foretold {
		int64_t scored, inside, bias_ms;
	} sampled, told;

	// Decisions that were scored: those that were right, and those to which more or fewer would have been, with hindsight.
	int64_t judged, right, more, fewer;
	int64_t claimed, late;        // jobs claimed while they held, and jobs whose wait went over the deadline meanwhile
	int64_t worker_ms, needed_ms; // time of the workers that were there, and of those that would have done
	struct replay_worst {
		char at[24];
		int64_t wanted, actual, needed, late;
	} worst[REPLAY_WORST];
	size_t worst_count;
};

// What ended in the last `hours`. Each attempt is a job of its own that arrived when it might be claimed. ERROR_INPUT: there was
// nothing, or more than REPLAY_LEDGER_MOST; ERROR_UNAVAILABLE: the database.
int replay_ledger_read(const struct db_config *config, int64_t hours, int64_t deadline_ms, struct replay_trace *trace,
	struct replay_ledger *ledger, struct error *error) MUST_USE;
