#include "observer/outlook.h"

#include "lib/mem.h"

#include <math.h>

#define PLAYED_LEAST 32
#define ENOUGH_RUNS  5. // of an owner, to go by its own distribution

static const int64_t places[OUTLOOK_PLACES] = {
	1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 450, 700, OUTLOOK_PLAYED, 10000, 100000, 1000000};

struct play {
	const struct outlook_input *input;
	uint64_t random;
	double *heap; // when each slot is free next, the soonest first
	size_t slots;
	int64_t played;
	const struct sketch *order[OUTLOOK_PLAYED]; // whose run each of the next jobs is
	double tail_mean_ms;                        // of those behind
	double starts[OUTLOOK_PLACES][OUTLOOK_REPEATS];
};

// xorshift64* (Vigna 2016); in [0, 1).
static double uniform(struct play *play) {
	play->random ^= play->random >> 12;
	play->random ^= play->random << 25;
	play->random ^= play->random >> 27;
	return (double)((play->random * 2685821657736338717u) >> 11) / 9007199254740992.0;
}

static double normal(struct play *play) {
	return sqrt(-2 * log(1 - uniform(play))) * cos(2 * 3.14159265358979 * uniform(play));
}

static const struct sketch *known(const struct play *play, const struct sketch *runs) {
	return runs && runs->total >= ENOUGH_RUNS ? runs : play->input->runs;
}

static double draw(struct play *play, const struct sketch *runs, double above_ms) {
	double u = uniform(play);
	if (runs->total > 0) return sketch_draw_ms(runs, above_ms, u);
	return above_ms - OUTLOOK_UNKNOWN_MS * log(1 - u);
}

static double mean_of(const struct sketch *runs) {
	return runs->total > 0 ? sketch_mean_ms(runs) : OUTLOOK_UNKNOWN_MS;
}

// ---- the slots, as a binary heap

static void sink(struct play *play, size_t place) {
	double value = play->heap[place];
	for (size_t child; (child = 2 * place + 1) < play->slots; place = child) {
		if (child + 1 < play->slots && play->heap[child + 1] < play->heap[child]) child++;
		if (value <= play->heap[child]) break;
		play->heap[place] = play->heap[child];
	}
	play->heap[place] = value;
}

static void fill_slots(struct play *play) {
	const struct outlook_input *input = play->input;
	size_t there = (size_t)input->slots < play->slots ? (size_t)input->slots : play->slots;
	for (size_t i = 0; i < play->slots; i++) {
		if (i < there && i < input->running_count) {
			const struct outlook_running *running = &input->running[i];
			double age_ms = (double)running->age_ms;
			play->heap[i] = draw(play, known(play, running->runs), age_ms) - age_ms;
		} else {
			play->heap[i] = i < there ? 0 : (double)input->start_ms * (0.5 + uniform(play));
		}
	}
	for (size_t i = play->slots / 2; i-- > 0;) sink(play, i);
}

// ---- whose turn it is: the fewest running and taken, by weight (sql/0022-lanes.sql, trabajos_take)

static void set_order(struct play *play) {
	const struct outlook_input *input = play->input;
	AUTO_FREE int64_t *taken = mem_zalloc_array(input->lane_count + 1, sizeof *taken);
	for (int64_t k = 0; k < play->played; k++) {
		const struct outlook_lane *next = NULL;
		double lowest = INFINITY;
		for (size_t i = 0; i < input->lane_count; i++) {
			const struct outlook_lane *lane = &input->lanes[i];
			double turn = (double)(lane->running + taken[i] + 1) / lane->weight;
			if (taken[i] >= lane->jobs || turn >= lowest) continue;
			lowest = turn;
			next = lane;
		}
		if (next) taken[next - input->lanes]++;
		play->order[k] = known(play, next ? next->runs : NULL);
	}
	double jobs = 0, sum = 0;
	for (size_t i = 0; i < input->lane_count; i++) {
		double left = (double)(input->lanes[i].jobs - taken[i]);
		jobs += left;
		sum += left * mean_of(known(play, input->lanes[i].runs));
	}
	play->tail_mean_ms = jobs > 0 ? sum / jobs : mean_of(input->runs);
}

// ---- playing

// How far off the mean of so few measured times may be: their spread is taken as large as their mean.
static double off(struct play *play) {
	double measured = play->input->runs->total;
	return exp(normal(play) / sqrt(measured > 4 ? measured : 4));
}

static void play_once(struct play *play, size_t repeat) {
	fill_slots(play);
	double factor = off(play), now_ms = 0;
	size_t at = 0;
	for (int64_t k = 1; k <= play->played; k++) {
		now_ms = play->heap[0];
		if (k == places[at]) play->starts[at++][repeat] = now_ms;
		play->heap[0] += draw(play, play->order[k - 1], 0) * factor;
		sink(play, 0);
	}
	for (; at < OUTLOOK_PLACES; at++)
		play->starts[at][repeat] =
			now_ms + (double)(places[at] - play->played) * play->tail_mean_ms * factor / (double)play->slots;
}

static int by_size(const void *left, const void *right) {
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static void summarise(struct play *play, struct outlook *outlook) {
	for (size_t i = 0; i < OUTLOOK_PLACES; i++) {
		qsort(play->starts[i], OUTLOOK_REPEATS, sizeof(double), by_size);
		outlook->places[i] = places[i];
		outlook->low_ms[i] = (int64_t)play->starts[i][OUTLOOK_REPEATS / 10];
		outlook->median_ms[i] = (int64_t)play->starts[i][OUTLOOK_REPEATS / 2];
		outlook->high_ms[i] = (int64_t)play->starts[i][OUTLOOK_REPEATS - 1 - OUTLOOK_REPEATS / 10];
	}
	outlook->count = OUTLOOK_PLACES;
}

// As many as wait, and some that come; the slots that are free at once all count.
static int64_t to_play(const struct outlook_input *input, int64_t slots) {
	int64_t jobs = PLAYED_LEAST + slots;
	for (size_t i = 0; i < input->lane_count && jobs < OUTLOOK_PLAYED; i++) jobs += input->lanes[i].jobs;
	return jobs < OUTLOOK_PLAYED ? jobs : OUTLOOK_PLAYED;
}

void outlook_make(const struct outlook_input *input, struct outlook *outlook) {
	int64_t slots = input->slots + input->starting_slots;
	*outlook = (struct outlook){0};
	if (slots <= 0) return;
	struct play *play = mem_zalloc(sizeof *play);
	play->input = input;
	play->random = 88172645463325252u;
	play->slots = (size_t)(slots < OUTLOOK_SLOTS ? slots : OUTLOOK_SLOTS);
	play->heap = mem_zalloc_array(play->slots, sizeof *play->heap);
	play->played = to_play(input, slots);
	set_order(play);
	for (size_t repeat = 0; repeat < OUTLOOK_REPEATS; repeat++) play_once(play, repeat);
	summarise(play, outlook);
	free(play->heap);
	free(play);
}
