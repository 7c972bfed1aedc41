// How many workers there should be: a pure function over a sample. The formula, with
//
//     D  the deadline, from eligible to claimed (SCALE_DEADLINE_S)
//     m  how long a run holds its slot: the mean of the last minutes' runs, the last known one where there were none lately, 10 s
//        where there was never one; but never less than the mean time that the running ones have taken already, since in an
//        overload the finished jobs are the short ones
//     R  running jobs, but for those of draining workers
//
// 1. deadline: the job at place k of the queue, a old, starts in time where its slot's round among S slots begins before the
//    deadline. A slot begins 1 + floor(max(0, D - a) / m) rounds by then, and k + R jobs share them, so that
//        S >= (k + R) / (1 + floor(max(0, D - a) / m))       for every measured place k
//    (which counts running jobs as if they had just begun: on the safe side).
// 2. rate: what arrives per second times m is the number of slots kept busy, S >= ceil(rate * m).
// 3. workers = ceil(S / slots of a worker), at least those that are busy now (a busy worker is never sent home), at least 1 where
//    a record waits in Kafka that is not in the ledger yet; then SCALE_MIN and SCALE_MAX bound it.
#pragma once

#include "lib/attr.h"
#include "observer/sample.h"

#define RULE_UNKNOWN_RUN_MS 10000

struct rule_limits {
	int64_t deadline_ms, min, max;
};

struct rule_state {
	int64_t run_ms; // the last mean that was measured; 0: never
};

enum rule_bound { RULE_NOTHING, RULE_DEADLINE, RULE_RATE, RULE_BUSY, RULE_KAFKA, RULE_MIN, RULE_MAX };

struct rule_decision {
	int64_t wanted;        // deseados
	int64_t actual;        // actuales: workers alive that claim
	int64_t needed;        // before SCALE_MIN and SCALE_MAX
	int64_t run_ms;        // m
	enum rule_bound bound; // what made it this number
	char *reason;          // motivo: one sentence for people; owned
};

void rule_decide(const struct rule_limits *limits, const struct sample *sample, struct rule_state *state,
	struct rule_decision *decision);
void rule_decision_clear(struct rule_decision *decision);
