// What one attempt goes through up to the end of its box; job_end.c goes on.
#include "lib/failpoint.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/trabajo.h"
#include "worker/egress.h"
#include "worker/environment.h"
#include "worker/job_count.h"
#include "worker/job_internal.h"
#include "worker/job_limits.h"
#include "worker/reuse_ask.h"
#include "worker/slots.h"
#include "worker/statements.h"

#include <string.h>

#define LOST         15 // column of a claim
#define OUTPUT_FLOOD 64 // times JOB_OUTPUT_KB: a job that prints more is ended

static void printed(int stream, const char *data, size_t length, void *arg) {
	struct job *job = arg;
	output_add(job->output, stream, data, length, loop_wall_ms());
	flush_soon(job->worker->flusher, &job->flush);
	if (output_bytes(job->output) > job->worker->config.job_output_kb * 1024 * OUTPUT_FLOOD) job_stop(job, JOB_STOP_OUTPUT);
}

// ---- running

static void collecting(void *arg) {
	struct job *job = arg;
	job->collecting = true;
	loop_timer_stop(job->deadline);
	loop_timer_stop(job->grace);
}

// To be closed once the box has it, or has not begun.
static int want_artifacts(struct job *job, struct sandbox_job *boxed, struct error *error) {
	if (!job->fetched.plan.artifacts[0] || job->worker->config.artifacts_mb == 0) return 0;
	job->artifacts = artifacts_start(job->worker, error);
	if (!job->artifacts) return -1;
	boxed->artifacts.globs = job->fetched.plan.artifacts;
	artifacts_order(job->artifacts, boxed);
	return 0;
}

static void box_ended(const struct sandbox_report *report, void *arg) {
	struct job *job = arg;
	failpoint("job.ended");
	job->run = NULL;
	detail_report(&job->detail, report);
	struct judge_facts facts = {.stop = job->stop,
		.report = report,
		.command = job->fetched.plan.command,
		.timeout_s = job->timeout_ms / 1000,
		.cpu_s = job->limits.cpu_s,
		.memory_bytes = job->limits.memory_bytes,
		.processes = job->limits.processes,
		.open_files = job->limits.open_files,
		.disk_bytes = job->limits.disk_bytes,
		.output_bytes = job->worker->config.job_output_kb * 1024 * OUTPUT_FLOOD};
	judge(&facts, &job->outcome);
	worker_attempt_ended(job->worker,
		job->stop != JOB_STOP_NONE || job->outcome.code != OUTCOME_SANDBOX || job->outcome.blame != BLAME_PLATFORM);
	job_end(job);
}

static void deadline_passed(void *arg) {
	job_stop(arg, JOB_STOP_TIMEOUT);
}

static void grace_passed(void *arg) {
	struct job *job = arg;
	if (job->run) sandbox_kill(job->run);
}

static bool has_egress(const struct job *job) {
	const struct worker_config *config = &job->worker->config;
	return config->network == WORKER_NETWORK_EGRESS &&
	       egress_allows(config->egress_for, job->usuario, job->owner, json_object_get(job->spec, "labels"));
}

static void run(struct job *job) {
	struct worker *worker = job->worker;
	job_limits(&worker->config, &job->fetched.plan, job->timeout_s, &job->limits, &job->timeout_ms);
	job->environment = environment_new(job->key, job->attempt, job->fetched.commit, job->fetched.plan.env, job->spec);
	AUTO_FREE char *tree = mem_format("%s/%s", worker->config.dir, job->fetched.tree);
	struct sandbox_job boxed = {.slot = job->slot,
		.tree = tree,
		.argv = job->fetched.plan.argv,
		.env = job->environment,
		.egress = has_egress(job),
		.limits = job->limits};
	struct sandbox_handlers handlers = {.collecting = collecting, .output = printed, .done = box_ended, .arg = job};
	AUTO_ERROR struct error error = {0};
	job->state = JOB_RUNNING;
	detail_fetched(&job->detail, &job->fetched, loop_now_us() - job->begun_us);
	detail_limits(&job->detail, &job->limits, job->timeout_ms);
	detail_network(&job->detail, boxed.egress);
	int started = want_artifacts(job, &boxed, &error);
	if (started == 0) started = sandbox_start(worker->sandbox, &boxed, &handlers, &job->run, &error);
	if (job->artifacts) artifacts_handed_over(job->artifacts);
	if (started < 0) {
		outcome_set(
			&job->outcome, OUTCOME_SANDBOX, BLAME_PLATFORM, "the sandbox could not start: %s", error_text(&error));
		worker_attempt_ended(worker, false);
		job_end(job);
		return;
	}
	job->note = (struct note_entry){.key = job->key, .attempt = job->attempt, .detail = &job->detail};
	note_add(worker->notes, &job->note);
	failpoint("job.started");
	loop_timer_set(job->deadline, job->timeout_ms);
}

// ---- an earlier result

static void take_result(struct job *job, const struct reuse_found *found) {
	detail_fetched(&job->detail, &job->fetched, loop_now_us() - job->begun_us);
	detail_reused(&job->detail, found->earlier, found->files, found->bytes);
	outcome_set(&job->outcome, OUTCOME_OK, BLAME_NONE,
		"not run: %s has finished the same commit with the same plan and environment, its result is taken",
		found->earlier);
	job->outcome.exit_code = 0;
	job_count_reused();
	job_end(job);
}

// Without the ledger's answer it is run: that is always right.
static void looked_for_result(struct job *job, const struct reuse_found *found) {
	if (job->state != JOB_FETCHING) return;
	if (found->earlier)
		take_result(job, found);
	else
		run(job);
}

static void look_for_result(struct job *job) {
	const struct reuse_facts facts = {.mirror = job->fetched.mirror,
		.commit = job->fetched.commit,
		.plan = &job->fetched.plan,
		.env = json_object_get(job->spec, "env"),
		.egress = has_egress(job)};
	reuse_ask(&(struct reuse_asker){job->worker, job->slot, job->key, job->owner, job->attempt}, &facts, looked_for_result);
}

// ---- fetching

static void no_plan(struct job *job) {
	if (job->fetched.plan_error)
		outcome_set(&job->outcome, OUTCOME_NO_PLAN, BLAME_USER, "%s", job->fetched.plan_error);
	else
		outcome_set(
			&job->outcome, OUTCOME_NO_PLAN, BLAME_USER, "nothing to run: looked for %s", job->fetched.looked_for);
}

static void fetch_over(struct fetch_result *result, const struct outcome *outcome, void *arg) {
	struct job *job = arg;
	job->fetch = NULL;
	if (outcome) {
		outcome_set(&job->outcome, outcome->code, outcome->blame, "%s", outcome->message);
		job_end(job);
		return;
	}
	job->fetched = *result;
	if (job->fetched.plan.kind) {
		if (reuse_wanted(job->spec))
			look_for_result(job);
		else
			run(job);
		return;
	}
	detail_fetched(&job->detail, &job->fetched, loop_now_us() - job->begun_us);
	no_plan(job);
	job_end(job);
}

static void fetch(struct job *job) {
	const struct fetch_asker asker = {job->owner, job->usuario};
	struct fetch_result cached = {0};
	job->state = JOB_FETCHING;
	if (job->ref && fetcher_cached(job->worker->fetcher, job->url, job->ref, &asker, &cached)) {
		fetch_over(&cached, NULL, job);
		return;
	}
	AUTO_ERROR struct error error = {0};
	if (fetcher_start(job->worker->fetcher, job->url, job->ref, &asker, fetch_over, job, &job->fetch, &error) == 0) return;
	outcome_set(&job->outcome, OUTCOME_FETCH, BLAME_PLATFORM, "cannot start the fetch: %s", error_text(&error));
	worker_attempt_ended(job->worker, false);
	job_end(job);
}

void job_stop(struct job *job, enum job_stop why) {
	bool leave = why == JOB_STOP_LOST || why == JOB_STOP_GIVE_BACK;
	if (job->state == JOB_FINISHING) {
		if (leave) job_leave(job);
		return;
	}
	if (job->stop != JOB_STOP_NONE && (!leave || job->stop == why)) return;
	if (job->collecting && !leave) return; // too late: it has ended by itself
	job->stop = why;
	if (why == JOB_STOP_LOST)
		log_warn(log_m("attempt was taken over, ending it"), log_s("key", job->key), log_i("attempt", job->attempt));
	if (job->state == JOB_WAITING || job->state == JOB_FETCHING) {
		if (job->fetch) fetch_run_cancel(job->fetch);
		job->fetch = NULL;
		if (!leave)
			outcome_set(&job->outcome, OUTCOME_CANCELLED, BLAME_USER,
				job->state == JOB_WAITING ? "cancelled before it ran again" : "cancelled while it was fetched");
		job_end(job);
	} else if (job->state == JOB_RUNNING && job->run) {
		if (leave || why == JOB_STOP_OUTPUT) {
			sandbox_kill(job->run);
			return;
		}
		sandbox_terminate(job->run);
		loop_timer_set(job->grace, job->worker->config.job_grace_s * 1000);
	}
}

const char *job_key(const struct job *job) {
	return job->key;
}

int64_t job_attempt(const struct job *job) {
	return job->attempt;
}

static void read_claimed(struct job *job, const struct db_result *claimed, size_t row) {
	const char *spec = db_get(claimed, row, 9);
	memcpy(job->key, db_get(claimed, row, 1), sizeof(job->key));
	job->attempt = db_get_int(claimed, row, 2);
	job->owner = mem_strdup(db_get(claimed, row, 3));
	job->usuario = mem_strdup(db_get(claimed, row, 4));
	job->url = mem_strdup(db_get(claimed, row, 5));
	job->ref = mem_strdup(db_get(claimed, row, 6));
	job->timeout_s = db_get_int(claimed, row, 7);
	job->retries = db_get_int(claimed, row, 8);
	if (json_read(spec, strlen(spec), TRABAJO_SPEC_MAX * 2, &job->spec, NULL) < 0) job->spec = json_object();
	job->posted_ms = db_get_int(claimed, row, 10);
	job->platform_failures = db_get_int(claimed, row, 11);
	job->user_failures = db_get_int(claimed, row, 12);
	job->cancelled_before = db_get_int(claimed, row, 13) != 0;
	job->alone = job_claimed_alone(job->worker, claimed, row);
}

bool job_claimed_alone(const struct worker *worker, const struct db_result *claimed, size_t row) {
	return db_get_int(claimed, row, LOST) != 0 && db_get_int(claimed, row, 11) + 1 >= worker->config.max_attempts;
}

bool job_alone(const struct job *job) {
	return job->alone;
}

bool job_waits(const struct job *job) {
	return job->state == JOB_WAITING;
}

void job_begin(struct job *job) {
	log_info(log_m("its worker was lost before and this is its last try: it runs alone"), log_s("key", job->key),
		log_i("attempt", job->attempt));
	job->begun_us = loop_now_us();
	fetch(job);
}

void job_start(struct worker *worker, const struct db_result *claimed, size_t row) {
	struct job *job = mem_zalloc(sizeof(*job));
	job->worker = worker;
	while (worker->slots[job->slot]) job->slot++;
	worker->slots[job->slot] = job;
	read_claimed(job, claimed, row);
	job->begun_us = loop_now_us();
	job->output = output_new(worker->config.job_output_kb * 1024);
	job->flush = (struct flush_entry){.key = job->key, .attempt = job->attempt, .output = job->output};
	flush_add(worker->flusher, &job->flush);
	job->deadline = loop_timer_new(worker->loop, deadline_passed, job);
	job->grace = loop_timer_new(worker->loop, grace_passed, job);
	job->again = loop_timer_new(worker->loop, job_finish_again, job);
	detail_init(&job->detail, worker->sandbox);
	slots_changed(worker);
	if (job->cancelled_before) {
		job->stop = JOB_STOP_CANCEL;
		outcome_set(&job->outcome, OUTCOME_CANCELLED, BLAME_USER, "cancelled before it ran again");
		job_end(job);
		return;
	}
	if (!job->alone) fetch(job);
}
