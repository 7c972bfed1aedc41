// How long a worker takes from being asked for to being alive, whoever starts it: measured by watching the wanted number rise, and
// the actual one after it.
#pragma once

#include <stdint.h>

#define STARTUP_ASKS    64
#define STARTUP_KEPT    9
#define STARTUP_LOST_MS 600000 // who does not come in this time does not count

struct startup {
	int64_t actual;
	int64_t asked_at_ms[STARTUP_ASKS]; // of each worker that is awaited, the oldest first
	int asked;
	int64_t took_ms[STARTUP_KEPT];
	int64_t measured;
};

void startup_actual(struct startup *startup, int64_t at_ms, int64_t actual); // with each sample, then
void startup_wanted(struct startup *startup, int64_t at_ms, int64_t wanted); // with the decision on it
int64_t startup_ms(const struct startup *startup);                           // the median of the last ones; 0: none yet
