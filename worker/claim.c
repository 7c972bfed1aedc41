#include "worker/claim.h"

#include "lib/failpoint.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "worker/disk.h"
#include "worker/job.h"
#include "worker/job_count.h"
#include "worker/lease.h"
#include "worker/slots.h"
#include "worker/statements.h"

#define POLL_MS              1000
#define CONTENDED_MS         5
#define STATEMENT_TIMEOUT_MS 15000
#define WAITED               14 // column

struct claimer {
	struct worker *worker;
	struct loop_timer *timer;
	bool under_way;
	bool again;         // asked for while one was under way
	bool one_by_one;    // the last claim brought several jobs that must run alone
	unsigned contended; // claims in a row that found candidates, but all of them locked by others
};

static struct metric claimed_jobs = {
	.name = "trabajos_claimed_total", .help = "jobs that this worker claimed", .type = METRIC_COUNTER};
static struct metric claims = {
	.name = "trabajos_claims_total", .help = "claim statements that this worker ran", .type = METRIC_COUNTER};

static void claim(struct claimer *claimer);

static void arm_poll(struct claimer *claimer) {
	loop_timer_set(claimer->timer, lifecycle_jitter_ms(POLL_MS));
}

// Of jobs that must run alone the first one stays. The others would be lost with this worker: they go back before it runs.
static size_t take(struct claimer *claimer, const struct db_result *result) {
	struct worker *worker = claimer->worker;
	size_t taken = 0, others = 0, alone = 0;
	for (size_t row = 0; row < db_rows(result); row++) {
		if (!db_get(result, row, 1)) continue;
		taken++;
		bool must_be_alone = job_claimed_alone(worker, result, row);
		alone += must_be_alone;
		if (must_be_alone && slots_keep_to_one(worker)) {
			others++;
			continue;
		}
		if (db_get(result, row, WAITED)) job_count_claimed(db_get_int(result, row, WAITED));
		job_start(worker, result, row);
	}
	metric_add(&claimed_jobs, (int64_t)(taken - others));
	claimer->one_by_one = others > 0 || (claimer->one_by_one && alone > 0);
	if (others > 0) lease_give_back_strays(worker->lease);
	slots_begin_alone(worker);
	return taken;
}

static void answered(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct claimer *claimer = arg;
	claimer->under_way = false;
	if (claimer->worker->phase != WORKER_SERVING) {
		// Asked to stop meanwhile: nobody starts what was claimed, and nothing claims any more.
		if (status == DB_OK && claimer->worker->phase == WORKER_DRAINING)
			lease_give_back_strays(claimer->worker->lease);
		return;
	}
	if (status != DB_OK) {
		// Lost on the way: what was claimed without our knowing is given back at the next connect, and once more later, since
		// the server may commit it after that (lease.c).
		if (status == DB_UNAVAILABLE) lease_doubt(claimer->worker->lease);
		if (status == DB_FAILED) log_error(log_m("cannot claim"), log_e(error));
		loop_timer_set(claimer->timer, status == DB_RETRY ? CONTENDED_MS : lifecycle_jitter_ms(POLL_MS));
		return;
	}
	failpoint("claim.answered");
	size_t candidates = db_rows(result) > 0 ? (size_t)db_get_int(result, 0, 0) : 0;
	size_t taken = take(claimer, result);
	if (taken > 0) claimer->contended = 0;
	if (claimer->again) {
		claim(claimer);
	} else if (candidates > taken && slots_free(claimer->worker) > 0) {
		loop_timer_set(claimer->timer, lifecycle_backoff_ms(claimer->contended++, CONTENDED_MS, POLL_MS));
	} else {
		arm_poll(claimer);
	}
}

static bool may_claim(const struct worker *worker) {
	return worker->phase == WORKER_SERVING && !worker->drained_by_ledger && slots_free(worker) > 0 &&
	       !slots_keep_to_one(worker) && !worker_resting(worker) && !disk_full(worker->disk) &&
	       db_session_ready(worker->ledger);
}

static void claim(struct claimer *claimer) {
	struct worker *worker = claimer->worker;
	claimer->again = claimer->under_way;
	if (claimer->under_way) return;
	if (!may_claim(worker)) {
		arm_poll(claimer);
		return;
	}
	struct db_params *params = db_params_new();
	db_text(params, worker->id);
	db_int(params, claimer->one_by_one ? 1 : slots_free(worker));
	db_int(params, worker->config.lease_s);
	db_int(params, worker->config.user_running);
	db_text(params, worker->config.weights_json);
	claimer->under_way = true;
	metric_add(&claims, 1);
	db_run(worker->ledger, &worker_claim, params, 0, STATEMENT_TIMEOUT_MS, answered, claimer);
}

static void due(void *arg) {
	claim(arg);
}

bool claim_under_way(const struct claimer *claimer) {
	return claimer->under_way;
}

void claim_soon(struct claimer *claimer) {
	claim(claimer);
}

void claimer_free(struct claimer *claimer) {
	if (!claimer) return;
	loop_timer_free(claimer->timer);
	free(claimer);
}

struct claimer *claimer_new(struct worker *worker) {
	metrics_register(&claimed_jobs);
	metrics_register(&claims);
	struct claimer *claimer = mem_zalloc(sizeof(*claimer));
	claimer->worker = worker;
	claimer->timer = loop_timer_new(worker->loop, due, claimer);
	arm_poll(claimer);
	return claimer;
}
