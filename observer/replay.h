// Plays a period of jobs against a way to choose the number of workers: a discrete simulation, pure and deterministic under a seed.
//
// All policies get the same system: an arriving job is claimed at once where a slot is free, by the ledger's fair share (the user
// with the fewest running jobs first, then the oldest job); a worker takes start_ms, a quarter more or less, from being asked for
// to its first claim, and costs from being asked for to its end. They differ in nothing but when workers are added and taken away:
//
// rule   observer/rule.h, asked each second with a sample of the simulated system. Only idle workers are retired.
// keda   KEDA's Kafka scaler with its defaults and the HPA behind it, as Kubernetes documents them: every 15 s
//        desired = ceil(lag / lagThreshold), unless lag / (lagThreshold * replicas) is within 10 % of 1; the largest desired of the
//        last 300 s counts where it goes down; up by at most 4 or the double in 15 s; never more than partitions. From zero to one
//        with the first lag that a poll of every 30 s sees; to zero after 300 s without lag. Lag are the jobs that have not ended
//        (offsets are stored behind the work). A worker that is taken away has 30 s to end its job, then it is killed and the job
//        begins anew; young pods go first, ages compared by powers of two, whether busy or not.
// fixed  so many workers from the first to the last moment.
// from   so many workers from a moment in the middle of things on; what waited until then waits for them.
#pragma once

#include "observer/rule.h"

struct replay_job {
	int64_t arrival_ms, run_ms;
	int32_t user; // counted from 0
};

struct replay_trace {
	struct replay_job *jobs; // by arrival; owned
	size_t count;
	int32_t users;
	int64_t span_ms; // workers that are kept cost until here at least
};
void replay_trace_add(struct replay_trace *trace, const struct replay_job *job);
void replay_trace_finish(struct replay_trace *trace); // sorts; span_ms reaches the last arrival at least
void replay_trace_clear(struct replay_trace *trace);

enum replay_kind { REPLAY_RULE, REPLAY_KEDA, REPLAY_FIXED, REPLAY_FROM };

struct replay_policy {
	enum replay_kind kind;
	int64_t number; // keda: lagThreshold; fixed, from: workers
	// from: the moment; of the workers so many are up by then, the others are asked for; and the first so many jobs of the trace
	// run then, on slots of those or, where these are fewer, beside them.
	int64_t from_ms, ready, held;
};

struct replay_config {
	struct rule_limits limits; // min, max and start_ms bind KEDA too
	int64_t slots;             // of a worker
	int64_t partitions;        // of the topic
	int64_t user_running;      // most running jobs of a user; 0: no limit
	uint64_t seed;
};

#define REPLAY_BINS 480 // of the trace's span, for the plot

struct replay_outcome {
	struct replay_policy policy;
	size_t jobs, in_time, in_twice;          // claimed within the deadline, within two of it
	int64_t p50_ms, p95_ms, p99_ms, most_ms; // from arrival to the claim of the run that ended
	int64_t worker_ms, work_ms;              // work_ms: what the runs took, each once
	int64_t ups, downs;                      // decisions that changed the number
	int64_t started, killed;                 // workers; jobs that were killed under way
	int64_t most_workers;
	double workers[REPLAY_BINS]; // mean, starting ones included
	int64_t queued[REPLAY_BINS]; // most
};

// limits.max of at least 1, count of at least 1.
void replay_run(const struct replay_trace *trace, const struct replay_config *config, const struct replay_policy *policy,
	struct replay_outcome *outcome);
// The same; starts_ms[i] becomes when the trace's job i was claimed last, or REPLAY_NEVER.
#define REPLAY_NEVER INT64_MAX
void replay_run_starts(const struct replay_trace *trace, const struct replay_config *config, const struct replay_policy *policy,
	int64_t *starts_ms);
