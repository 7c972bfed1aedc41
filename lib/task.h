// A thread with work of its own that can be asked to end, also while it waits.
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct task;

struct task *task_start(const char *name, void (*run)(struct task *task, void *arg), void *arg) MUST_USE;

// From the task's own thread.
bool task_pause(struct task *task, int64_t ms); // waits; false as soon as the task shall end
bool task_ending(struct task *task);

// From its owner: asks it to end (task_ask, to be called for all before waiting for one), then waits for it and frees it.
// -1: it had not ended within the time and still runs; the process is to be left by _exit.
void task_ask(struct task *task);                     // NULL is fine
int task_end(struct task *task, int64_t ms) MUST_USE; // NULL is fine
