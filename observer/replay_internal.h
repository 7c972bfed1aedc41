// The simulated system, between its engine (replay.c), what is measured of it (replay_sample.c) and the policies that change it
// (replay_policy.c).
#pragma once

#include "observer/replay.h"

#include <stdbool.h>

#define NOBODY (-1)

struct replay_link {
	int32_t before, behind;
};

struct replay_list {
	int32_t first, last;
	int64_t count;
};

struct replay_run_state {              // of a job
	struct replay_link queue, own; // all that wait by arrival; or all that run by their start. own: behind it, of its user
	int64_t claimed_ms;
	int32_t worker; // NOBODY: does not run
	uint32_t life;  // grows when it is killed: its end's event is void then
};

enum replay_worker_state { WORKER_STARTING, WORKER_UP, WORKER_DRAINING, WORKER_GONE };

struct replay_worker {
	enum replay_worker_state state;
	int64_t asked_ms, up_ms;
	int64_t running;
	int32_t free_place; // in sim->free; NOBODY
};

struct replay_user {
	int32_t first, last; // what waits
	int64_t running;
	int32_t waiting_place; // in sim->waiting; NOBODY
};

enum replay_event_kind { EVENT_END, EVENT_UP, EVENT_KILL };

struct replay_event {
	int64_t at_ms;
	uint64_t order; // events of one moment happen as they were put in
	enum replay_event_kind kind;
	int32_t whom;
	uint32_t life;
};

// The moments that one window of time holds: [first, count).
struct replay_window {
	size_t first;
	int64_t from_ms;
};

struct sim {
	const struct replay_trace *trace;
	const struct replay_config *config;
	struct replay_outcome *out;
	uint64_t random;
	int64_t now_ms;
	size_t arrived, done;

	struct replay_run_state *jobs;
	struct replay_user *users;
	struct replay_list queue, running;
	int32_t *waiting; // users with waiting jobs
	int32_t waiting_count;

	struct replay_worker *workers; // all that ever were
	int32_t worker_count, worker_room;
	int32_t *alive; // but for those gone
	int32_t alive_count;
	int32_t *free; // that may claim
	int32_t free_count;
	int64_t starting, up, busy, draining; // busy: up and running something

	struct replay_event *events; // a heap
	size_t event_count, event_room;
	uint64_t event_order;

	// Ended runs, for the sample.
	struct replay_ended {
		int64_t at_ms, took_ms;
	} * ended;
	size_t ended_count;
	size_t ended_from, pace_from, lately_from, flow_from; // where the windows begin
	size_t ended_known, known_from;                       // for which the quantiles below were computed
	int64_t known_mean_ms, known_at_ms[SAMPLE_QUANTILES];
	int64_t *scratch;
};

int64_t replay_random_below(uint64_t *random, int64_t limit);
double replay_random(uint64_t *random); // [0, 1)

// The sample that the observer would take now.
void replay_sample(struct sim *sim, struct sample *sample);

// What policies do.
void replay_add_workers(struct sim *sim, int64_t count);
void replay_add_ready(struct sim *sim, int64_t count); // up at once
void replay_hold(struct sim *sim, int64_t count); // the first jobs run from now on, as far as there are slots, else elsewhere
void replay_retire(struct sim *sim, int32_t index, int64_t grace_ms); // what runs is killed after grace_ms

struct replay_policy_state {
	const struct replay_policy *policy;
	int64_t next_ms; // the next tick; INT64_MAX: none
	struct rule_state rule;
	// keda: what was desired at the last syncs
	int64_t desired[20];
	int desired_next;
	int64_t replicas, lag_seen_ms, synced_ms;
	bool active;
};
void replay_policy_begin(struct sim *sim, struct replay_policy_state *state, const struct replay_policy *policy);
void replay_policy_tick(struct sim *sim, struct replay_policy_state *state);
