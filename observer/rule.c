#include "observer/rule.h"

#include "observer/forecast.h"
#include "observer/rule_say.h"

#include <inttypes.h>
#include <math.h>

#define REMEMBERED_RUNS 10 // the last known run times count as so many runs, beside those that run now
#define LEAST_IDLE_MS   10000
#define BLOCKED_MS      10000
#define MARGIN_RUNS     2  // of the deadline, for what no forecast knows; 10 % to 25 % of it
#define LATE_PART       25 // % of it, beside a start, in which what can not start in time any more is to start
#define FLOOR_MISSES    0.01
#define MOST_WORKERS    1000000000

// A decision being made.
struct plan {
	const struct rule_limits *limits;
	const struct sample *sample;
	const struct rule_state *state;
	struct forecast forecast;
	int64_t actual, starting, slots; // slots of one worker
	double running;                  // not counting those of draining workers
	double run_ms;                   // mean of the ended runs
	int64_t start_ms, idle_ms;
};

static int64_t most(int64_t a, int64_t b) {
	return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b) {
	return a < b ? a : b;
}

// ---- memory: what was asked for and is not there yet

static void forget_oldest(struct rule_state *state, int64_t workers) {
	while (workers > 0 && state->asked_count > 0) {
		struct rule_asked *oldest = &state->asked[0];
		int64_t taken = least(workers, oldest->workers);
		oldest->workers -= taken;
		workers -= taken;
		if (oldest->workers > 0) return;
		for (int i = 1; i < state->asked_count; i++) state->asked[i - 1] = state->asked[i];
		state->asked_count--;
	}
}

static void forget_newest(struct rule_state *state, int64_t workers) {
	while (workers > 0 && state->asked_count > 0) {
		struct rule_asked *newest = &state->asked[state->asked_count - 1];
		int64_t taken = least(workers, newest->workers);
		newest->workers -= taken;
		workers -= taken;
		if (newest->workers == 0) state->asked_count--;
	}
}

static int64_t asked_workers(const struct rule_state *state) {
	int64_t workers = 0;
	for (int i = 0; i < state->asked_count; i++) workers += state->asked[i].workers;
	return workers;
}

static void remember_asked(struct rule_state *state, int64_t at_ms, int64_t workers) {
	if (workers <= 0) return;
	if (state->asked_count == RULE_SPANS) {
		state->asked[RULE_SPANS - 1].workers += workers;
		return;
	}
	state->asked[state->asked_count++] = (struct rule_asked){.at_ms = at_ms, .workers = workers};
}

// Those that should long be there never come: they are not counted on any more.
static void meet_asked(struct rule_state *state, const struct sample *sample, int64_t actual, int64_t start_ms) {
	forget_oldest(state, actual - state->actual);
	while (state->asked_count > 0 && sample->at_ms - state->asked[0].at_ms > 3 * start_ms)
		forget_oldest(state, state->asked[0].workers);
}

// ---- memory: what was free

static void note_free(
	struct rule_state *state, const struct sample *sample, int64_t free_slots, int64_t lost_slots, int64_t span_ms) {
	for (int i = 0; i < state->span_count && lost_slots > 0; i++)
		state->spans[i].free_slots = most(0, state->spans[i].free_slots - lost_slots);
	struct rule_span *last = state->span_count > 0 ? &state->spans[state->span_count - 1] : NULL;
	if (last && sample->at_ms - last->since_ms < span_ms) {
		last->free_slots = least(last->free_slots, free_slots);
		return;
	}
	if (state->span_count == RULE_SPANS) {
		for (int i = 1; i < RULE_SPANS; i++) state->spans[i - 1] = state->spans[i];
		state->span_count--;
	}
	state->spans[state->span_count++] = (struct rule_span){.since_ms = sample->at_ms, .free_slots = free_slots};
}

// The fewest slots that were free at any time of the last so many ms; 0 where that is not known for so long.
static int64_t always_free(const struct rule_state *state, int64_t at_ms, int64_t last_ms) {
	int64_t fewest = INT64_MAX;
	for (int i = state->span_count - 1; i >= 0; i--) {
		fewest = least(fewest, state->spans[i].free_slots);
		if (at_ms - state->spans[i].since_ms >= last_ms) return fewest;
	}
	return 0;
}

// ---- how many jobs so many workers begin

// One place of the queue, and what does not depend on the number of workers.
struct due {
	double place, h_ms;
	double busy, each_free; // begun by the busy slots together, by each free one
};

static double starts_in_ms(const struct plan *plan, const struct rule_asked *asked) {
	int64_t gone_ms = plan->sample->at_ms - asked->at_ms;
	return (double)most(plan->start_ms / 4, plan->start_ms - gone_ms);
}

static double begun_by(const struct plan *plan, const struct due *due, int64_t workers) {
	double slots = (double)plan->slots, begun = due->busy;
	double free_slots = fmin((double)plan->sample->slots, (double)(workers * plan->slots)) - plan->running;
	if (free_slots > 0) begun += free_slots * due->each_free;
	int64_t more = workers - plan->actual;
	for (int i = 0; i < plan->state->asked_count && more > 0; i++) {
		const struct rule_asked *asked = &plan->state->asked[i];
		double rest_ms = due->h_ms - starts_in_ms(plan, asked);
		if (rest_ms > 0)
			begun += (double)least(more, asked->workers) * slots * forecast_free_begins(&plan->forecast, rest_ms);
		more -= asked->workers;
	}
	double rest_ms = due->h_ms - (double)plan->start_ms;
	if (more > 0 && rest_ms > 0) begun += (double)more * slots * forecast_free_begins(&plan->forecast, rest_ms);
	return begun;
}

static double busy_begins(const struct plan *plan, double h_ms) {
	const struct sample *sample = plan->sample;
	if (plan->running <= 0) return 0;
	double cut_ms = forecast_cut_ms(&plan->forecast, h_ms);
	if (sample->running_at_ms[SAMPLE_TENTHS - 1] <= 0)
		return plan->running * forecast_busy_begins(&plan->forecast, (double)sample->running_age_ms, h_ms, cut_ms);
	double sum = 0, one = 0;
	for (int i = 0; i < SAMPLE_TENTHS; i++) {
		if (i == 0 || sample->running_at_ms[i] != sample->running_at_ms[i - 1])
			one = forecast_busy_begins(&plan->forecast, (double)sample->running_at_ms[i], h_ms, cut_ms);
		sum += one;
	}
	return plan->running * sum / SAMPLE_TENTHS;
}

static struct due due_of(const struct plan *plan, int64_t place, double h_ms) {
	const struct sample *sample = plan->sample;
	double open = (double)(sample->queued - least(sample->held, sample->queued)) / (double)most(1, sample->queued);
	return (struct due){.place = (double)place * open,
		.h_ms = h_ms,
		.busy = busy_begins(plan, h_ms),
		.each_free = forecast_free_begins(&plan->forecast, h_ms)};
}

static bool is_begun(const struct plan *plan, const struct due *due, int64_t workers) {
	return begun_by(plan, due, workers) >= due->place - 1e-6;
}

// The fewest workers by which this place is begun, from `floor` on.
static int64_t workers_for(const struct plan *plan, const struct due *due, int64_t from) {
	if (is_begun(plan, due, from)) return from;
	int64_t few = from, enough = from + 1;
	while (enough < MOST_WORKERS && !is_begun(plan, due, enough)) {
		few = enough;
		enough = enough * 2;
	}
	while (enough - few > 1) {
		int64_t middle = few + (enough - few) / 2;
		if (is_begun(plan, due, middle)) {
			enough = middle;
		} else {
			few = middle;
		}
	}
	return enough;
}

// ---- the parts of the rule

// Jobs that wait while at least half of the slots stay free wait for something that no worker gives.
static bool is_blocked(const struct plan *plan) {
	const struct sample *sample = plan->sample;
	if (sample->running == 0 || sample->oldest_ms < BLOCKED_MS) return false;
	int64_t free_slots = always_free(plan->state, sample->at_ms, BLOCKED_MS);
	return free_slots > 0 && 2 * free_slots >= sample->slots;
}

static int64_t margin_ms(const struct plan *plan) {
	int64_t deadline_ms = plan->limits->deadline_ms;
	double runs_ms = fmin(MARGIN_RUNS * plan->run_ms, (double)deadline_ms);
	return least(deadline_ms / 4, most(deadline_ms / 10, (int64_t)runs_ms));
}

static int64_t for_deadline(const struct plan *plan) {
	const struct rule_limits *limits = plan->limits;
	int64_t workers = 0;
	if (plan->sample->queued <= plan->sample->held || is_blocked(plan)) return 0;
	for (int i = 0; i < plan->sample->rank_count; i++) {
		const struct sample_rank *rank = &plan->sample->ranks[i];
		int64_t late_ms = plan->start_ms + limits->deadline_ms * LATE_PART / 100;
		int64_t h_ms = most(limits->deadline_ms - margin_ms(plan) - rank->age_ms, late_ms);
		struct due due = due_of(plan, rank->place, (double)h_ms);
		workers = workers_for(plan, &due, workers);
	}
	return workers;
}

// As in the last minute or the last five, whichever are fewer: what follows from it holds between bursts that follow each other,
// and goes soon after the last one.
static double arrivals_within(const struct plan *plan, int64_t ms) {
	const struct sample *sample = plan->sample;
	double rate = (double)sample->arrivals / (double)most(1, sample->arrivals_ms);
	if (sample->lately_ms > 0) rate = fmin(rate, (double)sample->lately / (double)sample->lately_ms);
	return rate * (double)ms;
}

// Slots kept busy on average.
static double offered_load(const struct plan *plan) {
	return arrivals_within(plan, 1) * plan->run_ms;
}

// Halfin and Whitt: with a + b sqrt(a) slots a job waits at all with probability 1 / (1 + b Phi(b) / phi(b)), and longer than t
// with e^(-b sqrt(a) t / m) of that.
static double square_root_staffing(double load, double patience_runs) {
	for (int step = 0; step < 80; step++) {
		double b = step / 20.0;
		double phi = exp(-b * b / 2) / sqrt(2 * M_PI), below = erfc(-b / M_SQRT2) / 2;
		if (exp(-b * sqrt(load) * patience_runs) / (1 + b * below / phi) <= FLOOR_MISSES) return load + b * sqrt(load);
	}
	return load + 4 * sqrt(load);
}

// Where a start takes too long to meet the deadline, the floor brings workers before any job waits; else the queue does that in
// time, and the floor only holds whole workers that are there.
static int64_t for_arrivals(const struct plan *plan) {
	double load = offered_load(plan);
	if (load <= 0) return 0;
	double slots = square_root_staffing(load, (double)plan->limits->deadline_ms / plan->run_ms);
	double workers = fmin(slots / (double)plan->slots, MOST_WORKERS);
	if (plan->limits->deadline_ms < 2 * plan->start_ms) return (int64_t)ceil(workers);
	return least((int64_t)workers, plan->actual + plan->starting);
}

// How many of those that are there may go, idle ones only: as many as nobody needed for as long as they are worth keeping; and
// soon those that the arrivals of such a time would not need either.
static int64_t may_go(const struct plan *plan) {
	int64_t at_ms = plan->sample->at_ms, soon_ms = plan->limits->idle_ms > 0 ? plan->idle_ms : LEAST_IDLE_MS;
	double unlikely = (double)always_free(plan->state, at_ms, soon_ms) - ceil(arrivals_within(plan, plan->idle_ms));
	int64_t unused = most(always_free(plan->state, at_ms, plan->idle_ms), (int64_t)unlikely);
	int64_t go = least(most(0, unused) / plan->slots, plan->sample->idle);
	return plan->limits->step_down > 0 ? least(go, plan->limits->step_down) : go;
}

// ---- the decision

static void at_least(struct rule_decision *decision, int64_t workers, enum rule_bound bound) {
	if (workers <= decision->wanted) return;
	decision->wanted = workers;
	decision->bound = bound;
}

static void at_most(struct rule_decision *decision, int64_t workers, enum rule_bound bound) {
	if (workers >= decision->wanted) return;
	decision->wanted = workers;
	decision->bound = bound;
}

static void count_breaks(const struct plan *plan, struct rule_decision *decision) {
	int64_t there = plan->actual + plan->starting;
	decision->fewer = there < decision->needed ? there : decision->needed - 1;
	int64_t before = 0;
	for (int i = 0; i < plan->sample->rank_count; i++) {
		const struct sample_rank *rank = &plan->sample->ranks[i];
		struct due due = due_of(plan, rank->place, (double)(plan->limits->deadline_ms - rank->age_ms));
		bool late = rank->age_ms >= plan->limits->deadline_ms;
		if (late || !is_begun(plan, &due, decision->fewer)) {
			// of those since the last measured place, the ones that are not begun
			int64_t begun = late ? before : most(before, (int64_t)begun_by(plan, &due, decision->fewer));
			decision->breaks += most(0, rank->place - begun);
		}
		before = rank->place;
	}
}

static void bound_by_limits(const struct plan *plan, struct rule_decision *decision) {
	const struct rule_limits *limits = plan->limits;
	if (limits->step_up > 0) at_most(decision, most(plan->actual + limits->step_up, plan->sample->busy), RULE_STEP);
	at_least(decision, limits->min, RULE_MIN);
	at_most(decision, limits->max, RULE_MAX);
}

static void make(const struct plan *plan, struct rule_decision *decision) {
	int64_t deadline = for_deadline(plan);
	decision->floor = for_arrivals(plan);
	at_least(decision, deadline, RULE_DEADLINE);
	at_least(decision, decision->floor, RULE_FLOOR);
	at_least(decision, plan->sample->busy, RULE_BUSY);
	at_least(decision, plan->sample->kafka_waits == LAG_SOME ? 1 : 0, RULE_KAFKA);
	decision->needed = decision->wanted;
	if (decision->bound == RULE_DEADLINE) count_breaks(plan, decision);
	at_least(decision, plan->actual + plan->starting - may_go(plan), RULE_KEPT);
	bound_by_limits(plan, decision);
}

// ---- what is known by now

static void learn_runs(struct rule_state *state, const struct sample *sample) {
	if (sample->runs == 0) return;
	state->run_ms = most(1, sample->run_mean_ms);
	for (int i = 0; i < SAMPLE_QUANTILES; i++) state->run_at_ms[i] = sample->run_at_ms[i];
}

static int64_t slots_of_one(const struct sample *sample) {
	int64_t claiming = sample_claiming(sample);
	if (claiming > 0 && sample->slots > 0) return most(1, (sample->slots + claiming / 2) / claiming);
	return most(1, sample->last_slots);
}

static struct plan plan_of(const struct rule_limits *limits, const struct sample *sample, struct rule_state *state) {
	struct plan plan = {.limits = limits,
		.sample = sample,
		.state = state,
		.actual = sample_claiming(sample),
		.slots = slots_of_one(sample),
		.running = (double)most(0, sample->running - sample->draining_running)};
	plan.start_ms = sample->start_ms > 0   ? sample->start_ms
			: limits->start_ms > 0 ? limits->start_ms
					       : RULE_UNKNOWN_START_MS;
	plan.idle_ms = limits->idle_ms > 0 ? limits->idle_ms : most(LEAST_IDLE_MS, plan.start_ms);
	meet_asked(state, sample, plan.actual, plan.start_ms);
	plan.starting = asked_workers(state);
	learn_runs(state, sample);
	int64_t run_ms = state->run_ms > 0 ? state->run_ms : RULE_UNKNOWN_RUN_MS;
	plan.run_ms = (double)run_ms;
	forecast_init(&plan.forecast, state->run_at_ms, run_ms, sample->runs > 0 ? sample->runs : REMEMBERED_RUNS, sample);
	int64_t lost = most(0, state->actual - plan.actual) * plan.slots;
	note_free(state, sample, most(0, sample->slots - (int64_t)plan.running), lost, plan.idle_ms / (RULE_SPANS - 4));
	state->actual = plan.actual;
	return plan;
}

void rule_number(const struct rule_limits *limits, const struct sample *sample, struct rule_state *state,
	struct rule_decision *decision) {
	struct plan plan = plan_of(limits, sample, state);
	*decision = (struct rule_decision){.actual = plan.actual,
		.starting = plan.starting,
		.run_ms = most(1, llround(fmin(forecast_mean_ms(&plan.forecast), 1e15))),
		.start_ms = plan.start_ms,
		.idle_ms = plan.idle_ms};
	make(&plan, decision);
	int64_t there = plan.actual + plan.starting;
	remember_asked(state, sample->at_ms, decision->wanted - there);
	forget_newest(state, there - most(decision->wanted, plan.actual));
}

void rule_decide(const struct rule_limits *limits, const struct sample *sample, struct rule_state *state,
	struct rule_decision *decision) {
	rule_number(limits, sample, state, decision);
	decision->reason = rule_say(limits, sample, decision);
}

void rule_decision_clear(struct rule_decision *decision) {
	free(decision->reason);
	*decision = (struct rule_decision){0};
}
