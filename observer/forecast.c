#include "observer/forecast.h"

#include <math.h>

#define PACE_DOUBT 2 // standard deviations of the number that should have ended
#define PACE_PRIOR 3 // runs that are taken to have ended as expected

// ---- what is left of a run that has taken age_ms

struct left {
	double beyond, cut_ms, ends; // weight of the longer ones; of these: sum of min(S - x, h), and the weight of S <= x + h
};

static struct left left_among(const struct forecast *forecast, int count, double age_ms, double h_ms) {
	struct left left = {0};
	for (int i = 0; i < count; i++) {
		const struct forecast_point *point = &forecast->points[i];
		double rest_ms = point->ms - age_ms;
		if (rest_ms <= 0) continue;
		left.beyond += point->weight;
		left.cut_ms += point->weight * fmin(rest_ms, h_ms);
		if (rest_ms <= h_ms) left.ends += point->weight;
	}
	return left;
}

double forecast_cut_ms(const struct forecast *forecast, double h_ms) {
	double sum_ms = 0;
	for (int i = 0; i < forecast->count; i++) sum_ms += forecast->points[i].weight * fmin(forecast->points[i].ms, h_ms);
	return sum_ms;
}

double forecast_mean_ms(const struct forecast *forecast) {
	return forecast_cut_ms(forecast, INFINITY);
}

// ---- begins

double forecast_free_begins(const struct forecast *forecast, double h_ms) {
	if (h_ms <= 0) return 1;
	return fmax(1, h_ms / forecast_cut_ms(forecast, h_ms));
}

double forecast_busy_begins(const struct forecast *forecast, double age_ms, double h_ms, double cut_ms) {
	if (h_ms <= 0) return 0;
	struct left left = left_among(forecast, forecast->count, age_ms, h_ms);
	if (left.beyond <= 0) return fmax(h_ms / (age_ms + h_ms), (h_ms - fmin(h_ms, age_ms * log1p(h_ms / age_ms))) / cut_ms);
	return fmax(left.ends, (left.beyond * h_ms - left.cut_ms) / cut_ms) / left.beyond;
}

// ---- the mixture

static void add(struct forecast *forecast, double ms, double weight) {
	forecast->points[forecast->count++] = (struct forecast_point){.ms = fmax(1, ms), .weight = weight};
}

// Between two quantiles stands their middle; below the first one, three quarters of it.
static void add_ended(struct forecast *forecast, const int64_t run_at_ms[SAMPLE_QUANTILES], int64_t mean_ms, double weight) {
	static const double levels[SAMPLE_QUANTILES] = {SAMPLE_LEVELS};
	if (run_at_ms[SAMPLE_QUANTILES - 1] <= 0) {
		add(forecast, (double)mean_ms, weight);
		return;
	}
	add(forecast, (double)run_at_ms[0] * 0.75, levels[0] * weight);
	for (int i = 1; i < SAMPLE_QUANTILES; i++)
		add(forecast, (double)(run_at_ms[i - 1] + run_at_ms[i]) / 2, (levels[i] - levels[i - 1]) * weight);
}

static double running_cut_ms(const struct sample *sample, double h_ms) {
	if (sample->running_at_ms[SAMPLE_TENTHS - 1] <= 0)
		return (double)sample->running * fmin((double)sample->running_age_ms, h_ms);
	double sum_ms = 0;
	for (int i = 0; i < SAMPLE_TENTHS; i++) sum_ms += fmin((double)sample->running_at_ms[i], h_ms);
	return (double)sample->running * sum_ms / SAMPLE_TENTHS;
}

// The time that slots spent on runs lately, by the mean of a run, is the number of runs that should have ended. Where far fewer did,
// runs are longer by now than those that are remembered: by so many times.
static double slower(const struct forecast *forecast, const struct sample *sample) {
	if (sample->ended_ms <= 0) return 1;
	double span_ms = (double)sample->ended_ms, ended = (double)sample->ended;
	double spent_ms = running_cut_ms(sample, span_ms) + ended * forecast_cut_ms(forecast, span_ms);
	double expected = spent_ms / forecast_mean_ms(forecast);
	return fmax(1, (expected - PACE_DOUBT * sqrt(expected) + PACE_PRIOR) / (ended + PACE_PRIOR));
}

static double whole_ms(const struct forecast *forecast, double age_ms) {
	struct left left = left_among(forecast, forecast->ended, age_ms, INFINITY);
	return age_ms + (left.beyond > 0 ? left.cut_ms / left.beyond : age_ms);
}

static void add_running(struct forecast *forecast, const struct sample *sample, double weight) {
	bool tenths = sample->running_at_ms[SAMPLE_TENTHS - 1] > 0;
	int count = tenths ? SAMPLE_TENTHS : 1;
	for (int i = 0; i < count; i++) {
		int64_t age_ms = tenths ? sample->running_at_ms[i] : sample->running_age_ms;
		add(forecast, whole_ms(forecast, (double)age_ms), weight / count);
	}
}

void forecast_init(struct forecast *forecast, const int64_t run_at_ms[SAMPLE_QUANTILES], int64_t mean_ms, int64_t ended,
	const struct sample *sample) {
	*forecast = (struct forecast){0};
	double all = (double)ended + (double)sample->running;
	double of_ended = sample->running > 0 ? (double)ended / all : 1;
	add_ended(forecast, run_at_ms, mean_ms, 1);
	forecast->ended = forecast->count;
	double times = slower(forecast, sample);
	for (int i = 0; i < forecast->count; i++) forecast->points[i].ms *= times;
	if (sample->running == 0) return;
	for (int i = 0; i < forecast->count; i++) forecast->points[i].weight *= of_ended;
	add_running(forecast, sample, 1 - of_ended);
}
