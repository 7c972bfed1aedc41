// Shared by job.c (from the claim to the end of the box) and job_end.c (into the ledger). Nobody else includes it.
#pragma once

#include "worker/artifacts.h"
#include "worker/detail.h"
#include "worker/finish.h"
#include "worker/flush.h"
#include "worker/job.h"
#include "worker/note.h"
#include "worker/output.h"

enum job_state { JOB_WAITING, JOB_FETCHING, JOB_RUNNING, JOB_FINISHING };

struct job {
	struct worker *worker;
	int slot;
	enum job_state state;
	enum job_stop stop;
	// as claimed
	char key[37];
	char *owner, *usuario, *url, *ref;
	json_t *spec;
	int64_t attempt, timeout_s, retries, posted_ms, platform_failures, user_failures;
	// of this attempt
	struct fetch_run *fetch;
	struct fetch_result fetched;
	struct sandbox_run *run;
	struct sandbox_limits limits;
	int64_t timeout_ms;
	struct output *output;
	struct artifacts *artifacts; // on their way; NULL: none
	struct artifacts *storing;   // the same, while they are written
	bool collecting;             // the command has ended by itself, whatever comes now
	struct flush_entry flush;
	struct note_entry note;
	bool unsure, bare, cancelled_before, alone;
	unsigned finish_failures, refusals;
	struct loop_timer *deadline, *grace, *again;
	struct outcome outcome;
	struct retry_decision retry;
	struct finish_entry finish;
	struct detail detail;
	int64_t begun_us;
	char **environment;
};

// The outcome is set. Writes it, unless the job is no longer ours or goes back to the queue (which the caller of job_stop does).
void job_end(struct job *job);
// In JOB_FINISHING: it is somebody else's, or goes back to the queue, while what it left is still being stored.
void job_leave(struct job *job);
void job_finish_again(void *arg); // of the timer `again`: job_end's last step, once more
