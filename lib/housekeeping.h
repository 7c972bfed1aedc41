// What must go on whoever is alive: the reaper (leases that ran out), the sweeper (results that Kafka never acknowledged), delays
// that are over, schedules, jobs that newer ones replace, retention, what artifacts leave behind, and webhooks. Runs in every worker and in the observer, at moments spread by jitter; all of it is safe to run at once.
#pragma once

#include "lib/blobs.h"
#include "lib/db.h"
#include "lib/giturl.h"
#include "lib/option.h"
#include "lib/publish.h"

struct housekeeping_config {
	int64_t lease_s, max_attempts, retention_days;
	const struct blobs_config *store; // of artifacts, where this daemon reaches it; must outlive the house; may be NULL
	const struct giturl_rules *webhook_rules; // WEBHOOK_ALLOW; must outlive the house; NULL: none
	// Called when jobs went back to the queue; may be NULL.
	void (*requeued)(void *arg);
	void *arg;
};

// What all who keep the same house must agree on. config: anything with the three members.
#define OPTIONS_HOUSEKEEPING(config)                                                                                           \
	{.name = "LEASE_S",                                                                                                    \
		.type = OPTION_INT,                                                                                            \
		.value = &(config).lease_s,                                                                                    \
		.fallback = "30",                                                                                              \
		.min = 3,                                                                                                      \
		.max = 3600,                                                                                                   \
		.help = "seconds after which a job of a silent worker is taken over; the same for all"},                       \
		{.name = "MAX_ATTEMPTS",                                                                                       \
			.type = OPTION_INT,                                                                                    \
			.value = &(config).max_attempts,                                                                       \
			.fallback = "3",                                                                                       \
			.min = 1,                                                                                              \
			.max = 100,                                                                                            \
			.help = "attempts that may fail by the platform's fault; the same for all"},                           \
	{                                                                                                                      \
		.name = "RETENTION_DAYS", .type = OPTION_INT, .value = &(config).retention_days, .fallback = "30", .min = 1,   \
		.max = 36500, .help = "days that finished jobs are kept; the same for all"                                     \
	}
// A job's row must outlive its record, by a day at least: ERROR_INPUT.
int housekeeping_retention_check(int64_t retention_days, const struct kafka_config *kafka, struct error *error) MUST_USE;

struct housekeeping;
// The ledger's tables must exist.
struct housekeeping *housekeeping_start(struct loop *loop, const struct housekeeping_config *config, struct db_session *session,
	struct publisher *publisher) MUST_USE;
void housekeeping_stop(struct housekeeping *housekeeping); // NULL is fine; answers that are under way are ignored
