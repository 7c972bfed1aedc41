#include "worker/job.h"

#include "lib/failpoint.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/trabajo.h"
#include "worker/detail.h"
#include "worker/egress.h"
#include "worker/environment.h"
#include "worker/finish.h"
#include "worker/flush.h"
#include "worker/job_count.h"
#include "worker/job_limits.h"
#include "worker/output.h"
#include "worker/reuse.h"
#include "worker/statements.h"

#include <string.h>
#include <sys/random.h>

#define OUTPUT_FLOOD   64 // times JOB_OUTPUT_KB: a job that prints more is ended
#define REUSE_WAIT_MS  2000
#define AGAIN_FIRST_MS 200
#define AGAIN_MOST_MS  10000
#define REFUSALS_MOST  3 // then the result is written without output and detail

enum job_state { JOB_FETCHING, JOB_RUNNING, JOB_FINISHING };

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
	struct flush_entry flush;
	bool unsure, bare, cancelled_before;
	unsigned finish_failures, refusals;
	struct loop_timer *deadline, *grace, *again;
	struct outcome outcome;
	struct retry_decision retry;
	struct finish_entry finish;
	struct detail detail;
	int64_t begun_us;
	char **environment;
};

static void finish(struct job *job);

static void finish_clear(struct job *job) {
	free(STEAL(job->finish.outcome));
	free(STEAL(job->finish.detail));
}

static void job_free(struct job *job) {
	struct worker *worker = job->worker;
	worker->slots[job->slot] = NULL;
	if (job->fetched.tree) fetcher_release(worker->fetcher, job->fetched.tree);
	fetch_result_clear(&job->fetched);
	flush_remove(worker->flusher, &job->flush);
	loop_timer_free(job->deadline);
	loop_timer_free(job->grace);
	loop_timer_free(job->again);
	output_free(job->output);
	outcome_clear(&job->outcome);
	finish_clear(job);
	detail_clear(&job->detail);
	environment_free(job->environment);
	json_decref(job->spec);
	free(job->owner);
	free(job->usuario);
	free(job->url);
	free(job->ref);
	free(job);
	worker_slot_freed(worker);
}

// An answer may come after the job has ended: the key finds out whether it is still the same one.
struct query {
	struct worker *worker;
	int slot;
	char key[37];
	int64_t attempt;
};

static struct job *query_job(const struct query *query) {
	struct job *job = query->worker->slots[query->slot];
	return job && job->attempt == query->attempt && memcmp(job->key, query->key, sizeof(job->key)) == 0 ? job : NULL;
}

static struct query *query_new(const struct job *job) {
	struct query *query = mem_zalloc(sizeof(*query));
	*query = (struct query){.worker = job->worker, .slot = job->slot, .attempt = job->attempt};
	memcpy(query->key, job->key, sizeof(query->key));
	return query;
}

static void printed(int stream, const char *data, size_t length, void *arg) {
	struct job *job = arg;
	output_add(job->output, stream, data, length, loop_wall_ms());
	flush_soon(job->worker->flusher, &job->flush);
	if (output_bytes(job->output) > job->worker->config.job_output_kb * 1024 * OUTPUT_FLOOD) job_stop(job, JOB_STOP_OUTPUT);
}

// ---- the end

static void publish_result(struct job *job) {
	struct resultado resultado = {
		.usuario = job->usuario,
		.worker = job->worker->id,
		.posted_ms = job->posted_ms,
		.execution_ms = job->detail.execution_us / 1000,
		.attempt = job->attempt,
		.code = mem_strdup(outcome_status(&job->outcome)),
		.outcome = outcome_json(&job->outcome),
	};
	memcpy(resultado.key, job->key, sizeof(resultado.key));
	publish(job->worker->publisher, &resultado);
	free(resultado.code);
	json_decref(resultado.outcome);
}

static void finish_again(void *arg) {
	finish(arg);
}

// Sent or not, the compare-and-set may be repeated: it takes effect once.
static void try_again(struct job *job, enum db_status status, const struct error *error) {
	job->unsure = job->unsure || status == DB_UNAVAILABLE;
	if (status == DB_BAD_DATA || status == DB_FAILED)
		log_error(log_m("the ledger refuses a result, trying again"), log_s("key", job->key), log_e(error));
	if (status == DB_BAD_DATA && ++job->refusals >= REFUSALS_MOST) job->bare = true;
	loop_timer_set(job->again,
		status == DB_RETRY ? 0 : lifecycle_backoff_ms(job->finish_failures++, AGAIN_FIRST_MS, AGAIN_MOST_MS));
}

static void written(struct job *job) {
	flush_news(job->worker->flusher, job->key);
	job_count_ended(&job->outcome, &job->detail, loop_now_us() - job->begun_us - job->detail.execution_us);
	if (!job->retry.again) publish_result(job);
	log_info(log_m(job->retry.again ? "queued again" : "finished"), log_s("key", job->key), log_i("attempt", job->attempt),
		log_s("outcome", outcome_code_name(job->outcome.code)), log_i("execution_ms", job->detail.execution_us / 1000));
}

// Nothing is produced in either case: what an earlier try of ours made visible is sent by the sweeper.
static void not_ours(struct job *job) {
	if (job->unsure) {
		log_info(log_m("written by an earlier try, or taken over"), log_s("key", job->key),
			log_i("attempt", job->attempt));
		return;
	}
	job_count_fenced();
	log_warn(log_m("attempt was not ours any more, nothing written"), log_s("key", job->key),
		log_i("attempt", job->attempt));
}

static void finished(enum db_status status, bool ours, const struct error *error, void *arg) {
	struct job *job = arg;
	finish_clear(job);
	if (status != DB_OK && job->worker->phase != WORKER_LEAVING) {
		try_again(job, status, error);
		return;
	}
	failpoint("finish.answered");
	if (ours)
		written(job);
	else if (status == DB_OK)
		not_ours(job);
	job_free(job);
}

static void finish(struct job *job) {
	AUTO_JSON json_t *outcome = outcome_json(&job->outcome);
	if (job->bare) output_acknowledge(job->output, INT64_MAX);
	job->finish = (struct finish_entry){
		.key = job->key,
		.attempt = job->attempt,
		.status = job->retry.again ? "Queued" : outcome_status(&job->outcome),
		.delay_ms = job->retry.delay_ms,
		.dead = job->retry.dead,
		.outcome = json_write(outcome),
		.detail = job->bare ? mem_strdup("{}") : detail_write(&job->detail),
		.execution_ms = job->detail.execution_us / 1000,
		.commit = job->fetched.commit,
		.user_failures = job->retry.user_failures,
		.platform_failures = job->retry.platform_failures,
		.output = job->output,
		.done = finished,
		.arg = job,
	};
	finish_attempt(job->worker->finisher, &job->finish);
}

static void decide_retry(struct job *job) {
	uint32_t random = 0;
	if (getrandom(&random, sizeof(random), 0) != sizeof(random)) random = UINT32_MAX / 2;
	struct retry_facts facts = {.outcome = &job->outcome,
		.platform_failures = job->platform_failures,
		.user_failures = job->user_failures,
		.max_attempts = job->worker->config.max_attempts,
		.retries = job->retries,
		.random = random};
	retry_decide(&facts, &job->retry);
}

// The outcome is set. Writes it, unless the job is no longer ours or goes back to the queue (which the caller of job_stop does).
static void end(struct job *job) {
	job->state = JOB_FINISHING;
	loop_timer_stop(job->deadline);
	loop_timer_stop(job->grace);
	flush_remove(job->worker->flusher, &job->flush);
	output_end(job->output);
	job->detail.execution_us = loop_now_us() - job->begun_us;
	job->detail.output_bytes = output_bytes(job->output);
	job->detail.output_kept = output_kept(job->output);
	if (job->stop == JOB_STOP_LOST || job->stop == JOB_STOP_GIVE_BACK) {
		if (job->stop == JOB_STOP_LOST) job_count_fenced();
		job_free(job);
		return;
	}
	decide_retry(job);
	finish(job);
}

// ---- running

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
	end(job);
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
	struct sandbox_handlers handlers = {.output = printed, .done = box_ended, .arg = job};
	AUTO_ERROR struct error error = {0};
	job->state = JOB_RUNNING;
	detail_fetched(&job->detail, &job->fetched, loop_now_us() - job->begun_us);
	detail_limits(&job->detail, &job->limits, job->timeout_ms);
	detail_network(&job->detail, boxed.egress);
	if (sandbox_start(worker->sandbox, &boxed, &handlers, &job->run, &error) < 0) {
		outcome_set(
			&job->outcome, OUTCOME_SANDBOX, BLAME_PLATFORM, "the sandbox could not start: %s", error_text(&error));
		worker_attempt_ended(worker, false);
		end(job);
		return;
	}
	failpoint("job.started");
	loop_timer_set(job->deadline, job->timeout_ms);
}

// ---- an earlier result

static void take_result(struct job *job, const char *earlier) {
	detail_fetched(&job->detail, &job->fetched, loop_now_us() - job->begun_us);
	detail_reused(&job->detail, earlier);
	outcome_set(&job->outcome, OUTCOME_OK, BLAME_NONE,
		"not run: %s has finished the same commit with the same plan and environment, its result is taken", earlier);
	job->outcome.exit_code = 0;
	job_count_reused();
	end(job);
}

// Without the ledger's answer it is run: that is always right.
static void looked_for_result(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	AUTO_FREE struct query *sent = arg;
	(void)error;
	struct job *job = query_job(sent);
	if (!job || job->state != JOB_FETCHING) return;
	const char *earlier = status == DB_OK && db_rows(result) == 1 ? db_get(result, 0, 0) : NULL;
	if (earlier)
		take_result(job, earlier);
	else
		run(job);
}

static void look_for_result(struct job *job) {
	const struct reuse_facts facts = {.mirror = job->fetched.mirror,
		.commit = job->fetched.commit,
		.plan = &job->fetched.plan,
		.env = json_object_get(job->spec, "env"),
		.egress = has_egress(job)};
	char print[65];
	reuse_print(&facts, print);
	struct db_params *params = db_params_new();
	db_text(params, job->key);
	db_text(params, job->owner);
	db_text(params, print);
	db_run(job->worker->chores, &worker_reuse, params, REUSE_WAIT_MS, REUSE_WAIT_MS, looked_for_result, query_new(job));
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
		end(job);
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
	end(job);
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
	end(job);
}

void job_stop(struct job *job, enum job_stop why) {
	bool leave = why == JOB_STOP_LOST || why == JOB_STOP_GIVE_BACK;
	if (job->state == JOB_FINISHING) return; // the ledger's compare-and-set decides
	if (job->stop != JOB_STOP_NONE && (!leave || job->stop == why)) return;
	job->stop = why;
	if (why == JOB_STOP_LOST)
		log_warn(log_m("attempt was taken over, ending it"), log_s("key", job->key), log_i("attempt", job->attempt));
	if (job->state == JOB_FETCHING) {
		if (job->fetch) fetch_run_cancel(job->fetch);
		job->fetch = NULL;
		if (!leave) outcome_set(&job->outcome, OUTCOME_CANCELLED, BLAME_USER, "cancelled while it was fetched");
		end(job);
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
	job->again = loop_timer_new(worker->loop, finish_again, job);
	detail_init(&job->detail, worker->sandbox);
	worker_slot_taken(worker);
	if (job->cancelled_before) {
		job->stop = JOB_STOP_CANCEL;
		outcome_set(&job->outcome, OUTCOME_CANCELLED, BLAME_USER, "cancelled before it ran again");
		end(job);
		return;
	}
	fetch(job);
}
