// Periods that are made up: each a kind of load that a job runner meets, for bench/scale and for trying the options out. The same
// seed gives the same jobs on every machine that computes doubles by IEEE 754.
#pragma once

#include "observer/replay.h"

// NULL-terminated: for an option's choices.
extern const char *const replay_model_names[];
void replay_model_make(int64_t model, uint64_t seed, struct replay_trace *trace);
