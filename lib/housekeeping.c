#include "lib/housekeeping.h"

#include "lib/failpoint.h"
#include "lib/housekeeping_artifacts.h"
#include "lib/housekeeping_schedule.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/webhook.h"

#include <stdbool.h>
#include <string.h>

#define SWEEP_EVERY_MS       5000
#define RETENTION_EVERY_MS   failpoint_sooner(60000)
#define PROMOTE_EVERY_MS     500
#define REPLACE_EVERY_MS     1000
#define LANES_EVERY_MS       1000
#define BATCH                200
#define STATEMENT_TIMEOUT_MS 20000

#ifdef FAULTY_sweeper // the fault suite must notice
#define NO_SWEEPER true
#else
#define NO_SWEEPER false
#endif

// Each chore is a timer and a statement; the next round starts when the answer of the last has come.
struct chore {
	struct housekeeping *house;
	struct loop_timer *timer;
	int64_t every_ms;
	void (*run)(struct housekeeping *house);
	bool under_way;
};

struct housekeeping {
	struct housekeeping_config config;
	struct db_session *session;
	struct publisher *publisher;
	struct chore reap, sweep, retain, promote, replace, lanes;
	struct housekeeping_schedule *schedule;
	struct housekeeping_artifacts *artifacts;
	struct webhooks *webhooks;
	int64_t reap_looked_ms, awake_since_ms;
	char reap_answered[32]; // the server's moment, in seconds since the epoch
	bool stopped;
	unsigned under_way;
};

static struct metric reaped = {.name = "trabajos_leases_expired_total",
	.help = "attempts whose lease ran out, put back or ended",
	.type = METRIC_COUNTER};
static struct metric swept = {.name = "trabajos_resultados_swept_total",
	.help = "results sent again because their acknowledgement was never recorded",
	.type = METRIC_COUNTER};
static struct metric retired = {
	.name = "trabajos_jobs_retired_total", .help = "finished jobs removed after RETENTION_DAYS", .type = METRIC_COUNTER};

// $1 lease in seconds, $2 most attempts, $3 how many. After an outage nobody reaps before the server has been up for a lease, so that
// living workers renew first (the session's own age is checked by the caller). $4: when the server last answered this reaper, by the
// server's own clock; a server that has stood still since then reaps nothing either, since the heartbeats waited like this. A lease that is renewed while its row is waited for
// is seen renewed, and a job's fate goes by the row as it was locked: its cancel may have come since the snapshot. Backoff: full jitter, doubling from a second to a minute.
static const struct db_statement reap_statement = {"housekeeping_reap",
	"WITH expired AS ("
	" SELECT t.key, t.attempt, t.owner, t.concurrency_key, t.platform_failures, t.cancel_requested_at"
	" FROM attempts a JOIN trabajos t ON t.key = a.key AND t.attempt = a.attempt"
	" WHERE a.finished_at IS NULL AND a.lease_until < now() AND t.status = 'Running'"
	" AND now() - pg_postmaster_start_time() > make_interval(secs => $1::int)"
	" AND now() - to_timestamp($4::float8) < make_interval(secs => $1::int) * 2 / 3"
	" ORDER BY t.key LIMIT $3::int FOR UPDATE OF t SKIP LOCKED"
	"), ended AS ("
	" UPDATE attempts a SET finished_at = now(), outcome = '{\"code\": \"lost\", \"blame\": \"platform\", \"exit_code\": null,"
	"  \"signal\": null, \"message\": \"the worker was lost: its lease ran out\"}'"
	" FROM expired e WHERE a.key = e.key AND a.attempt = e.attempt AND coalesce(a.finished_at, 'infinity') = 'infinity'"
	" AND a.lease_until < now()"
	" RETURNING a.key, a.outcome, e.owner, e.concurrency_key, e.platform_failures, e.cancel_requested_at"
	"), fate AS ("
	" SELECT e.key, e.owner, e.concurrency_key, e.outcome, CASE WHEN e.cancel_requested_at IS NOT NULL THEN 'Cancelled'"
	"  WHEN e.platform_failures + 1 < $2::int THEN 'Queued' ELSE 'Failed' END AS status FROM ended e"
	"), moved AS ("
	" UPDATE trabajos t SET status = f.status, platform_failures = platform_failures + 1,"
	" eligible_at = CASE WHEN f.status = 'Queued'"
	"  THEN now() + random() * make_interval(secs => least(60, 2 ^ least(platform_failures, 6))) ELSE eligible_at END,"
	" finished_at = CASE WHEN f.status = 'Queued' THEN NULL ELSE now() END,"
	" execution_ms = coalesce(extract(epoch FROM now() - claimed_at) * 1000, 0)::bigint,"
	" outcome = CASE WHEN f.status = 'Cancelled' THEN '{\"code\": \"cancelled\", \"blame\": \"user\", \"exit_code\": null,"
	"  \"signal\": null, \"message\": \"cancelled; its worker was lost\"}' ELSE f.outcome END"
	" FROM (SELECT * FROM fate ORDER BY owner COLLATE \"C\", concurrency_key COLLATE \"C\", key) f WHERE t.key = f.key"
	" RETURNING t.key, t.owner, t.usuario, t.attempt, t.status, t.eligible_at, t.concurrency_key"
	"), visible AS ("
	" INSERT INTO resultados (usuario, key, status) SELECT usuario, key::text, status FROM moved WHERE status <> 'Queued'"
	" ON CONFLICT (usuario, key) DO UPDATE SET status = excluded.status"
	"), unpublished AS ("
	" INSERT INTO outbox (key, attempt, publish_after) SELECT key, attempt, now() FROM moved WHERE status <> 'Queued'"
	"), dead AS ("
	" INSERT INTO dead_letters (key, owner) SELECT key, owner FROM moved WHERE status = 'Failed'"
	"), delayed AS ("
	" INSERT INTO delayed (eligible_at, key) SELECT eligible_at, key FROM moved WHERE status = 'Queued' AND concurrency_key IS NULL"
	") SELECT count(*), count(*) FILTER (WHERE status = 'Queued'), extract(epoch FROM clock_timestamp()) FROM moved"};

// $1 how many. Who takes a result keeps the other sweepers from it for a while.
static const struct db_statement sweep_statement = {"housekeeping_sweep",
	"WITH due AS ("
	" SELECT ctid AS place FROM outbox WHERE publish_after < now() ORDER BY publish_after LIMIT $1::int FOR UPDATE SKIP LOCKED"
	"), taken AS ("
	" UPDATE outbox o SET publish_after = now() + interval '30 seconds' FROM due WHERE o.ctid = due.place RETURNING o.key, o.attempt"
	") SELECT t.key, t.usuario, t.status, t.attempt, (extract(epoch FROM t.posted_at) * 1000)::bigint,"
	" coalesce(t.execution_ms, 0), t.outcome, coalesce(t.worker, '')"
	" FROM taken o CROSS JOIN LATERAL (SELECT * FROM trabajos w WHERE w.key = o.key AND w.attempt = o.attempt"
	" AND w.status IN ('Finished', 'Failed', 'Cancelled') OFFSET 0) t"};

// $1 days, $2 how many. By the age of the post, which has an index: what was posted long ago and has ended only now, or of whose
// record a copy came later, stays longer. What belongs to a job goes with it, by a trigger.
static const struct db_statement retain_statement = {"housekeeping_retain",
	"WITH old AS ("
	" SELECT ctid AS place FROM trabajos WHERE posted_at < now() - make_interval(days => $1::int)"
	" AND status IN ('Finished', 'Failed', 'Cancelled') AND finished_at < now() - make_interval(days => $1::int)"
	" AND coalesce(reposted_at < now() - make_interval(days => $1::int), true)"
	" ORDER BY posted_at LIMIT $2::int FOR UPDATE SKIP LOCKED"
	"), dead AS ("
	" DELETE FROM workers WHERE seen_at < now() - interval '1 day'"
	"), gone AS ("
	" DELETE FROM trabajos t USING old o WHERE t.ctid = o.place RETURNING t.key"
	") SELECT count(*) FROM gone"};

// $1 how many. Those whose moment has come, and those that newer ones replace; how many came into the queue.
static const struct db_statement promote_statement = {"housekeeping_promote", "SELECT trabajos_promote($1::int)"};
static const struct db_statement replace_statement = {"housekeeping_replace", "SELECT concurrency_replace($1::int)"};
static const struct db_statement lanes_statement = {"housekeeping_lanes", "SELECT lanes_refresh()"};

static void arm(struct chore *chore) {
	loop_timer_set(chore->timer, lifecycle_jitter_ms(chore->every_ms));
}

static void house_free(struct housekeeping *house) {
	free(house);
}

// Common end of every chore: whether the answer still matters.
static bool chore_over(struct chore *chore, enum db_status status, const struct error *error, const char *what) {
	struct housekeeping *house = chore->house;
	chore->under_way = false;
	house->under_way--;
	if (house->stopped) {
		if (house->under_way == 0) house_free(house);
		return false;
	}
	arm(chore);
	if (status == DB_OK) return true;
	if (status != DB_UNAVAILABLE && status != DB_RETRY) log_warn(log_m(what), log_e(error));
	return false;
}

static void chore_start(struct chore *chore, const struct db_statement *statement, struct db_params *params, int64_t timeout_ms,
	db_done *done) {
	chore->under_way = true;
	chore->house->under_way++;
	db_run(chore->house->session, statement, params, 0, timeout_ms, done, chore);
}

static void run_batch(struct chore *chore, const struct db_statement *statement, db_done *done) {
	struct db_params *params = db_params_new();
	db_int(params, BATCH);
	chore_start(chore, statement, params, STATEMENT_TIMEOUT_MS, done);
}

static void reap_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct chore *chore = arg;
	if (!chore_over(chore, status, error, "cannot reap leases")) return;
	int64_t moved = db_get_int(result, 0, 0);
	snprintf(chore->house->reap_answered, sizeof(chore->house->reap_answered), "%s", db_get(result, 0, 2));
	metric_add(&reaped, moved);
	if (moved == 0) return;
	failpoint("housekeeping.reaped");
	log_warn(log_m("leases ran out"), log_i("jobs", moved), log_i("queued_again", db_get_int(result, 0, 1)));
	if (chore->house->config.requeued) chore->house->config.requeued(chore->house->config.arg);
	if (moved == BATCH) loop_timer_set(chore->timer, 0);
}

// A process that was frozen, or an outage of PostgreSQL: those who live must have had the time to renew their leases first.
static bool awake_for_a_lease(struct housekeeping *house) {
	int64_t now_ms = loop_now_ms(), lease_ms = house->config.lease_s * 1000;
	if (now_ms - house->reap_looked_ms > lease_ms * 2 / 3) house->awake_since_ms = now_ms;
	house->reap_looked_ms = now_ms;
	return now_ms - house->awake_since_ms >= lease_ms && db_session_up_ms(house->session) >= lease_ms;
}

static void reap(struct housekeeping *house) {
	if (!awake_for_a_lease(house)) {
		arm(&house->reap);
		return;
	}
	struct db_params *params = db_params_new();
	db_int(params, house->config.lease_s);
	db_int(params, house->config.max_attempts);
	db_int(params, BATCH);
	db_text(params, *house->reap_answered ? house->reap_answered : "0");
	chore_start(&house->reap, &reap_statement, params, house->config.lease_s * 1000 / 3, reap_done);
}

static void sweep_row(struct housekeeping *house, const struct db_result *result, size_t row) {
	struct resultado resultado = {
		.usuario = mem_strdup(db_get(result, row, 1)),
		.code = mem_strdup(db_get(result, row, 2)),
		.attempt = db_get_int(result, row, 3),
		.posted_ms = db_get_int(result, row, 4),
		.execution_ms = db_get_int(result, row, 5),
		.worker = mem_strdup(db_get(result, row, 7)),
	};
	memcpy(resultado.key, db_get(result, row, 0), sizeof(resultado.key));
	const char *outcome = db_get(result, row, 6);
	if (outcome && json_read(outcome, strlen(outcome), 65536, &resultado.outcome, NULL) < 0) resultado.outcome = NULL;
	publish(house->publisher, &resultado);
	metric_add(&swept, 1);
	resultado_clear(&resultado);
}

static void sweep_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct chore *chore = arg;
	if (!chore_over(chore, status, error, "cannot sweep results")) return;
	if (db_rows(result) > 0) failpoint("housekeeping.swept");
	for (size_t row = 0; row < db_rows(result); row++) sweep_row(chore->house, result, row);
	if (db_rows(result) == BATCH) loop_timer_set(chore->timer, 100);
}

static void sweep(struct housekeeping *house) {
	// While Kafka is away, or many are still under way, sending more would only pile up copies.
	if (NO_SWEEPER || !publisher_ready(house->publisher) || publisher_pending(house->publisher) >= BATCH) {
		arm(&house->sweep);
		return;
	}
	run_batch(&house->sweep, &sweep_statement, sweep_done);
}

static void retain_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct chore *chore = arg;
	if (!chore_over(chore, status, error, "cannot remove old jobs")) return;
	failpoint("housekeeping.retained");
	int64_t gone = db_get_int(result, 0, 0);
	metric_add(&retired, gone);
	if (gone == BATCH) loop_timer_set(chore->timer, 100);
}

static void retain(struct housekeeping *house) {
	struct db_params *params = db_params_new();
	db_int(params, house->config.retention_days);
	db_int(params, BATCH);
	chore_start(&house->retain, &retain_statement, params, STATEMENT_TIMEOUT_MS, retain_done);
}

static void promote_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct chore *chore = arg;
	if (!chore_over(chore, status, error, "cannot queue delayed jobs")) return;
	int64_t promoted = db_get_int(result, 0, 0);
	if (promoted > 0) failpoint("housekeeping.promoted");
	if (promoted > 0 && chore->house->config.requeued) chore->house->config.requeued(chore->house->config.arg);
	if (promoted == BATCH) loop_timer_set(chore->timer, 0);
}

static void replace_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct chore *chore = arg;
	if (!chore_over(chore, status, error, "cannot cancel replaced jobs")) return;
	if (db_get_int(result, 0, 0) == BATCH) loop_timer_set(chore->timer, 100);
}

static void lanes_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct chore *chore = arg;
	(void)result;
	chore_over(chore, status, error, "cannot refresh the queue's lanes");
}

static void promote(struct housekeeping *house) {
	run_batch(&house->promote, &promote_statement, promote_done);
}

static void replace(struct housekeeping *house) {
	run_batch(&house->replace, &replace_statement, replace_done);
}

static void refresh_lanes(struct housekeeping *house) {
	chore_start(&house->lanes, &lanes_statement, NULL, STATEMENT_TIMEOUT_MS, lanes_done);
}

static void chore_due(void *arg) {
	struct chore *chore = arg;
	if (!db_session_ready(chore->house->session)) {
		arm(chore);
		return;
	}
	chore->run(chore->house);
}

static void chore_init(struct loop *loop, struct housekeeping *house, struct chore *chore, int64_t every_ms,
	void (*run)(struct housekeeping *)) {
	*chore = (struct chore){.house = house, .every_ms = every_ms, .run = run};
	chore->timer = loop_timer_new(loop, chore_due, chore);
	arm(chore);
}

void housekeeping_stop(struct housekeeping *house) {
	if (!house) return;
	house->stopped = true;
	loop_timer_free(house->reap.timer);
	loop_timer_free(house->sweep.timer);
	loop_timer_free(house->retain.timer);
	loop_timer_free(house->promote.timer);
	loop_timer_free(house->replace.timer);
	loop_timer_free(house->lanes.timer);
	housekeeping_schedule_stop(house->schedule);
	housekeeping_artifacts_stop(house->artifacts);
	webhooks_stop(house->webhooks);
	if (house->under_way == 0) house_free(house);
}

int housekeeping_retention_check(int64_t retention_days, const struct kafka_config *kafka, struct error *error) {
	if (retention_days * 24 >= kafka->retention_h + 24) return 0;
	return error_set(error, ERROR_INPUT,
		"RETENTION_DAYS=%lld: must be longer than KAFKA_RETENTION_H=%lld by a day at least", (long long)retention_days,
		(long long)kafka->retention_h);
}

struct housekeeping *housekeeping_start(
	struct loop *loop, const struct housekeeping_config *config, struct db_session *session, struct publisher *publisher) {
	metrics_register(&reaped);
	metrics_register(&swept);
	metrics_register(&retired);
	struct housekeeping *house = mem_zalloc(sizeof(*house));
	house->config = *config;
	house->session = session;
	house->publisher = publisher;
	chore_init(loop, house, &house->reap, config->lease_s * 1000 / 3, reap);
	chore_init(loop, house, &house->sweep, SWEEP_EVERY_MS, sweep);
	chore_init(loop, house, &house->retain, RETENTION_EVERY_MS, retain);
	chore_init(loop, house, &house->promote, PROMOTE_EVERY_MS, promote);
	chore_init(loop, house, &house->replace, REPLACE_EVERY_MS, replace);
	chore_init(loop, house, &house->lanes, LANES_EVERY_MS, refresh_lanes);
	house->schedule = housekeeping_schedule_start(loop, session);
	house->artifacts = housekeeping_artifacts_start(loop, session, config->store);
	house->webhooks = webhooks_start(loop, session, config->webhook_rules);
	return house;
}
