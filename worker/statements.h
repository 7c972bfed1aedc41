// Every statement of the worker. Each transition of a job is one statement, and so one transaction.
#pragma once

#include "lib/db.h"

// $1 worker, $2 how many, $3 lease in seconds, $4 running jobs of a user at the most (0: no limit), $5 weights (JSON, NULL: all 1).
// (candidates, key, attempt, owner, usuario, url, ref, timeout_s, retries, spec, posted_ms, platform_failures, user_failures,
// cancel, waited_ms); key is NULL where nothing could be claimed; no row at all for a draining worker. waited_ms: since it might run,
// NULL where that was for its concurrency key. More candidates than claimed rows: others are claiming at the same time, try again at
// once.
extern const struct db_statement worker_claim;

// $1 worker, $2 keys, $3 attempts, $4 lease in seconds, $5 running. One row a job that is still ours: (key, cancel), and first
// one row (NULL, draining).
extern const struct db_statement worker_heartbeat;

// The ends of many attempts, $1 … $11, and their output, $12 … $17: see worker/finish.c. One row (key, attempt) for each that was ours.
extern const struct db_statement worker_finish;

// $1 worker, $2 keys that it still knows. Everything else that runs under its name goes back to the queue at no cost, (key), or ends
// where its cancel was asked for.
extern const struct db_statement worker_give_back;

// $1 keys, $2 attempts, $3 … $7 their output: see worker/flush.c.
extern const struct db_statement worker_output;

// $1 keys, $2 attempts, $3 what is known of each (column detail); those that do not run any more are left alone.
extern const struct db_statement worker_note;

// $1 key, $2 attempt, $3 owner, $4 print of a job that may have an earlier result: (its key, how many artifacts are now this one's
// too, their bytes); key NULL where there is none.
extern const struct db_statement worker_reuse;

// $1 worker, $2 host, $3 pid, $4 version, $5 slots, $6 isolation.
extern const struct db_statement worker_register;
// $1 worker.
extern const struct db_statement worker_unregister;
