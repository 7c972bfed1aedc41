#include "observer/replay_internal.h"

#define RULE_TICK_MS  1000
#define RULE_CALM     5 // ticks: while nothing happens and nothing waits
#define HPA_SYNC_MS   15000
#define HPA_SYNCS     20 // of 15 s: the 300 s of its stabilisation window for going down
#define KEDA_POLL_MS  30000
#define KEDA_COOL_MS  300000
#define POD_GRACE_MS  30000
#define HPA_TOLERANCE 10 // %
#define HPA_MOST_PODS 4
#define NEVER         INT64_MAX

static int64_t most(int64_t a, int64_t b) {
	return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b) {
	return a < b ? a : b;
}

static bool is_still(const struct sim *sim) {
	return sim->alive_count == 0 && sim->queue.count == 0 && sim->running.count == 0;
}

// Nothing changes before the next arrival: the first tick from then on.
static int64_t skip(const struct sim *sim, int64_t next_ms, int64_t every_ms) {
	if (sim->arrived == sim->trace->count) return next_ms;
	int64_t arrival_ms = sim->trace->jobs[sim->arrived].arrival_ms;
	return arrival_ms <= next_ms ? next_ms : next_ms + (arrival_ms - next_ms + every_ms - 1) / every_ms * every_ms;
}

static void note_change(struct sim *sim, int64_t before, int64_t wanted) {
	if (wanted > before) sim->out->ups++;
	if (wanted < before) sim->out->downs++;
}

// ---- the rule

static void retire_idle(struct sim *sim, int64_t count) {
	for (int32_t i = sim->alive_count - 1; i >= 0 && count > 0; i--) {
		const struct replay_worker *worker = &sim->workers[sim->alive[i]];
		if (worker->state != WORKER_UP || worker->running > 0) continue;
		replay_retire(sim, sim->alive[i], 0);
		count--;
	}
}

// Only ages differ from tick to tick while nothing happens, and nobody's where nothing waits: the next one of consequence. It makes
// the rule keep an idle worker for some seconds more.
static int64_t calm_ticks(const struct sim *sim) {
	if (sim->queue.count > 0) return 1;
	int64_t next_ms = sim->event_count > 0 ? sim->events[0].at_ms : NEVER;
	if (sim->arrived < sim->trace->count) next_ms = least(next_ms, sim->trace->jobs[sim->arrived].arrival_ms);
	if (next_ms - sim->now_ms >= RULE_CALM * RULE_TICK_MS) return RULE_CALM;
	return (next_ms - sim->now_ms) / RULE_TICK_MS + 1;
}

static void rule_tick(struct sim *sim, struct replay_policy_state *state) {
	struct sample sample;
	struct rule_decision decision;
	replay_sample(sim, &sample);
	rule_number(&sim->config->limits, &sample, &state->rule, &decision);
	int64_t there = sim->up + sim->starting;
	note_change(sim, there, decision.wanted);
	if (decision.wanted > there) replay_add_workers(sim, decision.wanted - there);
	if (decision.wanted < sim->up) retire_idle(sim, sim->up - decision.wanted);
	state->next_ms = sim->now_ms + RULE_TICK_MS * calm_ticks(sim);
	if (is_still(sim) && decision.wanted == 0) state->next_ms = skip(sim, state->next_ms, RULE_TICK_MS);
}

// ---- KEDA and the HPA

static int log2_of(int64_t value) {
	int bits = 0;
	while (value > 1) {
		value /= 2;
		bits++;
	}
	return bits;
}

// Starting ones first, then the youngest by powers of two, which of them by chance.
static int32_t victim(struct sim *sim) {
	int32_t chosen = NOBODY;
	int64_t best = 0, equal = 0;
	for (int32_t i = 0; i < sim->alive_count; i++) {
		const struct replay_worker *worker = &sim->workers[sim->alive[i]];
		if (worker->state != WORKER_STARTING && worker->state != WORKER_UP) continue;
		int64_t age = worker->state == WORKER_STARTING ? -1 : log2_of(sim->now_ms - worker->up_ms);
		if (chosen != NOBODY && age > best) continue;
		equal = chosen != NOBODY && age == best ? equal + 1 : 1;
		if (equal == 1 || replay_random_below(&sim->random, equal) == 0) chosen = sim->alive[i];
		best = age;
	}
	return chosen;
}

static void set_replicas(struct sim *sim, struct replay_policy_state *state, int64_t replicas) {
	note_change(sim, state->replicas, replicas);
	if (replicas > state->replicas) replay_add_workers(sim, replicas - state->replicas);
	for (int64_t i = replicas; i < state->replicas; i++) replay_retire(sim, victim(sim), POD_GRACE_MS);
	state->replicas = replicas;
}

static void hpa_sync(struct sim *sim, struct replay_policy_state *state, int64_t lag) {
	int64_t threshold = state->policy->number, now = state->replicas;
	int64_t highest = least(sim->config->limits.max, sim->config->partitions);
	int64_t desired = (lag + threshold - 1) / threshold;
	int64_t ratio_off = lag * 100 - now * threshold * 100;
	if (ratio_off < 0) ratio_off = -ratio_off;
	if (ratio_off <= HPA_TOLERANCE * now * threshold) desired = now;
	desired = most(most(1, sim->config->limits.min), least(highest, desired));
	state->desired[state->desired_next++ % HPA_SYNCS] = desired;
	int64_t held = desired;
	for (int i = 0; i < HPA_SYNCS; i++) held = most(held, state->desired[i]);
	if (desired > now) {
		set_replicas(sim, state, least(desired, most(now + HPA_MOST_PODS, now * 2)));
	} else if (held < now) {
		set_replicas(sim, state, held);
	}
}

static void keda_poll(struct sim *sim, struct replay_policy_state *state, int64_t lag) {
	if (lag > 0) state->lag_seen_ms = sim->now_ms;
	if (lag > 0 && !state->active) {
		state->active = true;
		for (int i = 0; i < HPA_SYNCS; i++) state->desired[i] = 0;
		set_replicas(sim, state, most(1, most(state->replicas, sim->config->limits.min)));
	}
	if (lag == 0 && state->active && sim->now_ms - state->lag_seen_ms >= KEDA_COOL_MS) {
		state->active = false;
		set_replicas(sim, state, sim->config->limits.min);
	}
}

static void keda_tick(struct sim *sim, struct replay_policy_state *state) {
	int64_t lag = sim->queue.count + sim->running.count;
	if (sim->now_ms % KEDA_POLL_MS == 0) keda_poll(sim, state, lag);
	if (state->active) hpa_sync(sim, state, lag);
	state->next_ms = sim->now_ms + HPA_SYNC_MS;
	if (is_still(sim) && !state->active) state->next_ms = skip(sim, state->next_ms, HPA_SYNC_MS);
}

static void from_tick(struct sim *sim, struct replay_policy_state *state) {
	const struct replay_policy *policy = state->policy;
	replay_add_ready(sim, least(policy->number, policy->ready));
	if (policy->number > policy->ready) replay_add_workers(sim, policy->number - policy->ready);
	replay_hold(sim, policy->held);
	state->next_ms = NEVER;
}

void replay_policy_tick(struct sim *sim, struct replay_policy_state *state) {
	if (state->policy->kind == REPLAY_FROM) from_tick(sim, state);
	if (state->policy->kind == REPLAY_RULE) rule_tick(sim, state);
	if (state->policy->kind == REPLAY_KEDA) keda_tick(sim, state);
}

void replay_policy_begin(struct sim *sim, struct replay_policy_state *state, const struct replay_policy *policy) {
	*state = (struct replay_policy_state){.policy = policy};
	if (policy->kind == REPLAY_FIXED) state->next_ms = NEVER;
	if (policy->kind == REPLAY_FROM) state->next_ms = policy->from_ms;
	if (policy->kind == REPLAY_FIXED) replay_add_workers(sim, policy->number);
	if (policy->kind == REPLAY_KEDA) set_replicas(sim, state, sim->config->limits.min);
}
