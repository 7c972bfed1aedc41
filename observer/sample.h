// The state of the system in figures, measured in the ledger every second by a constant few indexed queries whose cost does not
// grow with the backlog: what has no bound by itself is read up to SAMPLE_MOST rows and estimated beyond.
#pragma once

#include "lib/db.h"
#include "lib/loop.h"
#include "observer/lag.h"

#include <stdbool.h>
#include <stdint.h>

#define SAMPLE_MOST      5000   // rows of one table that one query looks at
#define SAMPLE_RANKS     12     // places in the queue whose age is measured
#define SAMPLE_FLOW_MS   300000 // arrivals and run times are those of the last 5 minutes
#define SAMPLE_LATELY_MS 60000  // and the latest arrivals those of the last minute
#define SAMPLE_PACE_MS   15000  // and how fast runs end now, is seen in these
#define SAMPLE_EVERY_MS  1000
#define SAMPLE_OLD_MS    10000 // older figures are called stale

// The levels of the run times' quantiles; the last is the longest.
#define SAMPLE_QUANTILES 12
#define SAMPLE_LEVELS    0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1
#define SAMPLE_TENTHS    10

enum sample_class { SAMPLE_LOW, SAMPLE_NORMAL, SAMPLE_HIGH, SAMPLE_CLASSES }; // priority below, at, above 0

struct sample_rank {
	int64_t place; // 1: the oldest job in the queue
	int64_t age_ms;
};

struct sample {
	int64_t at_ms; // when it was taken: monotonic, of the one who samples (loop_now_ms, a simulator's clock)

	// Queued and eligible: what waits for its run_after or a backoff is not among them.
	int64_t queued;
	bool queued_more;                                // there are more than were counted: queued is an estimate
	int64_t queued_by[SAMPLE_CLASSES];               // of the first SAMPLE_MOST
	int64_t oldest_ms, oldest_by_ms[SAMPLE_CLASSES]; // 0 where there is none
	struct sample_rank ranks[SAMPLE_RANKS];          // by growing place, the oldest and the newest among them
	int rank_count;
	int64_t held; // of the queued: those that no worker may claim now, being over their user's limit; 0 where not known

	int64_t running;
	int64_t running_age_ms;               // mean time since they were claimed
	int64_t running_at_ms[SAMPLE_TENTHS]; // the tenths of those times (percentile_disc of 0.1 to 1), by growing time

	int64_t arrivals, arrivals_ms; // so many jobs in so much time; arrivals_ms > 0
	int64_t lately,
		lately_ms; // the same of the last SAMPLE_LATELY_MS, or of less where there were very many; 0, 0: not known

	int64_t runs; // ended in the last minutes; the times are from claim to end, as long as a slot was held
	int64_t run_mean_ms, run_p50_ms, run_p95_ms;
	int64_t ended,
		ended_ms; // so many ended in the last SAMPLE_PACE_MS, or in less where there were very many; 0, 0: not known
	int64_t run_at_ms[SAMPLE_QUANTILES]; // at SAMPLE_LEVELS; all 0: only the mean is known

	// Workers alive: seen within LEASE_S.
	int64_t idle, busy;       // those that claim
	int64_t slots;            // of those that claim
	int64_t draining;         // those that do not
	int64_t draining_running; // jobs they run
	int64_t last_slots;       // of the worker last seen, alive or not; 0: there was never one
	int64_t starting;         // asked for by the actuator, not seen alive yet; 0 where it does not know
	int64_t start_ms;         // from asking for a worker to its being alive, the median of the last ones; 0: not known

	enum lag_answer kafka_waits;
};

static inline int64_t sample_claiming(const struct sample *sample) {
	return sample->idle + sample->busy;
}

// ---- taking them

struct sampler;

// Takes a sample every SAMPLE_EVERY_MS once told to start; taken is called in the loop's thread with each new one, and completes it
// by what the ledger does not know: held, starting, start_ms.
struct sampler *sampler_open(struct loop *loop, const struct db_config *db, int64_t lease_ms,
	void (*taken)(struct sample *sample, void *arg), void *arg) MUST_USE;
void sampler_start(struct sampler *sampler);                // when the schema is there; again is fine
void sampler_lag(struct sampler *sampler, struct lag *lag); // where kafka_waits comes from
// How old the latest sample is; -1: there was never one.
int64_t sampler_age_ms(const struct sampler *sampler);
const char *sampler_trouble(const struct sampler *sampler); // why the figures are not fresh; NULL where they are
void sampler_close(struct sampler *sampler);
