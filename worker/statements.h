// Every statement of the worker. Each transition of a job is one statement, and so one transaction.
#pragma once

#include "lib/db.h"

// $1 worker, $2 how many, $3 lease in seconds. At least one row: (candidates, key, attempt, owner, usuario, url, ref, timeout_s,
// retries, spec, posted_ms, platform_failures, user_failures, cancel); key is NULL where nothing could be claimed. More candidates
// than claimed rows: others are claiming at the same time, try again at once.
extern const struct db_statement worker_claim;

// $1 worker, $2 keys, $3 attempts, $4 lease in seconds, $5 running. One row a job that is still ours: (key, cancel), and first
// one row (NULL, draining).
extern const struct db_statement worker_heartbeat;

// $1 key, $2 attempt, $3 status, $4 outcome, $5 detail, $6 execution_ms, $7 commit, $8 user_failures, $9 platform_failures,
// $10 … $13 output not yet acknowledged (seq, stream, at_ms, data). One row (usuario, posted_ms), none if taken over.
extern const struct db_statement worker_finish;

// As worker_finish, but $3 is the delay in milliseconds after which the job is queued anew. One row (key).
extern const struct db_statement worker_retry;

// $1 worker, $2 keys that it still knows. Everything else that runs under its name goes back to the queue at no cost. (key)
extern const struct db_statement worker_give_back;

// $1 key, $2 attempt, $3 … $6 output (seq, stream, at_ms, data).
extern const struct db_statement worker_output;

// $1 worker, $2 host, $3 pid, $4 version, $5 slots, $6 isolation.
extern const struct db_statement worker_register;
// $1 worker.
extern const struct db_statement worker_unregister;
