// The worker's Kafka thread: prepares the ledger and the topics at start, then polls `trabajos` all the time, writes each batch
// into the ledger and only then stores its offsets. It never runs a job, so a long job never blocks a poll.
#pragma once

#include "lib/db.h"
#include "lib/giturl.h"
#include "lib/kafka.h"

#include <stdbool.h>

struct ingest_config {
	const struct kafka_config *kafka;
	const struct db_config *db;
	const struct giturl_rules *git_rules;
	int64_t retention_days; // records older than that less a day are counted and skipped: their jobs may be gone already
	// From the ingest's thread: the ledger's tables are there / something was put into the ledger.
	void (*prepared)(void *arg);
	void (*arrived)(void *arg);
	// From there too, once: the configuration is wrong, and the thread has given up.
	void (*failed)(const struct error *error, void *arg);
	void *arg;
};

struct ingest;
int ingest_start(const struct ingest_config *config, struct ingest **ingest, struct error *error) MUST_USE;
// Whether records reach the ledger; if not, *why (owned) says why. Any thread.
bool ingest_ready(struct ingest *ingest, char **why);
void ingest_ask_stop(struct ingest *ingest); // leaves the group in the background
// Waits for that up to wait_ms and frees; -1: the thread is inside a blocking call still (PostgreSQL or Kafka hang), nothing
// was freed, and the process is to be left by _exit. NULL is fine.
int ingest_stop(struct ingest *ingest, int64_t wait_ms) MUST_USE;
