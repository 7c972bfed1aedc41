// What a job may use: the worker's limits, or less where the submitter or the plan asks for less.
#pragma once

#include "worker/plan.h"
#include "worker/sandbox.h"
#include "worker/worker.h"

// timeout_s: what the submitter asked for, before what the plan does; -1: nothing.
void job_limits(const struct worker_config *config, const struct plan *plan, int64_t timeout_s, struct sandbox_limits *limits,
	int64_t *timeout_ms);
