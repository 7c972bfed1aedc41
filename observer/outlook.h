// When the jobs of the queue will start: the queue played forward, many times, on the slots that there are and those that are coming.
// A pure function: the same input gives the same forecast.
//
// A slot that runs a job becomes free after what that job still takes, given how long it has run. Jobs go by fair share, each taking
// a time drawn from its owner's distribution. In each repetition all times are off by a factor of its own, as far as so few
// measured ones can be off. What arrives later is not played; the API adds those that will overtake (sql/0005-scale.sql).
#pragma once

#include "lib/attr.h"
#include "observer/sketch.h"

#include <stddef.h>
#include <stdint.h>

#define OUTLOOK_PLACES     20
#define OUTLOOK_PLAYED     1024 // jobs played; those behind them follow at the mean pace
#define OUTLOOK_REPEATS    48
#define OUTLOOK_SLOTS      4096  // most that are played; of more, as many as if the queue were shorter
#define OUTLOOK_UNKNOWN_MS 10000 // a run, where none was ever measured

struct outlook_lane {
	int64_t jobs, running;
	double weight;
	const struct sketch *runs; // NULL: as all
};

struct outlook_running {
	int64_t age_ms;
	const struct sketch *runs; // NULL: as all
};

struct outlook_input {
	int64_t slots; // of workers that claim
	const struct outlook_running *running;
	size_t running_count;
	int64_t starting_slots, start_ms; // asked for, and coming in about that time
	const struct outlook_lane *lanes;
	size_t lane_count;
	const struct sketch *runs;
};

// The job at places[i] of the line starts in so many ms; count 0: no slot is there, nor is one coming.
struct outlook {
	size_t count;
	int64_t places[OUTLOOK_PLACES];
	int64_t low_ms[OUTLOOK_PLACES], median_ms[OUTLOOK_PLACES], high_ms[OUTLOOK_PLACES]; // P10, P50, P90
};

void outlook_make(const struct outlook_input *input, struct outlook *outlook);
