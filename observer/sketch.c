#include "observer/sketch.h"

#include <math.h>

#define WIDER 1.12
#define TAIL  1.5

static int bucket_of(double ms) {
	int bucket = ms < 1 ? 0 : (int)(log(ms) / log(WIDER));
	return bucket < SKETCH_BUCKETS ? bucket : SKETCH_BUCKETS - 1;
}

static double bucket_begin(int bucket) {
	return bucket == 0 ? 0 : pow(WIDER, bucket);
}

void sketch_add(struct sketch *sketch, int64_t ms) {
	sketch->counts[bucket_of((double)ms)] += 1;
	sketch->total += 1;
	if (sketch->total < SKETCH_FULL) return;
	for (int i = 0; i < SKETCH_BUCKETS; i++) sketch->counts[i] /= 2;
	sketch->total /= 2;
}

static double at(const struct sketch *sketch, double rank) {
	double below = 0;
	int last = 0;
	for (int i = 0; i < SKETCH_BUCKETS; i++) {
		if (sketch->counts[i] <= 0) continue;
		last = i;
		if (below + sketch->counts[i] > rank) break;
		below += sketch->counts[i];
	}
	double share = (rank - below) / sketch->counts[last];
	double begin = bucket_begin(last);
	return begin + (bucket_begin(last + 1) - begin) * fmin(fmax(share, 0), 1);
}

int64_t sketch_quantile_ms(const struct sketch *sketch, double q) {
	return sketch->total > 0 ? (int64_t)at(sketch, q * sketch->total) : 0;
}

double sketch_mean_ms(const struct sketch *sketch) {
	double sum = 0;
	for (int i = 0; i < SKETCH_BUCKETS; i++) sum += sketch->counts[i] * (bucket_begin(i) + bucket_begin(i + 1)) / 2;
	return sketch->total > 0 ? sum / sketch->total : 0;
}

double sketch_draw_ms(const struct sketch *sketch, double above_ms, double u) {
	if (sketch->total <= 0) return 0;
	double below = 0;
	int bucket = above_ms > 0 ? bucket_of(above_ms) + 1 : 0;
	for (int i = 0; i < bucket && i < SKETCH_BUCKETS; i++) below += sketch->counts[i];
	double above = sketch->total - below;
	if (above < 0.5) return above_ms * pow(1 - u, -1 / TAIL);
	return fmax(above_ms, at(sketch, below + u * above));
}
