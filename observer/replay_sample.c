#include "observer/replay_internal.h"

static int smaller_first(const void *a, const void *b) {
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
	return (left > right) - (left < right);
}

// percentile_disc: the tenth i of n is the one at place ceil(n * i / 10).
static int64_t place_of_tenth(int64_t count, int tenth) {
	return (count * tenth + 9) / 10;
}

static void measure_queue(const struct sim *sim, struct sample *sample) {
	int64_t count = sim->queue.count, place = 0, read = count < SAMPLE_MOST ? count : SAMPLE_MOST;
	int tenth = 0;
	sample->queued = sample->queued_by[SAMPLE_NORMAL] = count;
	if (count == 0) return;
	sample->oldest_ms = sim->now_ms - sim->trace->jobs[sim->queue.first].arrival_ms;
	sample->oldest_by_ms[SAMPLE_NORMAL] = sample->oldest_ms;
	for (int32_t job = sim->queue.first; place < read; job = sim->jobs[job].queue.behind) {
		place++;
		bool measured = place == 1;
		for (; tenth < 10 && place >= place_of_tenth(read, tenth + 1); tenth++) measured = true;
		int64_t age_ms = sim->now_ms - sim->trace->jobs[job].arrival_ms;
		if (measured) sample->ranks[sample->rank_count++] = (struct sample_rank){.place = place, .age_ms = age_ms};
	}
	int64_t newest_ms = sim->now_ms - sim->trace->jobs[sim->queue.last].arrival_ms;
	if (count > read) sample->ranks[sample->rank_count++] = (struct sample_rank){.place = count, .age_ms = newest_ms};
}

static void measure_running(const struct sim *sim, struct sample *sample) {
	int64_t count = sim->running.count, sum_ms = 0, place = 0;
	int tenth = 0;
	sample->running = count;
	// the latest start first: by growing age
	for (int32_t job = sim->running.last; job != NOBODY; job = sim->jobs[job].queue.before) {
		int64_t age_ms = sim->now_ms - sim->jobs[job].claimed_ms;
		sum_ms += age_ms;
		place++;
		for (; tenth < SAMPLE_TENTHS && place >= place_of_tenth(count, tenth + 1); tenth++)
			sample->running_at_ms[tenth] = age_ms;
	}
	if (count > 0) sample->running_age_ms = sum_ms / count;
}

static int64_t arrivals_since(const struct sim *sim, size_t *from, int64_t window_ms) {
	while (*from < sim->arrived && sim->trace->jobs[*from].arrival_ms <= sim->now_ms - window_ms) ++*from;
	return (int64_t)(sim->arrived - *from);
}

static void know_runs(struct sim *sim) {
	static const double levels[SAMPLE_QUANTILES] = {SAMPLE_LEVELS};
	size_t from = sim->ended_from, count = sim->ended_count - from;
	if (count > SAMPLE_MOST) {
		count = SAMPLE_MOST;
		from = sim->ended_count - count;
	}
	if (count == 0 || (sim->ended_known == sim->ended_count && sim->known_from == from)) return;
	int64_t sum_ms = 0;
	for (size_t i = 0; i < count; i++) {
		sim->scratch[i] = sim->ended[from + i].took_ms;
		sum_ms += sim->scratch[i];
	}
	qsort(sim->scratch, count, sizeof *sim->scratch, smaller_first);
	for (int i = 0; i < SAMPLE_QUANTILES; i++) {
		double place = levels[i] * (double)(count - 1); // percentile_cont
		size_t below = (size_t)place, above = below + 1 < count ? below + 1 : below;
		double part = place - (double)below;
		sim->known_at_ms[i] = (int64_t)((double)sim->scratch[below] * (1 - part) + (double)sim->scratch[above] * part);
	}
	sim->known_mean_ms = sum_ms / (int64_t)count;
	sim->ended_known = sim->ended_count;
	sim->known_from = from;
}

static void measure_runs(struct sim *sim, struct sample *sample) {
	while (sim->ended_from < sim->ended_count && sim->ended[sim->ended_from].at_ms <= sim->now_ms - SAMPLE_FLOW_MS)
		sim->ended_from++;
	while (sim->pace_from < sim->ended_count && sim->ended[sim->pace_from].at_ms <= sim->now_ms - SAMPLE_PACE_MS)
		sim->pace_from++;
	sample->ended = (int64_t)(sim->ended_count - sim->pace_from);
	sample->ended_ms = SAMPLE_PACE_MS;
	sample->runs = (int64_t)(sim->ended_count - sim->ended_from);
	if (sample->runs == 0) return;
	know_runs(sim);
	sample->run_mean_ms = sim->known_mean_ms;
	for (int i = 0; i < SAMPLE_QUANTILES; i++) sample->run_at_ms[i] = sim->known_at_ms[i];
	sample->run_p50_ms = sample->run_at_ms[4];
	sample->run_p95_ms = sample->run_at_ms[9];
}

void replay_sample(struct sim *sim, struct sample *sample) {
	*sample = (struct sample){.at_ms = sim->now_ms, .arrivals_ms = SAMPLE_FLOW_MS, .lately_ms = SAMPLE_LATELY_MS};
	measure_queue(sim, sample);
	measure_running(sim, sample);
	measure_runs(sim, sample);
	sample->arrivals = arrivals_since(sim, &sim->flow_from, SAMPLE_FLOW_MS);
	sample->lately = arrivals_since(sim, &sim->lately_from, SAMPLE_LATELY_MS);
	sample->busy = sim->busy;
	sample->idle = sim->up - sim->busy;
	sample->slots = sim->up * sim->config->slots;
	sample->draining = sim->draining;
	sample->last_slots = sim->config->slots;
	sample->starting = sim->starting;
	sample->start_ms = sim->config->limits.start_ms;
	sample->kafka_waits = LAG_NONE;
}
