// A step of the start that blocks and has to wait for a service: on a thread of its own, repeated with backoff until it succeeds,
// or until it fails by the configuration (ERROR_INPUT, ERROR_USAGE), which no time will mend.
#pragma once

#include "lib/error.h"
#include "lib/loop.h"

#include <stdbool.h>

struct starter;

struct starter_step {
	const char *name;                           // for the log
	int (*run)(void *arg, struct error *error); // on the thread
	// In the loop; one of them, once.
	void (*done)(void *arg);
	void (*failed)(const struct error *error, void *arg);
	void *arg;
};

bool starter_hopeless(const struct error *error); // by the configuration
struct starter *starter_run(struct loop *loop, const struct starter_step *step) MUST_USE;
// From the loop's thread. True from the call of done on. *why (may be NULL): of the last failure, owned by the caller.
bool starter_done(struct starter *starter, char **why);
// Asks the thread to end (starter_ask, to be called for all before waiting for one), then waits for it up to wait_ms and frees.
// -1: it is inside a blocking call still and nothing was freed; the process is to be left by _exit.
void starter_ask(struct starter *starter);                           // NULL is fine
int starter_stop(struct starter *starter, int64_t wait_ms) MUST_USE; // NULL is fine
