// The places for jobs of a worker: config.slots of them, each free or with one job, from its claim until its end is written.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct worker;

void slots_open(struct worker *worker); // worker->slots, all free, and their figures in /metrics
void slots_close(struct worker *worker);

int64_t slots_busy(const struct worker *worker);
int64_t slots_free(const struct worker *worker);
void slots_changed(struct worker *worker); // one was taken or left: for the figures

// Whether a job is here that must run alone; it does as soon as nothing else is here (slots_begin_alone: look whether it can).
bool slots_keep_to_one(const struct worker *worker);
void slots_begin_alone(struct worker *worker);

// All jobs go back to the queue, killed where they run; or those alone that wait and have not begun.
void slots_give_back(struct worker *worker);
void slots_give_back_waiting(struct worker *worker);
