#include "observer/replay_model.h"

#include "observer/replay_internal.h"

#include <math.h>

#define HOUR_MS 3600000.0
#define DAY_MS  (24 * HOUR_MS)

struct maker {
	uint64_t random;
	struct replay_trace *trace;
};

static double uniform(struct maker *maker) {
	return replay_random(&maker->random);
}

static double exponential(struct maker *maker, double mean) {
	return -mean * log1p(-uniform(maker));
}

static double log_normal(struct maker *maker, double median, double sigma) {
	double radius = sqrt(-2 * log1p(-uniform(maker)));
	return median * exp(sigma * radius * cos(2 * M_PI * uniform(maker)));
}

static double pareto(struct maker *maker, double least, double alpha, double most) {
	return fmin(most, least * pow(1 - uniform(maker), -1 / alpha));
}

// Not nested calls: in which order a compiler draws the arguments is its own affair.
static void post(struct maker *maker, double at_ms, double run_ms, int user) {
	struct replay_job job = {.arrival_ms = (int64_t)at_ms, .run_ms = (int64_t)fmax(1, run_ms), .user = user};
	replay_trace_add(maker->trace, &job);
}

static int any_user(struct maker *maker, int users) {
	return (int)(uniform(maker) * users);
}

// ---- the models

static void steady(struct maker *maker) {
	double at = 0;
	while ((at += exponential(maker, 2500)) < DAY_MS / 2) {
		double run_ms = log_normal(maker, 12000, 0.9);
		post(maker, at, run_ms, any_user(maker, 20));
	}
}

// Thinning: arrivals at the highest rate, of which the part of the day's height stays.
static void wave(struct maker *maker) {
	double at = 0;
	while ((at += exponential(maker, 1500)) < DAY_MS) {
		double height = (1 - cos(2 * M_PI * at / DAY_MS)) / 2;
		if (uniform(maker) >= height * height) continue;
		double run_ms = log_normal(maker, 15000, 1);
		post(maker, at, run_ms, any_user(maker, 50));
	}
}

static void flash(struct maker *maker) {
	double at = 0;
	while ((at += exponential(maker, 30000)) < DAY_MS) {
		double run_ms = log_normal(maker, 8000, 0.8);
		post(maker, at, run_ms, any_user(maker, 20));
	}
	for (int crowd = 0; crowd < 10; crowd++) {
		double begins = uniform(maker) * (DAY_MS - HOUR_MS);
		for (int i = 0; i < 300; i++) {
			double after_ms = exponential(maker, 30000);
			post(maker, begins + after_ms, log_normal(maker, 8000, 0.8), 20 + i);
		}
	}
}

static void batch(struct maker *maker) {
	double at = 0;
	while ((at += exponential(maker, HOUR_MS / 2)) < DAY_MS) {
		int user = any_user(maker, 5), size = (int)pareto(maker, 20, 1.2, 1000);
		for (int i = 0; i < size; i++) post(maker, at, pareto(maker, 5000, 1.5, 600000), user);
	}
}

static void noisy(struct maker *maker) {
	double at = 0;
	while ((at += exponential(maker, 20000)) < DAY_MS) {
		double run_ms = log_normal(maker, 15000, 0.8);
		post(maker, at, run_ms, 1 + any_user(maker, 20));
	}
	for (int storm = 0; storm < 6; storm++) {
		for (int i = 0; i < 300; i++)
			post(maker, (2 + 4 * storm) * HOUR_MS + i * 200, log_normal(maker, 15000, 0.8), 0);
	}
}

// Builds of minutes in working hours.
static void builds(struct maker *maker) {
	double at = 7 * HOUR_MS;
	while ((at += exponential(maker, 20000)) < 19 * HOUR_MS) {
		double lunch = fabs(at / HOUR_MS - 12.5) < 0.75 ? 0.4 : 1;
		if (uniform(maker) >= lunch) continue;
		double run_ms = pareto(maker, 45000, 1.6, 3600000);
		post(maker, at, run_ms, any_user(maker, 40));
	}
}

static const struct model {
	double span_ms;
	void (*make)(struct maker *maker);
} models[] = {
	{DAY_MS / 2, steady}, // Poisson, 24 a minute for 12 hours, log-normal runs of 18 s on average
	{DAY_MS, wave},       // a day from nothing to 40 a minute and back, log-normal runs of 25 s
	{DAY_MS, flash},      // 2 a minute, and ten times a day 300 jobs within a minute, log-normal runs of 11 s
	{DAY_MS, batch},      // every half hour 20 to 1000 jobs at once, Pareto runs of 5 s to 10 min
	{DAY_MS, noisy},  // 20 users with 3 a minute, one with 300 jobs within a minute every 4 hours, log-normal runs of 21 s
	{DAY_MS, builds}, // 3 a minute from 7 to 19 h, Pareto runs of 45 s to an hour
};
const char *const replay_model_names[] = {"steady", "wave", "flash", "batch", "noisy", "builds", NULL};

void replay_model_make(int64_t model, uint64_t seed, struct replay_trace *trace) {
	struct maker maker = {.random = seed * 1000003 + (uint64_t)model, .trace = trace};
	trace->span_ms = (int64_t)models[model].span_ms;
	models[model].make(&maker);
	replay_trace_finish(trace);
}
