// Reads topic `resultados` (consumer group `observer`) on a thread of its own and prints the original's line for each result:
//
//     received message: <value> timeResultArrived: <ms> wait was: <ms>
//
// wait = timestamp − timeJobPosted − timeExecution. Every record is printed; the histograms of wait and run time count each
// result once (of several records for a key only those of a higher attempt). A record that cannot be read is counted, logged
// (at most ten in ten seconds) and passed over.
#pragma once

#include "lib/kafka.h"

#include <stdbool.h>

struct wait;

struct wait_config {
	const struct kafka_config *kafka;
	// In the loop's thread: standard output takes no more lines (its reader has gone, the disk is full). What was not printed does
	// not count as read.
	void (*failed)(const struct error *error, void *arg);
	void *arg;
};

// The topic should exist. Does not wait for a broker; fails only on a bad configuration.
int wait_open(struct loop *loop, const struct wait_config *config, struct wait **wait, struct error *error) MUST_USE;
// Any thread. Whether results are being read; if not, *reason (owned by the caller) says why.
bool wait_ready(struct wait *wait, char **reason);
void wait_ask(struct wait *wait);                       // to end soon; NULL is fine
int wait_close(struct wait *wait, int64_t ms) MUST_USE; // NULL is fine; -1: see task_end

// The line, with its newline; owned by the caller. Control characters of the value become spaces: one record, one line.
char *wait_line(const char *value, size_t length, int64_t arrived_ms, int64_t wait_ms) MUST_USE;
