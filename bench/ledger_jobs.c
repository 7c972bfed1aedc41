// Ours in bench/ledger: no-op jobs through the ledger by the statements and the sessions that the daemons use, without Kafka,
// fetch and sandbox.
//
//     bench-ledger-jobs setup          applies the migrations
//     bench-ledger-jobs post N BATCH   inserts N jobs as the ingest does, BATCH a statement
//     bench-ledger-jobs work           works until its stdin ends; prints "done N T": jobs so far, microseconds of the
//                                      monotonic clock
//
// Where: POSTGRES_HOST and its like. Prints "ready", and begins at the first line of stdin. SLOTS is how many jobs a worker has
// at a time, as WORKER_SLOTS is with the real one.
#include "lib/ledger.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"
#include "lib/migrate.h"
#include "lib/publish.h"
#include "lib/uuid.h"
#include "worker/finish.h"
#include "worker/output.h"
#include "worker/statements.h"
#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define USERS      1000
#define URL        "https://git.example.org/someone/something.git"
#define LEASE_S    30
#define POLL_MS    1000
#define TIMEOUT_MS 60000
#define TAP_US     5000
#define TELL_EVERY 100
#define COMMIT     "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d"

// As in worker/claim.c and lib/publish.c.
#define CONTENDED_MS  5
#define MARK_DELAY_MS 20
#define MARK_MOST     500

static struct db_config config;
static int64_t slots;
static const struct option options[] = {
	OPTIONS_DB(config),
	{.name = "SLOTS",
		.type = OPTION_INT,
		.value = &slots,
		.fallback = "500",
		.min = 1,
		.max = 100000,
		.help = "jobs at a time"},
};

static void die(const char *what, const struct error *error) {
	fprintf(stderr, "bench-ledger-jobs: %s: %s\n", what, error_text(error));
	_exit(EXIT_FAILED);
}

static void say(const char *what) {
	printf("%s\n", what);
	fflush(stdout);
}

static void report(int64_t count) {
	printf("done %lld %lld\n", (long long)count, (long long)loop_now_us());
	fflush(stdout);
}

static void await_go(void) {
	char line[16];
	say("ready");
	if (!fgets(line, sizeof(line), stdin)) exit(EXIT_FINE);
}

// ---- setup

static struct db *open_db(void) {
	struct db *db = NULL;
	AUTO_ERROR struct error error = {0};
	if (db_open(&config, &error, &db) < 0) die("PostgreSQL", &error);
	return db;
}

static void setup(void) {
	AUTO_ERROR struct error error = {0};
	struct db *db = open_db();
	if (migrate_apply(db, NULL, NULL, &error) < 0) die("migrations", &error);
	db_close(db);
}

// ---- post

static void execute(struct db *db, const struct db_statement *statement, struct db_params *params) {
	AUTO_ERROR struct error error = {0};
	enum db_status status = DB_RETRY;
	while (status == DB_RETRY) status = db_execute(db, statement, params, NULL, &error);
	if (status != DB_OK) die(statement->name, &error);
	db_params_free(params);
}

static void add_job(struct ledger_batch *batch, int64_t number) {
	AUTO_FREE char *owner = mem_format("owner-%d", (int)(number % USERS));
	AUTO_FREE char *usuario = mem_format("user%d", (int)(number % USERS));
	static char url[] = URL;
	struct trabajo trabajo = {.owner = owner, .usuario = usuario, .url = url, .posted_ms = loop_wall_ms()};
	trabajo.spec.timeout_s = trabajo.spec.retries = -1;
	uuid_v7(trabajo.key);
	ledger_batch_add(batch, &trabajo, NULL);
}

static void post(int64_t count, int64_t batch_most) {
	static const struct db_statement tap = {"tap", "SELECT pg_notify('" LEDGER_CHANNEL "', '')"};
	struct db *db = open_db();
	int64_t tapped_us = 0;
	await_go();
	report(0);
	for (int64_t posted = 0; posted < count;) {
		struct ledger_batch *batch = ledger_batch_new();
		for (int64_t i = 0; i < batch_most && posted < count; i++) add_job(batch, posted++);
		execute(db, &ledger_insert, ledger_batch_params(batch, 0, ledger_batch_count(batch)));
		ledger_batch_free(batch);
		if (posted < count && loop_now_us() - tapped_us < TAP_US) continue;
		execute(db, &tap, NULL);
		tapped_us = loop_now_us();
	}
	db_close(db);
}

// ---- work

// What a worker has of a job, without all that has to do with running it.
struct job {
	struct bench *bench;
	struct job *next; // of the marks
	char key[UUID_TEXT];
	struct finish_entry finish;
};

struct bench {
	struct worker worker; // what the finisher needs of one
	struct loop_timer *poll, *mark_timer;
	struct job *unmarked; // ended, and (without Kafka) published
	int64_t busy, done, told, unmarked_count;
	bool claiming, again, marking, going, ending;
};

static void claim(struct bench *bench);
static void mark(struct bench *bench);

static void check(enum db_status status, const struct error *error, const char *what) {
	if (status != DB_OK && status != DB_RETRY) die(what, error);
}

static void stop_if_idle(struct bench *bench) {
	if (bench->ending && !bench->busy && !bench->claiming && !bench->unmarked && !bench->marking)
		loop_stop(bench->worker.loop);
}

static void tell(struct bench *bench) {
	if (bench->done == bench->told) return;
	bench->told = bench->done;
	report(bench->done);
}

static void marked(enum db_status status, const struct db_result *result UNUSED, const struct error *error, void *arg) {
	struct bench *bench = arg;
	check(status, error, "mark");
	bench->marking = false;
	if (bench->unmarked) mark(bench);
	stop_if_idle(bench);
}

static void mark(struct bench *bench) {
	const char *keys[MARK_MOST];
	int64_t attempts[MARK_MOST];
	size_t count = 0;
	struct job *next, *job = bench->unmarked;
	for (struct job *each = job; each && count < MARK_MOST; each = each->next, count++) {
		keys[count] = each->key;
		attempts[count] = each->finish.attempt;
	}
	struct db_params *params = db_params_new();
	db_texts(params, DB_UUID, keys, count);
	db_ints(params, DB_INT4, attempts, count);
	for (size_t i = 0; i < count; i++, job = next) {
		next = job->next;
		free(job);
	}
	bench->unmarked = job;
	bench->unmarked_count -= (int64_t)count;
	bench->marking = true;
	db_run(bench->worker.chores, &publish_mark, params, TIMEOUT_MS, TIMEOUT_MS, marked, bench);
}

static void mark_due(void *arg) {
	struct bench *bench = arg;
	if (bench->unmarked && !bench->marking) mark(bench);
}

static void finished(enum db_status status, bool ours, const struct error *error, void *arg) {
	struct job *job = arg;
	struct bench *bench = job->bench;
	check(status, error, "finish");
	output_free(job->finish.output);
	job->next = bench->unmarked;
	bench->unmarked = job;
	bench->unmarked_count++;
	if (!loop_timer_active(bench->mark_timer)) loop_timer_set(bench->mark_timer, MARK_DELAY_MS);
	bench->busy--;
	bench->done += ours;
	if (bench->done - bench->told >= TELL_EVERY || !bench->busy) tell(bench);
	claim(bench);
}

static void start(struct bench *bench, const char *key, int64_t attempt) {
	static char outcome[] = "{\"code\":\"ok\",\"blame\":null,\"exit_code\":0,\"signal\":null,\"message\":\"\"}",
		    detail[] = "{}";
	struct job *job = mem_zalloc(sizeof(*job));
	job->bench = bench;
	memcpy(job->key, key, sizeof(job->key));
	job->finish = (struct finish_entry){
		.key = job->key,
		.attempt = attempt,
		.status = "Finished",
		.outcome = outcome,
		.detail = detail,
		.execution_ms = 1,
		.commit = COMMIT,
		.output = output_new(0),
		.done = finished,
		.arg = job,
	};
	bench->busy++;
	finish_attempt(bench->worker.finisher, &job->finish);
}

static void claimed(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct bench *bench = arg;
	bench->claiming = false;
	check(status, error, "claim");
	size_t rows = status == DB_OK ? db_rows(result) : 0, candidates = rows ? (size_t)db_get_int(result, 0, 0) : 0,
	       taken = 0;
	for (size_t row = 0; row < rows; row++) {
		if (!db_get(result, row, 1)) continue;
		start(bench, db_get(result, row, 1), db_get_int(result, row, 2));
		taken++;
	}
	stop_if_idle(bench);
	if (bench->again)
		claim(bench);
	else
		loop_timer_set(bench->poll, candidates > taken ? CONTENDED_MS : POLL_MS);
}

static void claim(struct bench *bench) {
	bench->again = bench->claiming;
	if (bench->claiming || !bench->going || bench->ending) {
		stop_if_idle(bench);
		return;
	}
	if (bench->busy >= slots || !db_session_ready(bench->worker.ledger)) return;
	struct db_params *params = db_params_new();
	db_text(params, bench->worker.id);
	db_int(params, slots - bench->busy);
	db_int(params, LEASE_S);
	db_int(params, 0);
	db_text(params, NULL);
	bench->claiming = true;
	db_run(bench->worker.ledger, &worker_claim, params, 0, TIMEOUT_MS, claimed, bench);
}

static void due(void *arg) {
	claim(arg);
}

static void input(uint32_t events UNUSED, void *arg) {
	struct bench *bench = arg;
	char buffer[64];
	if (read(STDIN_FILENO, buffer, sizeof(buffer)) > 0)
		bench->going = true;
	else
		bench->ending = true;
	claim(bench);
}

static void ready(int connected, const char *why UNUSED, void *arg UNUSED) {
	if (connected) say("ready");
}

static void work(void) {
	struct bench bench = {.worker.loop = loop_new()};
	struct worker *worker = &bench.worker;
	uuid_v7(worker->id);
	worker->ledger = db_session_open(worker->loop, &config);
	worker->chores = db_session_open(worker->loop, &config);
	worker->finisher = finisher_new(worker);
	bench.poll = loop_timer_new(worker->loop, due, &bench);
	bench.mark_timer = loop_timer_new(worker->loop, mark_due, &bench);
	db_session_watch(worker->ledger, ready, &bench);
	db_session_listen(worker->ledger, LEDGER_CHANNEL, due, &bench);
	struct loop_fd *watch = loop_fd_add(worker->loop, STDIN_FILENO, EPOLLIN, input, &bench);
	loop_run(worker->loop);
	tell(&bench);
	loop_fd_remove(watch);
	loop_timer_free(bench.poll);
	loop_timer_free(bench.mark_timer);
	finisher_free(worker->finisher);
	db_session_close(worker->ledger);
	db_session_close(worker->chores);
	loop_free(worker->loop);
}

int main(int argc, char **argv) {
	AUTO_ERROR struct error error = {0};
	enum option_action action;
	char *none[] = {argv[0], NULL};
	if (option_parse(options, COUNT_OF(options), 1, none, environ, &action, &error) < 0) die("options", &error);
	config.application = "bench-ledger-jobs";
	config.steady_plans = true; // as all daemons have it
	if (argc == 2 && strcmp(argv[1], "setup") == 0) {
		setup();
	} else if (argc == 4 && strcmp(argv[1], "post") == 0) {
		post(strtoll(argv[2], NULL, 10), strtoll(argv[3], NULL, 10));
	} else if (argc == 2 && strcmp(argv[1], "work") == 0) {
		work();
	} else {
		fprintf(stderr, "usage: bench-ledger-jobs setup | post N BATCH | work\n");
		return EXIT_USAGE_ERROR;
	}
	option_clear(options, COUNT_OF(options));
	return EXIT_FINE;
}
