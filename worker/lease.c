#include "worker/lease.h"

#include "lib/failpoint.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "worker/claim.h"
#include "worker/job.h"
#include "worker/slots.h"
#include "worker/statements.h"

#include <string.h>
#include <sys/utsname.h>

#define STATEMENT_TIMEOUT_MS 10000
#define LEAVE_WAIT_MS        3000
#define DOUBTS               3

struct lease {
	struct worker *worker;
	struct loop_timer *timer;
	bool under_way;
	unsigned doubts;  // heartbeats after which strays are looked for
	unsigned returns; // give-backs under way
	// of the heartbeat under way: what was said to be ours
	size_t sent_count;
	struct {
		char key[37];
		int64_t attempt;
	} * sent;
	void (*left)(void *arg);
	void *left_arg;
};

static struct job *find(const struct worker *worker, const char *key, int64_t attempt) {
	for (int64_t i = 0; i < worker->config.slots; i++) {
		struct job *job = worker->slots[i];
		if (job && job_attempt(job) == attempt && strcmp(job_key(job), key) == 0) return job;
	}
	return NULL;
}

static const char **keys_of(const struct worker *worker, int64_t *attempts, size_t *count) {
	const char **keys = mem_zalloc_array((size_t)worker->config.slots, sizeof(*keys));
	*count = 0;
	for (int64_t i = 0; i < worker->config.slots; i++) {
		if (!worker->slots[i]) continue;
		if (attempts) attempts[*count] = job_attempt(worker->slots[i]);
		keys[(*count)++] = job_key(worker->slots[i]);
	}
	return keys;
}

static bool answered_row(const struct db_result *result, const char *key, int64_t attempt, bool *cancel) {
	for (size_t row = 1; row < db_rows(result); row++) {
		if (db_get_int(result, row, 2) != attempt || strcmp(db_get(result, row, 0), key) != 0) continue;
		*cancel = db_get_int(result, row, 1) != 0;
		return true;
	}
	return false;
}

static void apply(struct lease *lease, const struct db_result *result) {
	struct worker *worker = lease->worker;
	worker->drained_by_ledger = db_get_int(result, 0, 1) != 0;
	for (size_t i = 0; i < lease->sent_count; i++) {
		struct job *job = find(worker, lease->sent[i].key, lease->sent[i].attempt);
		bool cancel = false;
		if (!job) continue;
		if (!answered_row(result, lease->sent[i].key, lease->sent[i].attempt, &cancel))
			job_stop(job, JOB_STOP_LOST);
		else if (cancel)
			job_stop(job, JOB_STOP_CANCEL);
	}
}

static void arm(struct lease *lease) {
	loop_timer_set(lease->timer, lease->worker->config.lease_s * 1000 / 3);
}

static void register_worker(struct lease *lease);

static void heard(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct lease *lease = arg;
	lease->under_way = false;
	if (lease->left || lease->worker->phase == WORKER_LEAVING) return; // our row is gone, and is to stay so
	arm(lease);
	if (status == DB_OK) {
		failpoint("heartbeat.answered");
		apply(lease, result);
		// Our row is gone (retention took us for dead): put it back.
		if (db_get_int(result, 0, 2) == 0) register_worker(lease);
		if (lease->doubts > 0 && !claim_under_way(lease->worker->claimer)) {
			lease->doubts--;
			lease_give_back_strays(lease);
		}
	} else if (status == DB_RETRY) {
		loop_timer_set(lease->timer, 0);
	} else if (status != DB_UNAVAILABLE) {
		log_error(log_m("heartbeat failed"), log_e(error));
	}
}

static void beat(struct lease *lease) {
	struct worker *worker = lease->worker;
	if (lease->under_way) return;
	AUTO_FREE int64_t *attempts = mem_zalloc_array((size_t)worker->config.slots, sizeof(*attempts));
	size_t count = 0;
	AUTO_FREE const char **keys = keys_of(worker, attempts, &count);
	for (size_t i = 0; i < count; i++) {
		memcpy(lease->sent[i].key, keys[i], sizeof(lease->sent[i].key));
		lease->sent[i].attempt = attempts[i];
	}
	lease->sent_count = count;
	struct db_params *params = db_params_new();
	db_text(params, worker->id);
	db_text_array(params, keys, count);
	db_int_array(params, attempts, count);
	db_int(params, worker->config.lease_s);
	db_int(params, (int64_t)count);
	lease->under_way = true;
	db_run(worker->pulse, &worker_heartbeat, params, 0, worker->config.lease_s * 1000 / 3, heard, lease);
}

static void due(void *arg) {
	beat(arg);
}

static void registered(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	(void)result;
	(void)arg;
	if (status == DB_FAILED || status == DB_BAD_DATA) log_error(log_m("cannot register in the ledger"), log_e(error));
}

static void register_worker(struct lease *lease) {
	struct worker *worker = lease->worker;
	struct utsname host = {0};
	if (uname(&host) < 0) host.nodename[0] = '\0';
	struct db_params *params = db_params_new();
	db_text(params, worker->id);
	db_text(params, host.nodename);
	db_int(params, getpid());
	db_text(params, lifecycle_version());
	db_int(params, worker->config.slots);
	db_text(params, sandbox_level_names[sandbox_level(worker->sandbox)]);
	db_run(worker->pulse, &worker_register, params, 0, STATEMENT_TIMEOUT_MS, registered, lease);
}

static void gave_back(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct lease *lease = arg;
	lease->returns--;
	failpoint("give_back.answered");
	// Refused or not known: what is not ours would be lost with its lease, and who must run alone waits for it.
	if (status != DB_OK) lease_doubt(lease);
	if ((status == DB_FAILED || status == DB_BAD_DATA) && !lease->left)
		log_error(log_m("cannot give jobs back"), log_e(error));
	if (status == DB_OK && db_rows(result) > 0)
		log_info(log_m("given back to the queue"), log_i("jobs", (int64_t)db_rows(result)));
	if (status == DB_OK && lease->doubts == 0) slots_begin_alone(lease->worker);
	if (lease->worker->phase == WORKER_SERVING) claim_soon(lease->worker->claimer);
}

// The keys we know are read now, so nothing that can still claim may stand before this statement in the session's queue.
static void give_back_all_but_known(struct lease *lease, db_done *done) {
	size_t count = 0;
	AUTO_FREE const char **keys = keys_of(lease->worker, NULL, &count);
	struct db_params *params = db_params_new();
	db_text(params, lease->worker->id);
	db_text_array(params, keys, count);
	lease->returns++;
	db_run(lease->worker->ledger, &worker_give_back, params, LEAVE_WAIT_MS, STATEMENT_TIMEOUT_MS, done, lease);
}

void lease_connected(struct lease *lease) {
	if (lease->left) return;
	register_worker(lease);
	beat(lease);
}

void lease_doubt(struct lease *lease) {
	lease->doubts = DOUBTS;
}

bool lease_gives_back(const struct lease *lease) {
	return lease->returns > 0 || lease->doubts > 0;
}

void lease_give_back_strays(struct lease *lease) {
	give_back_all_but_known(lease, gave_back);
}

static void unregistered(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct lease *lease = arg;
	(void)status;
	(void)result;
	(void)error;
	lease->left(lease->left_arg);
}

static void left_jobs(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct lease *lease = arg;
	gave_back(status, result, error, arg);
	if (status != DB_OK) log_warn(log_m("could not give jobs back; their leases will run out"), log_e(error));
	struct db_params *params = db_params_new();
	db_text(params, lease->worker->id);
	db_run(lease->worker->ledger, &worker_unregister, params, LEAVE_WAIT_MS, STATEMENT_TIMEOUT_MS, unregistered, lease);
}

void lease_leave(struct lease *lease, void (*done)(void *arg), void *arg) {
	loop_timer_stop(lease->timer);
	lease->left = done;
	lease->left_arg = arg;
	give_back_all_but_known(lease, left_jobs);
}

void lease_free(struct lease *lease) {
	if (!lease) return;
	loop_timer_free(lease->timer);
	free(lease->sent);
	free(lease);
}

struct lease *lease_new(struct worker *worker) {
	struct lease *lease = mem_zalloc(sizeof(*lease));
	lease->worker = worker;
	lease->sent = mem_zalloc_array((size_t)worker->config.slots, sizeof(*lease->sent));
	lease->timer = loop_timer_new(worker->loop, due, lease);
	return lease;
}
