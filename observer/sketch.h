// A streaming distribution of times in bounded memory: a histogram with logarithmic buckets (each 12 % wider than the one before,
// so that a quantile is wrong by 6 % at most), whose old content fades as new comes.
#pragma once

#include <stdint.h>

#define SKETCH_BUCKETS 160   // 1 ms to 20 h
#define SKETCH_FULL    1000. // so many times weigh; then all is halved

struct sketch {
	double counts[SKETCH_BUCKETS], total;
};

void sketch_add(struct sketch *sketch, int64_t ms);
int64_t sketch_quantile_ms(const struct sketch *sketch, double q); // 0 where it is empty
double sketch_mean_ms(const struct sketch *sketch);
// A time longer than `above_ms`, as the distribution has it; u: uniform in [0, 1). Where it knows none so long, the longer the longer
// it has taken (as in a Pareto distribution of exponent 1.5). 0 where it is empty.
double sketch_draw_ms(const struct sketch *sketch, double above_ms, double u);
