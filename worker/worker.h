// What the files of the worker share: its configuration, its connections, its slots. All of it belongs to the loop's thread,
// but for the ingest, which has a thread and a database connection of its own.
#pragma once

#include "lib/blobs.h"
#include "lib/db.h"
#include "lib/giturl.h"
#include "lib/housekeeping.h"
#include "lib/kafka.h"
#include "lib/loop.h"
#include "lib/publish.h"
#include "worker/fetch.h"
#include "worker/sandbox.h"

#include <stdbool.h>
#include <stdint.h>

struct worker_config {
	struct kafka_config kafka;
	struct db_config db;
	char *metrics_listen, *dir, *git_allow, *git_deny, *webhook_allow, *git_credentials_file, *git_ca_file;
	int64_t slots, isolation, uid_base, network, workspace;
	char *egress_for, *egress_deny;
	int64_t job_timeout_s, job_cpu_s, job_memory_mb, job_processes, job_files, job_disk_mb, job_output_kb, job_grace_s;
	struct blobs_config store;
	int64_t artifacts_mb, artifacts_files, artifacts_user_mb;
	int64_t fetch_timeout_s, fetch_mb, free_mb, cache_mb;
	int64_t lease_s, drain_s, max_attempts, retention_days, user_running;
	char *user_weights, *weights_json; // as given; for the claim, NULL: all 1
};

enum { WORKER_WORKSPACE_OVERLAY, WORKER_WORKSPACE_COPY }; // WORKER_WORKSPACE
enum { WORKER_NETWORK_NONE, WORKER_NETWORK_EGRESS };      // JOB_NETWORK

enum worker_phase { WORKER_STARTING, WORKER_SERVING, WORKER_DRAINING, WORKER_LEAVING };

struct worker {
	struct worker_config config;
	struct giturl_rules *git_rules, *webhook_rules;
	char id[37];
	enum worker_phase phase;
	struct loop *loop;
	struct db_session *ledger; // claims and finishes, and the notifications
	struct db_session *pulse;  // heartbeats alone: they never wait behind anything
	struct db_session *chores; // output of running jobs, housekeeping, marks of published results
	struct publisher *publisher;
	struct housekeeping *housekeeping;
	struct sandbox *sandbox;
	struct fetcher *fetcher;
	struct ingest *ingest;
	struct claimer *claimer;
	struct lease *lease;
	struct finisher *finisher;
	struct flusher *flusher;
	struct notes *notes;
	struct disk *disk;
	struct artifacts *artifacts; // under way
	struct job **slots;          // config.slots places; NULL is a free one
	unsigned broken;             // attempts in a row that this worker itself could not start
	int64_t rest_until_ms;       // a worker that starts nothing leaves the queue to others
	bool drained_by_ledger;      // workers.draining is set: no more claims, but the process stays
};

// An attempt has ended; `started` false: it could not be started by a fault of this machine.
void worker_attempt_ended(struct worker *worker, bool started);
// Whether this worker has failed to start job after job and waits before it tries again.
bool worker_resting(const struct worker *worker);
// A job has left its slot: claim anew, or go on with the stop.
void worker_slot_freed(struct worker *worker);
