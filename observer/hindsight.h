// How a decision of the rule turned out: what happened while it held, and how many workers would have done, knowing what came. A pure
// function.
//
// needed: the fewest workers that, from the moment of the decision on, would have claimed in time as many of the jobs that waited or
// came while it held as any number can; played by the simulator (replay.h) with the runs as they were. In time: within the deadline
// T; what could not be so any more, by D + T/4 (as the rule plans it), with D the start-up time of a worker, a quarter more at
// worst. Busy workers stay in any case. Jobs that came after the decision are in the way, but not counted: others decided on them. It is found by halving, so a
// decision is played at most some fifteen times, with at most HINDSIGHT_JOBS jobs that ran and as many that came.
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HINDSIGHT_JOBS  2000
#define HINDSIGHT_NEVER INT64_MAX

struct hindsight_run {
	int64_t eligible_ms, started_ms; // HINDSIGHT_NEVER: not yet
	int64_t ended_ms;                // of one that has not ended: as foreseen
	int32_t user;                    // counted from 0
};

struct hindsight_case {
	int64_t at_ms, until_ms; // it held
	int64_t actual;          // workers that claimed
	int64_t draining, slots; // slots: of a worker
	int64_t fewest, most;    // that it might choose: the busy ones and SCALE_MIN at least, SCALE_MAX
	int64_t deadline_ms, start_ms;
	int64_t run_ms;       // of a job that never ran
	int64_t user_running; // most running jobs of a user; 0: no limit
};

struct hindsight {
	int64_t claimed, late; // jobs claimed while it held; jobs whose wait went over the deadline while it held
	int64_t worker_ms;     // time of the workers that were there
	int64_t needed;
	bool partly; // there were more jobs than were played
};

// runs: by eligible_ms.
void hindsight_judge(
	const struct hindsight_run *runs, size_t count, const struct hindsight_case *of, struct hindsight *hindsight);
