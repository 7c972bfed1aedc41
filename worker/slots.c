#include "worker/slots.h"

#include "lib/mem.h"
#include "lib/metrics.h"
#include "worker/job.h"
#include "worker/lease.h"
#include "worker/worker.h"

static struct metric total = {
	.name = "trabajos_worker_slots", .help = "jobs that can run at the same time", .type = METRIC_GAUGE};
static struct metric busy = {
	.name = "trabajos_worker_busy", .help = "jobs that are fetched, run or written", .type = METRIC_GAUGE};

void slots_open(struct worker *worker) {
	metrics_register(&total);
	metrics_register(&busy);
	metric_set(&total, worker->config.slots);
	worker->slots = mem_zalloc_array((size_t)worker->config.slots, sizeof(struct job *));
}

void slots_close(struct worker *worker) {
	free(worker->slots);
	worker->slots = NULL;
}

int64_t slots_busy(const struct worker *worker) {
	int64_t count = 0;
	for (int64_t i = 0; i < worker->config.slots; i++) count += worker->slots[i] != NULL;
	return count;
}

int64_t slots_free(const struct worker *worker) {
	return worker->config.slots - slots_busy(worker);
}

void slots_changed(struct worker *worker) {
	metric_set(&busy, slots_busy(worker));
}

bool slots_keep_to_one(const struct worker *worker) {
	for (int64_t i = 0; i < worker->config.slots; i++)
		if (worker->slots[i] && job_alone(worker->slots[i])) return true;
	return false;
}

void slots_begin_alone(struct worker *worker) {
	struct job *next = NULL;
	if (worker->phase != WORKER_SERVING || lease_gives_back(worker->lease)) return;
	for (int64_t i = 0; i < worker->config.slots; i++) {
		if (!worker->slots[i]) continue;
		if (!job_waits(worker->slots[i])) return;
		next = worker->slots[i];
	}
	if (next) job_begin(next);
}

void slots_give_back(struct worker *worker) {
	for (int64_t i = 0; i < worker->config.slots; i++)
		if (worker->slots[i]) job_stop(worker->slots[i], JOB_STOP_GIVE_BACK);
}

// What waits has not begun: another worker need not wait for what runs here.
void slots_give_back_waiting(struct worker *worker) {
	bool any = false;
	for (int64_t i = 0; i < worker->config.slots; i++) {
		if (!worker->slots[i] || !job_waits(worker->slots[i])) continue;
		job_stop(worker->slots[i], JOB_STOP_GIVE_BACK);
		any = true;
	}
	// else all of it goes back as the worker leaves
	if (any && slots_busy(worker) > 0) lease_give_back_strays(worker->lease);
}
