#include "lib/mem.h"
#include "observer/replay_internal.h"

#include <math.h>

#define HOUR_MS  3600000
#define NEVER_MS (400 * 24 * (int64_t)HOUR_MS) // longer than a claim takes where any worker ever comes

// ---- chance: splitmix64

static uint64_t random_bits(uint64_t *random) {
	uint64_t z = (*random += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

double replay_random(uint64_t *random) {
	return (double)(random_bits(random) >> 11) * 0x1p-53;
}

int64_t replay_random_below(uint64_t *random, int64_t limit) {
	return (int64_t)(replay_random(random) * (double)limit);
}

// ---- events: a binary heap

static bool is_earlier(const struct replay_event *a, const struct replay_event *b) {
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void push_event(struct sim *sim, int64_t at_ms, enum replay_event_kind kind, int32_t whom, uint32_t life) {
	if (sim->event_count == sim->event_room) {
		sim->event_room = sim->event_room ? sim->event_room * 2 : 64;
		sim->events = mem_resize(sim->events, sim->event_room, sizeof *sim->events);
	}
	struct replay_event event = {.at_ms = at_ms, .order = sim->event_order++, .kind = kind, .whom = whom, .life = life};
	size_t place = sim->event_count++;
	for (; place > 0 && is_earlier(&event, &sim->events[(place - 1) / 2]); place = (place - 1) / 2)
		sim->events[place] = sim->events[(place - 1) / 2];
	sim->events[place] = event;
}

static struct replay_event pop_event(struct sim *sim) {
	struct replay_event first = sim->events[0], last = sim->events[--sim->event_count];
	size_t place = 0, child;
	while ((child = place * 2 + 1) < sim->event_count) {
		if (child + 1 < sim->event_count && is_earlier(&sim->events[child + 1], &sim->events[child])) child++;
		if (!is_earlier(&sim->events[child], &last)) break;
		sim->events[place] = sim->events[child];
		place = child;
	}
	sim->events[place] = last;
	return first;
}

// ---- lists of jobs

static void list_remove(struct sim *sim, struct replay_list *list, int32_t job) {
	struct replay_link *link = &sim->jobs[job].queue;
	*(link->before == NOBODY ? &list->first : &sim->jobs[link->before].queue.behind) = link->behind;
	*(link->behind == NOBODY ? &list->last : &sim->jobs[link->behind].queue.before) = link->before;
	list->count--;
}

static void list_insert(struct sim *sim, struct replay_list *list, int32_t behind, int32_t job) {
	int32_t next = behind == NOBODY ? list->first : sim->jobs[behind].queue.behind;
	sim->jobs[job].queue = (struct replay_link){.before = behind, .behind = next};
	*(behind == NOBODY ? &list->first : &sim->jobs[behind].queue.behind) = job;
	*(next == NOBODY ? &list->last : &sim->jobs[next].queue.before) = job;
	list->count++;
}

// Jobs are numbered by arrival, and a killed one goes back to where it was.
static void insert_by_arrival(struct sim *sim, int32_t job) {
	int32_t behind = sim->queue.last;
	if (behind != NOBODY && behind > job) {
		behind = NOBODY;
		for (int32_t at = sim->queue.first; at < job; at = sim->jobs[at].queue.behind) behind = at;
	}
	list_insert(sim, &sim->queue, behind, job);
}

static void user_insert(struct sim *sim, int32_t job) {
	int32_t whose = sim->trace->jobs[job].user;
	struct replay_user *user = &sim->users[whose];
	if (user->first == NOBODY) {
		user->waiting_place = sim->waiting_count;
		sim->waiting[sim->waiting_count++] = whose;
	}
	int32_t behind = user->last;
	if (behind != NOBODY && behind > job) {
		behind = NOBODY;
		for (int32_t at = user->first; at != NOBODY && at < job; at = sim->jobs[at].own.behind) behind = at;
	}
	int32_t next = behind == NOBODY ? user->first : sim->jobs[behind].own.behind;
	sim->jobs[job].own.behind = next;
	*(behind == NOBODY ? &user->first : &sim->jobs[behind].own.behind) = job;
	if (next == NOBODY) user->last = job;
}

static void user_remove_first(struct sim *sim, struct replay_user *user) {
	user->first = sim->jobs[user->first].own.behind;
	if (user->first != NOBODY) return;
	user->last = NOBODY;
	int32_t moved = sim->waiting[--sim->waiting_count];
	sim->waiting[user->waiting_place] = moved;
	sim->users[moved].waiting_place = user->waiting_place;
}

// ---- workers

static void set_free(struct sim *sim, int32_t index) {
	struct replay_worker *worker = &sim->workers[index];
	bool may = worker->state == WORKER_UP && worker->running < sim->config->slots;
	if (may == (worker->free_place != NOBODY)) return;
	if (may) {
		worker->free_place = sim->free_count;
		sim->free[sim->free_count++] = index;
		return;
	}
	int32_t moved = sim->free[--sim->free_count];
	sim->free[worker->free_place] = moved;
	sim->workers[moved].free_place = worker->free_place;
	worker->free_place = NOBODY;
}

static void change_running(struct sim *sim, int32_t index, int change) {
	struct replay_worker *worker = &sim->workers[index];
	if (worker->state == WORKER_UP) sim->busy -= worker->running > 0;
	worker->running += change;
	if (worker->state == WORKER_UP) sim->busy += worker->running > 0;
	set_free(sim, index);
}

static void leave(struct sim *sim, int32_t index) {
	struct replay_worker *worker = &sim->workers[index];
	if (worker->state == WORKER_DRAINING) sim->draining--;
	worker->state = WORKER_GONE;
	sim->out->worker_ms += sim->now_ms - worker->asked_ms;
	int32_t place = 0;
	while (sim->alive[place] != index) place++;
	sim->alive[place] = sim->alive[--sim->alive_count];
}

static void make_room(struct sim *sim) {
	if (sim->worker_count < sim->worker_room) return;
	sim->worker_room = sim->worker_room ? sim->worker_room * 2 : 64;
	size_t room = (size_t)sim->worker_room;
	sim->workers = mem_resize(sim->workers, room, sizeof *sim->workers);
	sim->alive = mem_resize(sim->alive, room, sizeof *sim->alive);
	sim->free = mem_resize(sim->free, room, sizeof *sim->free);
}

static int32_t add_worker(struct sim *sim) {
	make_room(sim);
	int32_t index = sim->worker_count++;
	sim->workers[index] = (struct replay_worker){.state = WORKER_STARTING, .asked_ms = sim->now_ms, .free_place = NOBODY};
	sim->alive[sim->alive_count++] = index;
	sim->starting++;
	sim->out->started++;
	if (sim->alive_count > sim->out->most_workers) sim->out->most_workers = sim->alive_count;
	return index;
}

void replay_add_workers(struct sim *sim, int64_t count) {
	int64_t start_ms = sim->config->limits.start_ms;
	for (; count > 0; count--) {
		int32_t index = add_worker(sim);
		push_event(sim, sim->now_ms + start_ms * 3 / 4 + replay_random_below(&sim->random, start_ms / 2 + 1), EVENT_UP,
			index, 0);
	}
}

static void come_up(struct sim *sim, int32_t index) {
	struct replay_worker *worker = &sim->workers[index];
	if (worker->state != WORKER_STARTING) return;
	sim->starting--;
	sim->up++;
	worker->state = WORKER_UP;
	worker->up_ms = sim->now_ms;
	set_free(sim, index);
}

void replay_add_ready(struct sim *sim, int64_t count) {
	for (; count > 0; count--) come_up(sim, add_worker(sim));
}

void replay_retire(struct sim *sim, int32_t index, int64_t grace_ms) {
	struct replay_worker *worker = &sim->workers[index];
	if (worker->state == WORKER_STARTING) {
		sim->starting--;
		leave(sim, index);
		return;
	}
	sim->up--;
	sim->busy -= worker->running > 0;
	sim->draining++;
	worker->state = WORKER_DRAINING;
	set_free(sim, index);
	if (worker->running == 0) {
		leave(sim, index);
	} else {
		push_event(sim, sim->now_ms + grace_ms, EVENT_KILL, index, 0);
	}
}

// ---- jobs

// The ledger's order: who would have the fewest running jobs, then whose first job is the oldest. NOBODY: all are at their limit.
static int32_t next_user(const struct sim *sim) {
	int32_t chosen = NOBODY;
	for (int32_t i = 0; i < sim->waiting_count; i++) {
		const struct replay_user *user = &sim->users[sim->waiting[i]];
		const struct replay_user *best = chosen == NOBODY ? NULL : &sim->users[chosen];
		if (sim->config->user_running > 0 && user->running >= sim->config->user_running) continue;
		if (!best || user->running < best->running || (user->running == best->running && user->first < best->first))
			chosen = sim->waiting[i];
	}
	return chosen;
}

static void claim(struct sim *sim, struct replay_user *user) {
	int32_t job = user->first, index = sim->free[replay_random_below(&sim->random, sim->free_count)];
	user_remove_first(sim, user);
	user->running++;
	list_remove(sim, &sim->queue, job);
	list_insert(sim, &sim->running, sim->running.last, job);
	sim->jobs[job].claimed_ms = sim->now_ms;
	sim->jobs[job].worker = index;
	change_running(sim, index, 1);
	push_event(sim, sim->now_ms + sim->trace->jobs[job].run_ms, EVENT_END, job, sim->jobs[job].life);
}

static void claim_all(struct sim *sim) {
	while (sim->queue.count > 0 && sim->free_count > 0) {
		int32_t next = next_user(sim);
		if (next == NOBODY) return;
		claim(sim, &sim->users[next]);
	}
}

// Jobs are numbered by arrival, so each of these is the first that its user has in line.
void replay_hold(struct sim *sim, int64_t count) {
	for (int32_t job = 0; job < count; job++) {
		struct replay_user *user = &sim->users[sim->trace->jobs[job].user];
		if (sim->free_count > 0) {
			claim(sim, user);
			continue;
		}
		user_remove_first(sim, user);
		list_remove(sim, &sim->queue, job);
		sim->done++;
	}
}

static void enqueue(struct sim *sim, int32_t job) {
	sim->jobs[job].worker = NOBODY;
	insert_by_arrival(sim, job);
	user_insert(sim, job);
}

static int32_t stop_running(struct sim *sim, int32_t job) {
	int32_t index = sim->jobs[job].worker;
	list_remove(sim, &sim->running, job);
	sim->users[sim->trace->jobs[job].user].running--;
	sim->jobs[job].worker = NOBODY;
	change_running(sim, index, -1);
	return index;
}

static void end_job(struct sim *sim, int32_t job, uint32_t life) {
	if (sim->jobs[job].life != life) return;
	int32_t index = stop_running(sim, job);
	sim->ended[sim->ended_count++] =
		(struct replay_ended){.at_ms = sim->now_ms, .took_ms = sim->now_ms - sim->jobs[job].claimed_ms};
	sim->done++;
	if (sim->workers[index].state == WORKER_DRAINING && sim->workers[index].running == 0) leave(sim, index);
}

static void kill_worker(struct sim *sim, int32_t index) {
	if (sim->workers[index].state != WORKER_DRAINING) return;
	for (int32_t job = sim->running.first, next; job != NOBODY; job = next) {
		next = sim->jobs[job].queue.behind;
		if (sim->jobs[job].worker != index) continue;
		stop_running(sim, job);
		sim->jobs[job].life++;
		sim->out->killed++;
		enqueue(sim, job);
	}
	leave(sim, index);
}

// ---- time

static void draw(struct sim *sim, int64_t until_ms) {
	double bin_ms = fmax(1, (double)sim->trace->span_ms / REPLAY_BINS);
	for (double from = (double)sim->now_ms; from < (double)until_ms;) {
		int bin = (int)fmin(from / bin_ms, REPLAY_BINS);
		if (bin == REPLAY_BINS) return;
		double to = fmin((double)until_ms, bin_ms * (bin + 1));
		if (to <= from) to = from + 1;
		sim->out->workers[bin] += sim->alive_count * (to - from) / bin_ms;
		if (sim->queue.count > sim->out->queued[bin]) sim->out->queued[bin] = sim->queue.count;
		from = to;
	}
}

static void advance(struct sim *sim, int64_t to_ms) {
	draw(sim, to_ms);
	sim->now_ms = to_ms;
}

static void happen(struct sim *sim) {
	struct replay_event event = pop_event(sim);
	advance(sim, event.at_ms);
	if (event.kind == EVENT_END) end_job(sim, event.whom, event.life);
	if (event.kind == EVENT_UP) come_up(sim, event.whom);
	if (event.kind == EVENT_KILL) kill_worker(sim, event.whom);
}

static bool is_over(const struct sim *sim, enum replay_kind kind, int64_t done_ms) {
	if (sim->done < sim->trace->count) return sim->now_ms > sim->trace->span_ms + NEVER_MS;
	if (sim->now_ms < sim->trace->span_ms) return false;
	return kind == REPLAY_FIXED || kind == REPLAY_FROM || sim->alive_count <= sim->config->limits.min ||
	       sim->now_ms > done_ms + HOUR_MS;
}

static void play(struct sim *sim, const struct replay_policy *policy) {
	struct replay_policy_state state;
	int64_t done_ms = 0;
	replay_policy_begin(sim, &state, policy);
	while (!is_over(sim, policy->kind, done_ms)) {
		int64_t arrival_ms = sim->arrived < sim->trace->count ? sim->trace->jobs[sim->arrived].arrival_ms : INT64_MAX;
		int64_t event_ms = sim->event_count > 0 ? sim->events[0].at_ms : INT64_MAX;
		if (arrival_ms <= event_ms && arrival_ms <= state.next_ms && arrival_ms != INT64_MAX) {
			advance(sim, arrival_ms);
			enqueue(sim, (int32_t)sim->arrived++);
		} else if (event_ms <= state.next_ms && event_ms != INT64_MAX) {
			happen(sim);
		} else if (state.next_ms != INT64_MAX) {
			advance(sim, state.next_ms);
			replay_policy_tick(sim, &state);
		} else {
			advance(sim, sim->trace->span_ms > sim->now_ms ? sim->trace->span_ms : sim->now_ms);
			if (sim->now_ms >= sim->trace->span_ms && sim->event_count == 0 && sim->arrived == sim->trace->count)
				break;
		}
		claim_all(sim);
		if (sim->done < sim->trace->count) done_ms = sim->now_ms;
	}
	while (sim->alive_count > 0) leave(sim, sim->alive[0]);
}

// ---- what came of it

static int smaller_first(const void *a, const void *b) {
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
	return (left > right) - (left < right);
}

static int64_t quantile(const int64_t *sorted, size_t count, double level) {
	size_t place = (size_t)ceil(level * (double)count);
	return sorted[place > 0 ? place - 1 : 0];
}

static void sum_up(struct sim *sim) {
	const struct replay_trace *trace = sim->trace;
	struct replay_outcome *out = sim->out;
	int64_t deadline_ms = sim->config->limits.deadline_ms;
	AUTO_FREE int64_t *waits = mem_zalloc_array(trace->count, sizeof *waits);
	out->jobs = trace->count;
	for (size_t i = 0; i < trace->count; i++) {
		bool begun = sim->jobs[i].claimed_ms >= trace->jobs[i].arrival_ms && sim->jobs[i].claimed_ms > -1;
		waits[i] = begun ? sim->jobs[i].claimed_ms - trace->jobs[i].arrival_ms : NEVER_MS;
		out->in_time += waits[i] <= deadline_ms;
		out->in_twice += waits[i] <= 2 * deadline_ms;
		out->work_ms += trace->jobs[i].run_ms;
	}
	qsort(waits, trace->count, sizeof *waits, smaller_first);
	out->p50_ms = quantile(waits, trace->count, 0.5);
	out->p95_ms = quantile(waits, trace->count, 0.95);
	out->p99_ms = quantile(waits, trace->count, 0.99);
	out->most_ms = waits[trace->count - 1];
}

static void open_sim(struct sim *sim) {
	size_t jobs = sim->trace->count, users = (size_t)sim->trace->users;
	sim->jobs = mem_zalloc_array(jobs, sizeof *sim->jobs);
	for (size_t i = 0; i < jobs; i++) sim->jobs[i] = (struct replay_run_state){.claimed_ms = -1, .worker = NOBODY};
	sim->users = mem_zalloc_array(users, sizeof *sim->users);
	for (size_t i = 0; i < users; i++) sim->users[i] = (struct replay_user){.first = NOBODY, .last = NOBODY};
	sim->waiting = mem_zalloc_array(users, sizeof *sim->waiting);
	sim->ended = mem_zalloc_array(jobs, sizeof *sim->ended);
	sim->scratch = mem_zalloc_array(SAMPLE_MOST, sizeof *sim->scratch);
	sim->queue = sim->running = (struct replay_list){.first = NOBODY, .last = NOBODY};
}

static void close_sim(struct sim *sim) {
	void *owned[] = {sim->jobs, sim->users, sim->waiting, sim->ended, sim->scratch, sim->workers, sim->alive, sim->free,
		sim->events};
	for (size_t i = 0; i < COUNT_OF(owned); i++) free(owned[i]);
}

void replay_run_starts(const struct replay_trace *trace, const struct replay_config *config, const struct replay_policy *policy,
	int64_t *starts_ms) {
	struct replay_outcome outcome = {.policy = *policy};
	struct sim sim = {.trace = trace, .config = config, .out = &outcome, .random = config->seed};
	open_sim(&sim);
	play(&sim, policy);
	for (size_t i = 0; i < trace->count; i++)
		starts_ms[i] = sim.jobs[i].claimed_ms < 0 ? REPLAY_NEVER : sim.jobs[i].claimed_ms;
	close_sim(&sim);
}

void replay_run(const struct replay_trace *trace, const struct replay_config *config, const struct replay_policy *policy,
	struct replay_outcome *outcome) {
	*outcome = (struct replay_outcome){.policy = *policy};
	struct sim sim = {.trace = trace, .config = config, .out = outcome, .random = config->seed};
	open_sim(&sim);
	play(&sim, policy);
	sum_up(&sim);
	close_sim(&sim);
}
