// The end of an attempt: what it left into the store, its outcome into the ledger, its record to Kafka.
#include "lib/failpoint.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "worker/environment.h"
#include "worker/job_count.h"
#include "worker/job_internal.h"

#include <string.h>
#include <sys/random.h>

#define AGAIN_FIRST_MS 200
#define AGAIN_MOST_MS  10000
#define REFUSALS_MOST  3 // then the result is written without output and detail

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
	note_remove(&job->note);
	loop_timer_free(job->deadline);
	loop_timer_free(job->grace);
	loop_timer_free(job->again);
	output_free(job->output);
	artifacts_drop(job->artifacts);
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

static void finish(struct job *job);

void job_finish_again(void *arg) {
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

static void stored(json_t *artifacts, void *arg) {
	struct job *job = arg;
	job->storing = NULL;
	detail_artifacts(&job->detail, artifacts);
	finish(job);
}

// What is to be seen with the result must be there before it.
static void store_and_finish(struct job *job) {
	const struct artifacts_of of = {.key = job->key, .owner = job->owner, .attempt = job->attempt};
	if (!job->artifacts || job->retry.again) {
		finish(job);
		return;
	}
	job->storing = STEAL(job->artifacts);
	artifacts_store(job->storing, &of, stored, job);
}

void job_leave(struct job *job) {
	if (!job->storing) return; // the ledger's compare-and-set decides
	artifacts_drop(STEAL(job->storing));
	job_free(job);
}

void job_end(struct job *job) {
	job->state = JOB_FINISHING;
	loop_timer_stop(job->deadline);
	loop_timer_stop(job->grace);
	flush_remove(job->worker->flusher, &job->flush);
	note_remove(&job->note);
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
	store_and_finish(job);
}
