// How many jobs a slot will begin within a time, from the run times that were measured. Pure.
//
// S is a run's time (claim to end), h the time ahead. All rests on Wald's equation for S cut off at h: the cut times that begin
// within h sum up to at least h, so that a slot that is free now begins on average
//     B(h) >= h / E[min(S, h)]          and at least 1,
// whatever the distribution, heavy tails included (the asymptotic h / E[S] promises too little there, and too much where all are
// long). A slot whose run has taken x already gives back r = E[min(S - x, h) | S > x] of the time, and begins on average
//     b(h) >= (h - r) / E[min(S, h)]    and at least P(S <= x + h | S > x).
//
// S is a mixture: the measured quantiles of the runs that ended, and each running job as one more run of the length that is to
// be expected of it. In an overload the ended runs are the short ones, and only the running ones tell. And where another kind of
// job comes, the last minutes tell of the former: the time that slots spent lately, by the mean run, should have ended a number of
// runs; where far fewer ended (by two standard deviations), the ended ones are taken as longer by that. Of a run that has taken
// longer than any known one nothing is known but that: P(S > x + h | S > x) is taken as x / (x + h).
#pragma once

#include "observer/sample.h"

#define FORECAST_POINTS (SAMPLE_QUANTILES + SAMPLE_TENTHS)

struct forecast {
	struct forecast_point {
		double ms, weight;
	} points[FORECAST_POINTS]; // weights sum up to 1
	int count, ended;          // the first `ended` ones are of ended runs
};

// run_at_ms: quantiles at SAMPLE_LEVELS (all 0: only the mean is known) of so many ended runs; and of the sample's running jobs.
void forecast_init(struct forecast *forecast, const int64_t run_at_ms[SAMPLE_QUANTILES], int64_t mean_ms, int64_t ended,
	const struct sample *sample);
double forecast_mean_ms(const struct forecast *forecast);
double forecast_cut_ms(const struct forecast *forecast, double h_ms);      // E[min(S, h)]
double forecast_free_begins(const struct forecast *forecast, double h_ms); // B(h); 1 where h is 0 or less
// b(h); 0 where h is 0 or less. cut_ms: E[min(S, h)], which many slots share.
double forecast_busy_begins(const struct forecast *forecast, double age_ms, double h_ms, double cut_ms);
