#include "observer/hindsight.h"

#include "lib/mem.h"
#include "observer/replay.h"

#define SEED 1

// The jobs that matter to one decision, as a trace: those that run at its moment first, in the order of `due`.
struct play {
	const struct hindsight_case *of;
	struct replay_trace trace;
	int64_t base_ms; // the trace's moment 0
	int64_t held;
	int64_t *due_ms; // of each job of the trace, by its clock; REPLAY_NEVER: does not count
	int64_t *starts_ms;
	size_t counted;
};

static int64_t most(int64_t a, int64_t b) {
	return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b) {
	return a < b ? a : b;
}

// ---- what happened

static bool within(const struct hindsight_case *of, int64_t moment_ms) {
	return moment_ms >= of->at_ms && moment_ms < of->until_ms;
}

static void observe(
	const struct hindsight_run *runs, size_t count, const struct hindsight_case *of, struct hindsight *hindsight) {
	for (size_t i = 0; i < count; i++) {
		int64_t due_ms = runs[i].eligible_ms + of->deadline_ms;
		hindsight->claimed += within(of, runs[i].started_ms);
		hindsight->late += runs[i].started_ms > due_ms && within(of, due_ms);
	}
	hindsight->worker_ms = (of->actual + of->draining) * (of->until_ms - of->at_ms);
}

// ---- what would have done

static bool holds(const struct hindsight_run *run, const struct hindsight_case *of) {
	return run->started_ms < of->at_ms && run->ended_ms > of->at_ms;
}

// Waits at that moment or comes until the last counted one is due.
static bool comes(const struct hindsight_run *run, const struct hindsight_case *of) {
	return run->started_ms >= of->at_ms && run->eligible_ms < of->until_ms + of->deadline_ms;
}

static int64_t begin_of(const struct hindsight_run *runs, size_t count, const struct hindsight_case *of) {
	for (size_t i = 0; i < count; i++)
		if (comes(&runs[i], of)) return least(runs[i].eligible_ms, of->at_ms) - 1;
	return of->at_ms - 1;
}

static void add(struct play *play, int64_t arrival_ms, int64_t run_ms, int32_t user) {
	replay_trace_add(&play->trace, &(struct replay_job){.arrival_ms = arrival_ms, .run_ms = most(1, run_ms), .user = user});
}

static void add_held(struct play *play, const struct hindsight_run *runs, size_t count) {
	for (size_t i = 0; i < count && play->held < HINDSIGHT_JOBS; i++) {
		if (!holds(&runs[i], play->of)) continue;
		add(play, 0, runs[i].ended_ms - play->of->at_ms, runs[i].user);
		play->held++;
	}
}

// true: not all of them.
static bool add_coming(struct play *play, const struct hindsight_run *runs, size_t count) {
	for (size_t i = 0; i < count; i++) {
		const struct hindsight_run *run = &runs[i];
		if (!comes(run, play->of)) continue;
		if (play->trace.count == (size_t)play->held + HINDSIGHT_JOBS) return true;
		bool ran = run->started_ms != HINDSIGHT_NEVER;
		add(play, run->eligible_ms - play->base_ms, ran ? run->ended_ms - run->started_ms : play->of->run_ms,
			run->user);
	}
	return false;
}

static void set_due(struct play *play) {
	const struct hindsight_case *of = play->of;
	int64_t at_ms = of->at_ms - play->base_ms, until_ms = of->until_ms - play->base_ms;
	int64_t soonest_ms = at_ms + of->start_ms * 5 / 4 + of->deadline_ms / 4;
	for (size_t i = 0; i < play->trace.count; i++) {
		int64_t arrival_ms = play->trace.jobs[i].arrival_ms;
		bool counts = i >= (size_t)play->held && arrival_ms < until_ms;
		play->due_ms[i] = counts ? most(arrival_ms + of->deadline_ms, soonest_ms) : REPLAY_NEVER;
		play->counted += counts;
	}
}

static int64_t missed(struct play *play, int64_t number) {
	const struct hindsight_case *of = play->of;
	const struct replay_config config = {
		.limits = {.deadline_ms = of->deadline_ms, .start_ms = of->start_ms, .max = number},
		.slots = of->slots,
		.user_running = of->user_running,
		.seed = SEED};
	const struct replay_policy policy = {.kind = REPLAY_FROM,
		.number = number,
		.from_ms = of->at_ms - play->base_ms,
		.ready = of->actual,
		.held = play->held};
	int64_t count = 0;
	replay_run_starts(&play->trace, &config, &policy, play->starts_ms);
	for (size_t i = 0; i < play->trace.count; i++) count += play->starts_ms[i] > play->due_ms[i];
	return count;
}

// The fewest that miss as few as the most do.
static int64_t fewest(struct play *play) {
	const struct hindsight_case *of = play->of;
	if (play->counted == 0) return of->fewest;
	int64_t useful = ((int64_t)play->trace.count + of->slots - 1) / of->slots;
	int64_t few = of->fewest - 1, enough = most(of->fewest, least(of->most, useful));
	int64_t unavoidable = missed(play, enough);
	while (enough - few > 1) {
		int64_t middle = few + (enough - few) / 2;
		if (missed(play, middle) <= unavoidable)
			enough = middle;
		else
			few = middle;
	}
	return enough;
}

void hindsight_judge(
	const struct hindsight_run *runs, size_t count, const struct hindsight_case *of, struct hindsight *hindsight) {
	*hindsight = (struct hindsight){0};
	observe(runs, count, of, hindsight);
	struct play play = {.of = of, .base_ms = begin_of(runs, count, of)};
	add_held(&play, runs, count);
	hindsight->partly = play.held == HINDSIGHT_JOBS;
	if (add_coming(&play, runs, count)) hindsight->partly = true;
	replay_trace_finish(&play.trace);
	AUTO_FREE int64_t *due_ms = mem_zalloc_array(play.trace.count + 1, sizeof *due_ms);
	AUTO_FREE int64_t *starts_ms = mem_zalloc_array(play.trace.count + 1, sizeof *starts_ms);
	play.due_ms = due_ms;
	play.starts_ms = starts_ms;
	set_due(&play);
	hindsight->needed = fewest(&play);
	replay_trace_clear(&play.trace);
}
