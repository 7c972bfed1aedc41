// What to do so that there are as many workers as wanted: a pure function over what an actuator runs (units) and what the ledger
// knows (workers alive). Nothing is remembered, so that whoever takes over, or starts again, goes on from what is there.
//
// A unit and a worker are the same one by host and pid. Workers that are nobody's unit (started by hand, by others) count, and are
// never touched; so do not those that an operator drains. A unit that no worker has registered for yet is starting, and counts: it
// is neither started twice nor ended, since nobody knows whether it has begun a job.
#pragma once

#include "lib/attr.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLEET_NAME 256

struct fleet_unit {
	char name[FLEET_NAME]; // the actuator's own
	char host[FLEET_NAME];
	int64_t pid; // 0: the host alone tells which worker it is
	bool gone;   // has ended, or was told to: it does not count, its worker's row may live on for a lease
};

struct fleet_worker {
	char id[UUID_TEXT];
	char host[FLEET_NAME];
	int64_t pid, running, age_ms;
	bool draining;
	bool retiring; // draining because an observer asked it to
};

struct fleet_view {
	const struct fleet_unit *units;
	size_t unit_count;
	const struct fleet_worker *workers;
	size_t worker_count;
	int64_t wanted;
};

struct fleet_pair {
	const struct fleet_unit *unit;
	const struct fleet_worker *worker;
};

struct fleet_plan {
	int64_t present;         // units that claim or will; foreign workers too
	int64_t starting;        // of them: not registered yet
	int64_t start;           // so many are to be started
	struct fleet_pair *keep; // retiring, and needed again: take it back
	size_t keep_count;
	struct fleet_pair *retire; // in order of preference, so that `retire_most` of them are retired or have been: idle ones
				   // first, the youngest first; those that are retiring already before all
	size_t retire_count, retire_most;
	bool only_idle; // one that turns out to be busy is passed over; else it finishes what it has
};

void fleet_plan_make(const struct fleet_view *view, struct fleet_plan *plan);
void fleet_plan_clear(struct fleet_plan *plan);
