// A job's log as it comes, from the queue to the end, over however many connections that takes.
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stdint.h>

#define FOLLOW_FAILED 125

struct follow {
	const char *key;
	int64_t attempt;    // 0: the newest
	const char *stream; // "stdout", "stderr"; NULL: both
	bool prints;        // what the job prints; false: only how it stands
	bool goes_on;       // until the job has ended; false: what there is now
	bool quiet;         // neither how it waits nor how it ended
};

// The exit code, which stands for how the job ended if it goes on, else EXIT_FINE; or -1.
int follow_job(const struct follow *wanted, struct error *error) MUST_USE;
