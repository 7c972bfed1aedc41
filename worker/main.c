#include "lib/check.h"
#include "lib/http.h"
#include "lib/ledger.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/prefix.h"
#include "lib/uuid.h"
#include "lib/working_set.h"
#include "worker/artifacts.h"
#include "worker/claim.h"
#include "worker/disk.h"
#include "worker/finish.h"
#include "worker/flush.h"
#include "worker/ingest.h"
#include "worker/job.h"
#include "worker/job_count.h"
#include "worker/lease.h"
#include "worker/note.h"
#include "worker/options.h"
#include "worker/sandbox_show.h"
#include "worker/slots.h"
#include "worker/worker.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#define LEAVE_MS      5000
#define INGEST_END_MS 5000
#define BROKEN_MOST   3
#define REST_FIRST_MS 1000
#define REST_MOST_MS  60000
#define FLUSH_MS      2000

// What only the start and the stop need.
struct run {
	struct worker worker;
	struct ledger_tap *tap;
	struct http_server *metrics;
	struct loop_wakeup *prepared, *arrived, *failed;
	struct error failure; // written by the ingest's thread before `failed` is fired
	struct loop_signal *signals[2];
	struct loop_timer *drain_over, *leave_over;
	bool ledger_prepared, given_back, left;
};

static struct run *run_of(struct worker *worker) {
	return (struct run *)((char *)worker - offsetof(struct run, worker));
}

// ---- the orderly stop: no more claims, out of the group; running jobs may end within DRAIN_S; the rest goes back; leave.

static void leave_if_published(struct run *run) {
	if (publisher_pending(run->worker.publisher) > 0 && loop_timer_active(run->leave_over)) return;
	loop_stop(run->worker.loop);
}

static void left(void *arg) {
	struct run *run = arg;
	run->left = true;
	leave_if_published(run);
	// Acknowledgements of the last results are still awaited: look again soon, until leave_over.
	if (publisher_pending(run->worker.publisher) > 0) loop_timer_set(run->drain_over, 50);
}

static void leave(struct run *run) {
	if (run->given_back) return;
	run->given_back = true;
	loop_timer_set(run->leave_over, LEAVE_MS);
	lease_leave(run->worker.lease, left, run);
}

// What has not ended by now is left behind; the rest goes back all the same.
static void leave_over(void *arg) {
	struct run *run = arg;
	if (run->given_back)
		loop_stop(run->worker.loop);
	else
		leave(run);
}

static void give_back_now(struct run *run) {
	int64_t busy = slots_busy(&run->worker);
	if (busy > 0) log_info(log_m("giving jobs back"), log_i("jobs", busy));
	slots_give_back(&run->worker);
	if (slots_busy(&run->worker) > 0) loop_timer_set(run->leave_over, LEAVE_MS);
}

static void drain_over(void *arg) {
	struct run *run = arg;
	if (run->left)
		left(run);
	else
		give_back_now(run);
}

static void asked_to_stop(int signal, void *arg) {
	struct run *run = arg;
	struct worker *worker = &run->worker;
	if (worker->phase >= WORKER_DRAINING) {
		if (!run->given_back) give_back_now(run);
		return;
	}
	log_info(log_m("stopping"), log_i("signal", signal), log_i("running", slots_busy(worker)));
	worker->phase = WORKER_DRAINING;
	ingest_ask_stop(worker->ingest);
	loop_timer_set(run->drain_over, worker->config.drain_s * 1000);
	slots_give_back_waiting(worker);
	if (slots_busy(worker) == 0) leave(run);
}

void worker_attempt_ended(struct worker *worker, bool started) {
	worker->broken = started ? 0 : worker->broken + 1;
	if (worker->broken < BROKEN_MOST) return;
	int64_t rest_ms = lifecycle_backoff_ms(worker->broken - BROKEN_MOST, REST_FIRST_MS, REST_MOST_MS);
	worker->rest_until_ms = loop_now_ms() + rest_ms;
	log_error(log_m("this worker cannot start jobs, it leaves the queue to others for a while"),
		log_i("failures", worker->broken), log_i("rest_ms", rest_ms));
}

bool worker_resting(const struct worker *worker) {
	return worker->broken >= BROKEN_MOST && loop_now_ms() < worker->rest_until_ms;
}

void worker_slot_freed(struct worker *worker) {
	slots_changed(worker);
	slots_begin_alone(worker);
	if (worker->phase == WORKER_SERVING) claim_soon(worker->claimer);
	if (worker->phase == WORKER_DRAINING && slots_busy(worker) == 0) leave(run_of(worker));
}

// ---- what wakes the worker

static void notified(void *arg) {
	struct worker *worker = arg;
	claim_soon(worker->claimer);
}

static void arrived(void *arg) {
	struct run *run = arg;
	claim_soon(run->worker.claimer);
	// More may have come than this worker can take: the idle ones hear of it.
	if (slots_free(&run->worker) == 0) ledger_tap(run->tap);
}

static void requeued(void *arg) {
	struct run *run = arg;
	claim_soon(run->worker.claimer);
	ledger_tap(run->tap);
}

static void ledger_changed(int connected, const char *why, void *arg) {
	struct run *run = arg;
	if (!connected)
		log_warn(log_m("PostgreSQL is away"), log_s("why", why));
	else if (run->ledger_prepared && claim_under_way(run->worker.claimer))
		lease_doubt(run->worker.lease); // it is sent anew, before anything else: what it brings is not known yet
	else if (run->ledger_prepared)
		lease_give_back_strays(run->worker.lease);
}

static void pulse_changed(int connected, const char *why, void *arg) {
	struct run *run = arg;
	(void)why;
	if (connected && run->ledger_prepared) lease_connected(run->worker.lease);
}

static void prepared(void *arg) {
	struct run *run = arg;
	struct worker *worker = &run->worker;
	run->ledger_prepared = true;
	struct housekeeping_config chores = {.lease_s = worker->config.lease_s,
		.max_attempts = worker->config.max_attempts,
		.retention_days = worker->config.retention_days,
		.store = &worker->config.store,
		.webhook_rules = worker->webhook_rules,
		.requeued = requeued,
		.arg = run};
	if (worker->phase != WORKER_STARTING) return;
	worker->housekeeping = housekeeping_start(worker->loop, &chores, worker->chores, worker->publisher);
	worker->phase = WORKER_SERVING;
	lease_connected(worker->lease);
	claim_soon(worker->claimer);
	log_info(log_m("serving"), log_s("worker", worker->id), log_i("slots", worker->config.slots),
		log_s("isolation", sandbox_level_names[sandbox_level(worker->sandbox)]));
}

// There are no jobs yet where the ledger could not be prepared; else they may come to their end.
static void hopeless(void *arg) {
	struct run *run = arg;
	log_error(log_m("cannot go on"), log_e(&run->failure));
	if (run->worker.phase == WORKER_STARTING)
		loop_stop(run->worker.loop);
	else if (run->worker.phase == WORKER_SERVING)
		asked_to_stop(SIGTERM, run);
}

static void disk_changed(bool full, void *arg) {
	struct run *run = arg;
	if (!full && run->worker.claimer) claim_soon(run->worker.claimer);
}

static void fire(void *arg) {
	loop_wakeup_fire(arg);
}

static void fire_prepared(void *arg) {
	fire(((struct run *)arg)->prepared);
}

static void fire_arrived(void *arg) {
	fire(((struct run *)arg)->arrived);
}

static int ready(char **reason, void *arg) {
	struct run *run = arg;
	const struct worker *worker = &run->worker;
	if (worker->phase != WORKER_SERVING) {
		*reason = mem_strdup(worker->phase == WORKER_STARTING ? "starting" : "stopping");
	} else if (!db_session_ready(worker->ledger)) {
		*reason = mem_format("PostgreSQL: %s", db_session_error(worker->ledger));
	} else if (disk_full(worker->disk)) {
		*reason = mem_strdup("WORKER_DIR: the disk is full");
	} else {
		return ingest_ready(worker->ingest, reason) ? 1 : 0;
	}
	if (worker->phase == WORKER_STARTING) {
		char *why = NULL;
		if (!ingest_ready(worker->ingest, &why)) {
			free(*reason);
			*reason = why;
		}
	}
	return 0;
}

static void fire_failed(const struct error *error, void *arg) {
	struct run *run = arg;
	error_set(&run->failure, error->kind, "%s", error_text(error));
	fire(run->failed);
}

// ---- the start

static NORETURN void fail(const struct error *error) {
	log_error(log_m("cannot start"), log_e(error));
	exit(lifecycle_exit_code(error->kind));
}

// The child programs stand beside this one, wherever it was installed.
static char *sibling(const char *name) {
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (length < 0) return mem_strdup(name);
	path[length] = '\0';
	char *slash = strrchr(path, '/');
	*slash = '\0';
	return mem_format("%s/%s", path, name);
}

static void open_sandbox(struct worker *worker) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *program = sibling("trabajos-init"), *trees = mem_format("%s/trees", worker->config.dir);
	struct sandbox_config config = {.init_program = program,
		.dir = worker->config.dir,
		.trees = worker->config.workspace == WORKER_WORKSPACE_COPY ? NULL : trees,
		.slots = (int)worker->config.slots,
		.uid_base = (uid_t)worker->config.uid_base,
		.disk_bytes = worker->config.job_disk_mb << 20,
		.weakest = (enum sandbox_level)worker->config.isolation,
		.egress = worker->config.network == WORKER_NETWORK_EGRESS,
		.egress_deny = worker->config.egress_deny};
	if (sandbox_open(worker->loop, &config, &worker->sandbox, &error) < 0) {
		if (access(config.dir, W_OK | X_OK) < 0)
			error_set(&error, ERROR_INPUT, "WORKER_DIR=%s: %s", config.dir, strerror(errno));
		fail(&error);
	}
	enum sandbox_level level = sandbox_level(worker->sandbox);
	if (level <= config.weakest && !sandbox_no_egress(worker->sandbox)) return;
	if (level <= config.weakest)
		error_set(
			&error, ERROR_INPUT, "JOB_NETWORK=egress cannot be given here: %s", sandbox_no_egress(worker->sandbox));
	else
		error_set(&error, ERROR_INPUT, "isolation here is %s, weaker than WORKER_ISOLATION=%s: %s",
			sandbox_level_names[level], sandbox_level_names[config.weakest], sandbox_missing(worker->sandbox));
	fail(&error);
}

static void open_fetcher(struct worker *worker) {
	AUTO_ERROR struct error error = {0};
	if (giturl_rules_parse(worker->config.git_allow, &worker->git_rules, &error) < 0) {
		error_wrap(&error, "GIT_ALLOW");
		fail(&error);
	}
	struct prefixes *denied = NULL;
	if (prefixes_parse(worker->config.git_deny, &denied, &error) < 0) {
		error_wrap(&error, "GIT_DENY");
		fail(&error);
	}
	prefixes_free(denied); // trabajos-fetch reads it itself
	if (giturl_rules_parse(worker->config.webhook_allow, &worker->webhook_rules, &error) < 0) {
		error_wrap(&error, "WEBHOOK_ALLOW");
		fail(&error);
	}
	AUTO_FREE char *program = sibling("trabajos-fetch");
	bool root = geteuid() == 0;
	int64_t most_bytes = worker->config.fetch_mb << 20;
	struct fetch_config config = {.program = program,
		.dir = worker->config.dir,
		.git_allow = worker->config.git_allow,
		.git_deny = worker->config.git_deny,
		.git_credentials_file = worker->config.git_credentials_file,
		.git_ca_file = worker->config.git_ca_file,
		.uid = root ? (uid_t)worker->config.uid_base : (uid_t)-1,
		.gid = root ? (gid_t)worker->config.uid_base : (gid_t)-1,
		.pack_bytes = most_bytes,
		.tree_bytes = most_bytes,
		.files = 200000,
		.timeout_ms = worker->config.fetch_timeout_s * 1000,
		.cache_bytes = worker->config.cache_mb << 20};
	if (fetcher_open(worker->loop, &config, &worker->fetcher, &error) < 0) fail(&error);
}

static void open_connections(struct run *run) {
	struct worker *worker = &run->worker;
	AUTO_ERROR struct error error = {0};
	worker->ledger = db_session_open(worker->loop, &worker->config.db);
	struct db_config pulse = worker->config.db;
	pulse.retry_within_ms = worker->config.lease_s * 1000 / 6; // back with a heartbeat before any reaper may look
	worker->pulse = db_session_open(worker->loop, &pulse);
	worker->chores = db_session_open(worker->loop, &worker->config.db);
	run->tap = ledger_tap_open(worker->loop, &worker->config.db);
	if (publisher_open(worker->loop, &worker->config.kafka, worker->chores, &worker->publisher, &error) < 0) fail(&error);
	worker->claimer = claimer_new(worker);
	worker->lease = lease_new(worker);
	worker->finisher = finisher_new(worker);
	worker->flusher = flusher_new(worker);
	worker->notes = notes_new(worker);
	db_session_listen(worker->ledger, LEDGER_CHANNEL, notified, worker);
	db_session_watch(worker->ledger, ledger_changed, run);
	db_session_watch(worker->pulse, pulse_changed, run);
}

static void start_ingest(struct run *run) {
	struct worker *worker = &run->worker;
	AUTO_ERROR struct error error = {0};
	struct ingest_config config = {.kafka = &worker->config.kafka,
		.db = &worker->config.db,
		.git_rules = worker->git_rules,
		.retention_days = worker->config.retention_days,
		.prepared = fire_prepared,
		.arrived = fire_arrived,
		.failed = fire_failed,
		.arg = run};
	if (ingest_start(&config, &worker->ingest, &error) < 0) fail(&error);
}

static void start(struct run *run) {
	struct worker *worker = &run->worker;
	AUTO_ERROR struct error error = {0};
	job_count_register();
	artifacts_register();
	uuid_v7(worker->id);
	slots_open(worker);
	worker->loop = loop_new();
	open_sandbox(worker);
	sandbox_show_log(worker->sandbox);
	sandbox_show_metrics(worker->sandbox);
	open_fetcher(worker);
	if (http_metrics_open(worker->loop, worker->config.metrics_listen, ready, run, &run->metrics, &error) < 0) fail(&error);
	run->prepared = loop_wakeup_new(worker->loop, prepared, run);
	run->arrived = loop_wakeup_new(worker->loop, arrived, run);
	run->failed = loop_wakeup_new(worker->loop, hopeless, run);
	run->drain_over = loop_timer_new(worker->loop, drain_over, run);
	run->leave_over = loop_timer_new(worker->loop, leave_over, run);
	run->signals[0] = loop_signal_add(worker->loop, SIGTERM, asked_to_stop, run);
	run->signals[1] = loop_signal_add(worker->loop, SIGINT, asked_to_stop, run);
	worker->disk = disk_watch(worker->loop, worker->config.dir, worker->config.free_mb << 20, disk_changed, run);
	open_connections(run);
	start_ingest(run);
}

static void close_connections(struct worker *worker) {
	db_session_close(worker->ledger);
	db_session_close(worker->pulse);
	db_session_close(worker->chores);
	publisher_close(worker->publisher, FLUSH_MS);
}

// Jobs first: what still runs must not outlive the loop that watches it.
static void stop(struct run *run) {
	struct worker *worker = &run->worker;
	worker->phase = WORKER_LEAVING;
	ingest_ask_stop(worker->ingest);
	sandbox_close(worker->sandbox);
	if (artifacts_stop(worker) < 0) {
		log_warn(log_m("stopped, without waiting longer for artifacts"));
		_exit(lifecycle_exit_code(run->failure.kind));
	}
	http_server_close(run->metrics);
	housekeeping_stop(worker->housekeeping);
	close_connections(worker);
	ledger_tap_close(run->tap);
	finisher_free(worker->finisher); // its jobs hold trees of the fetcher
	notes_free(worker->notes);
	flusher_free(worker->flusher);
	fetcher_close(worker->fetcher);
	claimer_free(worker->claimer);
	disk_close(worker->disk);
	lease_free(worker->lease);
	if (ingest_stop(worker->ingest, INGEST_END_MS) < 0) {
		log_warn(log_m("stopped, without waiting longer for the Kafka thread"));
		_exit(lifecycle_exit_code(run->failure.kind));
	}
	loop_timer_free(run->drain_over);
	loop_timer_free(run->leave_over);
	loop_wakeup_free(run->prepared);
	loop_wakeup_free(run->arrived);
	loop_wakeup_free(run->failed);
	for (size_t i = 0; i < COUNT_OF(run->signals); i++) loop_signal_remove(run->signals[i]);
	giturl_rules_free(worker->git_rules);
	giturl_rules_free(worker->webhook_rules);
	loop_free(worker->loop);
	slots_close(worker);
	options_clear();
	log_info(log_m("stopped"));
}

// --check: the configuration is fine when we come here; now the box and the connections.
static int check(struct worker *worker) {
	worker->loop = loop_new();
	open_sandbox(worker);
	sandbox_show_check(worker->sandbox);
	open_fetcher(worker);
	int code = check_kafka(&worker->config.kafka, EXIT_FINE);
	code = check_postgres(&worker->config.db, code);
	fetcher_close(worker->fetcher);
	giturl_rules_free(worker->git_rules);
	giturl_rules_free(worker->webhook_rules);
	sandbox_close(worker->sandbox);
	loop_free(worker->loop);
	options_clear();
	return fflush(stdout) == 0 ? code : EXIT_FAILED;
}

int main(int argc, char **argv) {
	static struct run run;
	if (options_read(&run.worker.config, argc, argv)) return check(&run.worker);
	start(&run);
	working_set_run(run.worker.loop);
	stop(&run);
	int code = lifecycle_exit_code(run.failure.kind);
	error_clear(&run.failure);
	return code;
}
