// Decisions about an attempt that has ended, as pure functions: what happened, whose fault it was, and what follows.
#pragma once

#include "lib/resultado.h"
#include "worker/sandbox.h"

#include <stdbool.h>
#include <stdint.h>

// Why the worker itself ended a job; JOB_STOP_NONE: it ended by itself.
enum job_stop {
	JOB_STOP_NONE,
	JOB_STOP_TIMEOUT,
	JOB_STOP_CANCEL,
	JOB_STOP_OUTPUT,
	JOB_STOP_LOST,      // another worker has the job: nothing may be written
	JOB_STOP_GIVE_BACK, // this worker leaves: back to the queue at no cost
};

struct judge_facts {
	enum job_stop stop;
	const struct sandbox_report *report;
	const char *command;                                                                     // for people
	int64_t timeout_s, cpu_s, memory_bytes, processes, open_files, disk_bytes, output_bytes; // the limits that held
};

// A limit counts as the cause only where the job did not end well.
void judge(const struct judge_facts *facts, struct outcome *outcome);

struct retry_facts {
	const struct outcome *outcome;
	int64_t platform_failures, user_failures; // before this attempt
	int64_t max_attempts, retries;            // MAX_ATTEMPTS and what the user asked for
	uint32_t random;                          // uniform
};

struct retry_decision {
	bool again;
	bool dead;                                // it had a budget for this, and has used it up
	int64_t delay_ms;                         // exponential backoff with full jitter
	int64_t platform_failures, user_failures; // after this attempt
};

// Platform faults are tried again by themselves; the user's own failures and limits where `retries` asks for it. What another
// attempt cannot change (no plan, no such repository, denied, cancelled) is final.
void retry_decide(const struct retry_facts *facts, struct retry_decision *decision);
