// Brings the database's schema and Kafka's topics up to what this program needs, each on a thread of its own and tried again for
// as long as its service cannot be reached.
#pragma once

#include "lib/db.h"
#include "lib/kafka.h"
#include "lib/loop.h"

#include <stdbool.h>

struct prepare;

struct prepare_config {
	const struct db_config *db; // both borrowed
	const struct kafka_config *kafka;
	// In the loop, each once at most.
	void (*schema_done)(void *arg);
	void (*topics_done)(void *arg);
	void (*failed)(const struct error *error, void *arg); // by a configuration that no time will mend
	void *arg;
};

struct prepare *prepare_start(struct loop *loop, const struct prepare_config *config) MUST_USE;
// From the loop's thread. *why (may be NULL): why not yet, owned by the caller.
bool prepare_schema_done(struct prepare *prepare, char **why);
bool prepare_topics_done(struct prepare *prepare, char **why);
// Waits up to wait_ms for each thread. -1: one is inside a blocking call still; the process is to be left by _exit. NULL is fine.
int prepare_close(struct prepare *prepare, int64_t wait_ms) MUST_USE;
