#include "lib/housekeeping.h"

#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <stdbool.h>
#include <string.h>

#define SWEEP_EVERY_MS       5000
#define RETENTION_EVERY_MS   60000
#define BATCH                200
#define STATEMENT_TIMEOUT_MS 20000

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
	struct chore reap, sweep, retain;
	int64_t reap_looked_ms, awake_since_ms;
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

// $1 lease in seconds, $2 most attempts, $3 how many. After an outage nobody reaps before the server has been up for a lease, so that living
// workers renew first (the session's own age is checked by the caller). Backoff: full jitter, doubling from a second to a minute.
static const struct db_statement reap_statement = {"housekeeping_reap",
	"WITH expired AS ("
	" SELECT key FROM trabajos WHERE status = 'Running' AND lease_until < now()"
	" AND now() - pg_postmaster_start_time() > make_interval(secs => $1::int)"
	" ORDER BY lease_until LIMIT $3::int FOR UPDATE SKIP LOCKED"
	"), moved AS ("
	" UPDATE trabajos t SET"
	" status = CASE WHEN platform_failures + 1 < $2::int AND cancel_requested_at IS NULL THEN 'Queued'"
	"  WHEN cancel_requested_at IS NOT NULL THEN 'Cancelled' ELSE 'Failed' END,"
	" platform_failures = platform_failures + 1, lease_until = NULL, published = false, publish_after = NULL,"
	" eligible_at = CASE WHEN platform_failures + 1 < $2::int"
	"  THEN now() + random() * make_interval(secs => least(60, 2 ^ least(platform_failures, 6))) ELSE eligible_at END,"
	" finished_at = CASE WHEN platform_failures + 1 < $2::int AND cancel_requested_at IS NULL THEN NULL ELSE now() END,"
	" execution_ms = coalesce(extract(epoch FROM now() - claimed_at) * 1000, 0)::bigint,"
	" outcome = jsonb_build_object('code', CASE WHEN cancel_requested_at IS NULL THEN 'lost' ELSE 'cancelled' END, 'blame',"
	"  CASE WHEN cancel_requested_at IS NULL THEN 'platform' ELSE 'user' END, 'exit_code', NULL, 'signal', NULL,"
	"  'message', CASE WHEN cancel_requested_at IS NULL THEN 'the worker was lost: its lease ran out'"
	"  ELSE 'cancelled; its worker was lost' END)"
	" FROM expired e WHERE t.key = e.key RETURNING t.key, t.usuario, t.attempt, t.status, t.outcome, t.finished_at"
	"), history AS ("
	" UPDATE attempts a SET finished_at = now(), outcome = m.outcome FROM moved m WHERE a.key = m.key AND a.attempt = m.attempt"
	"), visible AS ("
	" INSERT INTO resultados (usuario, key, status) SELECT usuario, key::text, status FROM moved WHERE finished_at IS NOT NULL"
	" ON CONFLICT (usuario, key) DO UPDATE SET status = excluded.status"
	") SELECT count(*), count(*) FILTER (WHERE status = 'Queued') FROM moved"};

// $1 how many. A result is old enough for the sweeper when its own worker has had time to mark it; who takes one keeps the other
// sweepers from it for a while.
static const struct db_statement sweep_statement = {"housekeeping_sweep",
	"WITH due AS ("
	" SELECT key FROM trabajos WHERE NOT published AND status IN ('Finished', 'Failed', 'Cancelled')"
	" AND coalesce(publish_after, finished_at) < now() - interval '10 seconds'"
	" ORDER BY coalesce(publish_after, finished_at) LIMIT $1::int FOR UPDATE SKIP LOCKED"
	") UPDATE trabajos t SET publish_after = now() + interval '30 seconds' FROM due WHERE t.key = due.key"
	" RETURNING t.key, t.usuario, t.status, t.attempt, (extract(epoch FROM t.posted_at) * 1000)::bigint,"
	" coalesce(t.execution_ms, 0), t.outcome, coalesce(t.worker, '')"};

// $1 days, $2 how many.
static const struct db_statement retain_statement = {"housekeeping_retain",
	"WITH old AS ("
	" SELECT key, usuario FROM trabajos WHERE status IN ('Finished', 'Failed', 'Cancelled')"
	" AND finished_at < now() - make_interval(days => $1::int) ORDER BY finished_at LIMIT $2::int FOR UPDATE SKIP LOCKED"
	"), visible AS ("
	" DELETE FROM resultados r USING old o WHERE r.usuario = o.usuario AND r.key = o.key::text"
	"), dead AS ("
	" DELETE FROM workers WHERE seen_at < now() - interval '1 day'"
	"), gone AS ("
	" DELETE FROM trabajos t USING old o WHERE t.key = o.key RETURNING t.key"
	") SELECT count(*) FROM gone"};

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

static void reap_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct chore *chore = arg;
	if (!chore_over(chore, status, error, "cannot reap leases")) return;
	int64_t moved = db_get_int(result, 0, 0);
	metric_add(&reaped, moved);
	if (moved == 0) return;
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
	for (size_t row = 0; row < db_rows(result); row++) sweep_row(chore->house, result, row);
	if (db_rows(result) == BATCH) loop_timer_set(chore->timer, 100);
}

static void sweep(struct housekeeping *house) {
	// While Kafka is away, or many are still under way, sending more would only pile up copies.
	if (!publisher_ready(house->publisher) || publisher_pending(house->publisher) >= BATCH) {
		arm(&house->sweep);
		return;
	}
	struct db_params *params = db_params_new();
	db_int(params, BATCH);
	chore_start(&house->sweep, &sweep_statement, params, STATEMENT_TIMEOUT_MS, sweep_done);
}

static void retain_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct chore *chore = arg;
	if (!chore_over(chore, status, error, "cannot remove old jobs")) return;
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
	return house;
}
