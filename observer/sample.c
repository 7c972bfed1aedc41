#include "observer/sample.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#define STATEMENT_TIMEOUT_MS 10000
#define TEXT_(number)        #number
#define TEXT(number)         TEXT_(number)
#define MOST                 TEXT(SAMPLE_MOST)
#define LEVELS(...)          #__VA_ARGS__
#define LEVELS_TEXT(...)     LEVELS(__VA_ARGS__)
#define MS(since)            " coalesce(extract(epoch FROM now() - " since ") * 1000, 0)::bigint"

struct sampler {
	struct db_session *session;
	struct loop_timer *timer;
	struct lag *lag;
	int64_t lease_ms;
	void (*taken)(struct sample *sample, void *arg);
	void *arg;

	bool started;
	struct sample next; // being put together
	int64_t begun_ms;
	bool failed;      // one of its queries
	int64_t taken_ms; // when the latest was begun; 0: never
	char *trouble;
};

// ---- metrics

#define GAUGE(of, with, divided, says)                                                                                         \
	{ .name = of, .labels = with, .help = says, .type = METRIC_GAUGE, .scale = divided }

static struct metric queue_jobs[SAMPLE_CLASSES] = {
	GAUGE("trabajos_queue_jobs", "priority=\"low\"", 1, "Jobs that wait for a worker"),
	GAUGE("trabajos_queue_jobs", "priority=\"normal\"", 1, "Jobs that wait for a worker"),
	GAUGE("trabajos_queue_jobs", "priority=\"high\"", 1, "Jobs that wait for a worker"),
};
static struct metric queue_oldest[SAMPLE_CLASSES] = {
	GAUGE("trabajos_queue_oldest_seconds", "priority=\"low\"", 1000, "Age of the oldest job that waits"),
	GAUGE("trabajos_queue_oldest_seconds", "priority=\"normal\"", 1000, "Age of the oldest job that waits"),
	GAUGE("trabajos_queue_oldest_seconds", "priority=\"high\"", 1000, "Age of the oldest job that waits"),
};
static struct metric running_jobs = GAUGE("trabajos_running_jobs", NULL, 1, "Jobs that run");
static struct metric arrivals = GAUGE("trabajos_arrivals_per_second", NULL, 1000, "Arrivals of the last 5 minutes");
static struct metric run_times[] = {
	GAUGE("trabajos_run_median_seconds", NULL, 1000, "From claim to end, of the last 5 minutes"),
	GAUGE("trabajos_run_p95_seconds", NULL, 1000, "From claim to end, of the last 5 minutes"),
};
static struct metric run_mean = GAUGE("trabajos_run_mean_seconds", NULL, 1000, "From claim to end, mean of the last 5 minutes");
static struct metric workers[] = {
	GAUGE("trabajos_workers", "state=\"idle\"", 1, "Workers alive"),
	GAUGE("trabajos_workers", "state=\"busy\"", 1, "Workers alive"),
	GAUGE("trabajos_workers", "state=\"draining\"", 1, "Workers alive"),
};
static struct metric slots = GAUGE("trabajos_worker_slots", NULL, 1, "Slots of the workers that claim");
static struct metric died = GAUGE("trabajos_dead_letters_recent", NULL, 1, "Dead letters of the last 5 minutes");
static struct metric took = {
	.name = "trabajos_sample_duration_seconds", .help = "Taking one sample of the ledger", .type = METRIC_HISTOGRAM};
static struct metric failures = {
	.name = "trabajos_samples_failed_total", .help = "Samples that the ledger did not give", .type = METRIC_COUNTER};

static void register_all(struct metric *metrics, size_t count) {
	for (size_t i = 0; i < count; i++) metrics_register(&metrics[i]);
}

static void register_metrics(void) {
	register_all(queue_jobs, COUNT_OF(queue_jobs));
	register_all(queue_oldest, COUNT_OF(queue_oldest));
	register_all(run_times, COUNT_OF(run_times));
	register_all(workers, COUNT_OF(workers));
	struct metric *others[] = {&running_jobs, &arrivals, &run_mean, &slots, &died, &took, &failures};
	for (size_t i = 0; i < COUNT_OF(others); i++) metrics_register(others[i]);
}

static void show(const struct sample *sample) {
	for (int class = 0; class < SAMPLE_CLASSES; class ++) {
		metric_set(&queue_jobs[class], sample->queued_by[class]);
		metric_set(&queue_oldest[class], sample->oldest_by_ms[class]);
	}
	metric_set(&running_jobs, sample->running);
	metric_set(&arrivals, sample->arrivals * 1000000 / sample->arrivals_ms);
	metric_set(&run_times[0], sample->run_p50_ms);
	metric_set(&run_times[1], sample->run_p95_ms);
	metric_set(&run_mean, sample->run_mean_ms);
	metric_set(&workers[0], sample->idle);
	metric_set(&workers[1], sample->busy);
	metric_set(&workers[2], sample->draining);
	metric_set(&slots, sample->slots);
}

// ---- queries: each ends at SAMPLE_MOST rows of one index, however many there are

// The oldest part of the queue: how many by priority, the oldest of each, and the ages at the tenths of it. Then for the case that
// there are more: the newest one, and how many the planner's statistics think there are.
// clang-format off
static const struct db_statement query_queue = {"observer_queue",
	"WITH head AS MATERIALIZED ("
	" SELECT -place AS priority, eligible_at AS since FROM queue ORDER BY eligible_at LIMIT " MOST "), figures AS ("
	" SELECT count(*) AS jobs,"
	" count(*) FILTER (WHERE priority < 0) AS low, count(*) FILTER (WHERE priority = 0) AS normal,"
	" count(*) FILTER (WHERE priority > 0) AS high, min(since) AS oldest,"
	" min(since) FILTER (WHERE priority < 0) AS oldest_low, min(since) FILTER (WHERE priority = 0) AS oldest_normal,"
	" min(since) FILTER (WHERE priority > 0) AS oldest_high,"
	" percentile_disc(ARRAY[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]) WITHIN GROUP (ORDER BY since) AS tenths,"
	" (SELECT eligible_at FROM queue ORDER BY eligible_at DESC LIMIT 1) AS newest"
	" FROM head"
	") SELECT jobs, low, normal, high,"
	MS("oldest") "," MS("oldest_low") "," MS("oldest_normal") "," MS("oldest_high") ","
	MS("tenths[1]") "," MS("tenths[2]") "," MS("tenths[3]") "," MS("tenths[4]") "," MS("tenths[5]") ","
	MS("tenths[6]") "," MS("tenths[7]") "," MS("tenths[8]") "," MS("tenths[9]") "," MS("tenths[10]") ","
	MS("newest") ","
	" (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'queue_age'::regclass) FROM figures"};
enum { QUEUE_TENTHS = 8, QUEUE_NEWEST = 18, QUEUE_ESTIMATE = 19 };

// One row a tenth of the times since they were claimed, by growing time.
static const struct db_statement query_running = {"observer_running",
	"WITH figures AS ("
	" SELECT count(*) AS jobs, avg(ms) AS mean,"
	" percentile_disc(ARRAY[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]) WITHIN GROUP (ORDER BY ms) AS tenths FROM"
	" (SELECT extract(epoch FROM now() - started_at) * 1000 AS ms FROM attempts WHERE finished_at IS NULL LIMIT " MOST ") AS running"
	") SELECT jobs, coalesce(mean, 0)::bigint, coalesce(t.ms, 0)::bigint"
	" FROM figures LEFT JOIN unnest(tenths) WITH ORDINALITY AS t (ms, place) ON true ORDER BY t.place"};

static const struct db_statement query_arrivals = {"observer_arrivals",
	"SELECT count(*)," MS("min(posted_at)") ","
	" count(*) FILTER (WHERE posted_at > now() - $2::bigint * interval '1 millisecond'),"
	" (SELECT count(*) FROM (SELECT FROM dead_letters WHERE died_at > now() - $1::bigint * interval '1 millisecond'"
	"  LIMIT " MOST ") died)"
	" FROM (SELECT posted_at FROM trabajos WHERE posted_at > now() - $1::bigint * interval '1 millisecond'"
	" ORDER BY posted_at DESC LIMIT " MOST ") AS latest"};

// One row a level of SAMPLE_LEVELS.
static const struct db_statement query_runs = {"observer_runs",
	"WITH figures AS ("
	" SELECT count(ms) AS jobs, avg(ms) AS mean, count(*) FILTER (WHERE finished_at > now() - $2::bigint * interval '1 millisecond') AS ended,"
	" min(finished_at) AS since, percentile_cont(ARRAY[" LEVELS_TEXT(SAMPLE_LEVELS) "]) WITHIN GROUP (ORDER BY ms) AS levels"
	" FROM (SELECT extract(epoch FROM finished_at - started_at) * 1000 AS ms, finished_at FROM attempts"
	" WHERE finished_at > now() - $1::bigint * interval '1 millisecond'"
	" ORDER BY finished_at DESC LIMIT " MOST ") AS latest"
	") SELECT jobs, coalesce(mean, 0)::bigint, coalesce(l.ms, 0)::bigint, ended," MS("since")
	" FROM figures LEFT JOIN unnest(levels) WITH ORDINALITY AS l (ms, place) ON true ORDER BY l.place"};
enum { LEVEL_P50 = 4, LEVEL_P95 = 9 };

static const struct db_statement query_workers = {"observer_workers",
	"SELECT count(*) FILTER (WHERE alive AND NOT draining AND running = 0),"
	" count(*) FILTER (WHERE alive AND NOT draining AND running > 0),"
	" coalesce(sum(slots) FILTER (WHERE alive AND NOT draining), 0),"
	" count(*) FILTER (WHERE alive AND draining), coalesce(sum(running) FILTER (WHERE alive AND draining), 0),"
	" coalesce((SELECT slots FROM workers ORDER BY seen_at DESC LIMIT 1), 0) FROM"
	" (SELECT *, seen_at > now() - $1::bigint * interval '1 millisecond' AS alive FROM workers) AS known"};

// clang-format on

// ---- answers

static void note_trouble(struct sampler *sampler, const char *why) {
	if (sampler->trouble && strcmp(sampler->trouble, why) == 0) return;
	log_warn(log_m("the ledger gives no figures"), log_s("error", why));
	free(sampler->trouble);
	sampler->trouble = mem_strdup(why);
}

static bool answered(struct sampler *sampler, enum db_status status, const struct error *error) {
	if (status == DB_OK) return true;
	if (!sampler->failed) note_trouble(sampler, error_text(error));
	sampler->failed = true;
	return false;
}

static void add_rank(struct sample *sample, int64_t place, int64_t age_ms) {
	if (sample->rank_count > 0 && sample->ranks[sample->rank_count - 1].place >= place) return;
	sample->ranks[sample->rank_count++] = (struct sample_rank){.place = place, .age_ms = age_ms};
}

// The tenths of what was read; percentile_disc's tenth i of n is the one at place ceil(n * i / 10).
static void read_ranks(struct sample *sample, const struct db_result *result, int64_t read) {
	add_rank(sample, 1, sample->oldest_ms);
	for (int i = 1; i <= 10; i++) add_rank(sample, (read * i + 9) / 10, db_get_int(result, 0, QUEUE_TENTHS + i - 1));
	if (sample->queued > read) add_rank(sample, sample->queued, db_get_int(result, 0, QUEUE_NEWEST));
}

static void queue_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct sampler *sampler = arg;
	if (!answered(sampler, status, error)) return;
	struct sample *sample = &sampler->next;
	int64_t read = db_get_int(result, 0, 0), estimate = db_get_int(result, 0, QUEUE_ESTIMATE);
	sample->queued = read == SAMPLE_MOST && estimate > read ? estimate : read;
	sample->queued_more = read == SAMPLE_MOST;
	sample->oldest_ms = db_get_int(result, 0, 4);
	for (int class = 0; class < SAMPLE_CLASSES; class ++) {
		sample->queued_by[class] = db_get_int(result, 0, 1 + class);
		sample->oldest_by_ms[class] = db_get_int(result, 0, 5 + class);
	}
	if (read > 0) read_ranks(sample, result, read);
}

static void running_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct sampler *sampler = arg;
	if (!answered(sampler, status, error)) return;
	sampler->next.running = db_get_int(result, 0, 0);
	sampler->next.running_age_ms = db_get_int(result, 0, 1);
	if (sampler->next.running == 0) return;
	for (size_t i = 0; i < SAMPLE_TENTHS && i < db_rows(result); i++)
		sampler->next.running_at_ms[i] = db_get_int(result, i, 2);
}

static void arrivals_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct sampler *sampler = arg;
	if (!answered(sampler, status, error)) return;
	int64_t count = db_get_int(result, 0, 0), span_ms = db_get_int(result, 0, 1);
	sampler->next.arrivals = count;
	metric_set(&died, db_get_int(result, 0, 3));
	sampler->next.arrivals_ms = count == SAMPLE_MOST && span_ms > 0 ? span_ms : SAMPLE_FLOW_MS;
	bool whole = sampler->next.arrivals_ms >= SAMPLE_LATELY_MS;
	sampler->next.lately = whole ? db_get_int(result, 0, 2) : count;
	sampler->next.lately_ms = whole ? SAMPLE_LATELY_MS : sampler->next.arrivals_ms;
}

static void runs_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct sampler *sampler = arg;
	if (!answered(sampler, status, error)) return;
	sampler->next.runs = db_get_int(result, 0, 0);
	sampler->next.run_mean_ms = db_get_int(result, 0, 1);
	sampler->next.ended = db_get_int(result, 0, 3);
	int64_t span_ms = db_get_int(result, 0, 4);
	bool whole = sampler->next.runs < SAMPLE_MOST || span_ms <= 0 || span_ms > SAMPLE_PACE_MS;
	sampler->next.ended_ms = whole ? SAMPLE_PACE_MS : span_ms;
	if (sampler->next.runs == 0) return;
	for (size_t i = 0; i < SAMPLE_QUANTILES && i < db_rows(result); i++)
		sampler->next.run_at_ms[i] = db_get_int(result, i, 2);
	sampler->next.run_p50_ms = sampler->next.run_at_ms[LEVEL_P50];
	sampler->next.run_p95_ms = sampler->next.run_at_ms[LEVEL_P95];
}

// The last of a round: the sample is whole, or there is none this time.
static void workers_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct sampler *sampler = arg;
	bool fine = answered(sampler, status, error) && !sampler->failed;
	if (sampler->started) loop_timer_set(sampler->timer, SAMPLE_EVERY_MS);
	if (!fine) {
		metric_add(&failures, 1);
		return;
	}
	struct sample *sample = &sampler->next;
	sample->idle = db_get_int(result, 0, 0);
	sample->busy = db_get_int(result, 0, 1);
	sample->slots = db_get_int(result, 0, 2);
	sample->draining = db_get_int(result, 0, 3);
	sample->draining_running = db_get_int(result, 0, 4);
	sample->last_slots = db_get_int(result, 0, 5);
	sample->kafka_waits = lag_read(sampler->lag);
	if (sampler->trouble) log_info(log_m("the ledger gives figures again"));
	free(STEAL(sampler->trouble));
	sampler->taken_ms = sampler->begun_ms;
	metric_observe_ms(&took, loop_now_ms() - sampler->begun_ms);
	show(sample);
	sampler->taken(sample, sampler->arg);
}

static void ask(
	struct sampler *sampler, const struct db_statement *statement, int64_t parameter, int64_t second, db_done *done) {
	struct db_params *params = NULL;
	if (parameter) params = db_params_new();
	if (parameter) db_int(params, parameter);
	if (second) db_int(params, second);
	db_run(sampler->session, statement, params, SAMPLE_EVERY_MS, STATEMENT_TIMEOUT_MS, done, sampler);
}

static void begin(void *arg) {
	struct sampler *sampler = arg;
	sampler->failed = false;
	sampler->begun_ms = loop_now_ms();
	sampler->next = (struct sample){.at_ms = sampler->begun_ms, .arrivals_ms = SAMPLE_FLOW_MS};
	ask(sampler, &query_queue, 0, 0, queue_done);
	ask(sampler, &query_running, 0, 0, running_done);
	ask(sampler, &query_arrivals, SAMPLE_FLOW_MS, SAMPLE_LATELY_MS, arrivals_done);
	ask(sampler, &query_runs, SAMPLE_FLOW_MS, SAMPLE_PACE_MS, runs_done);
	ask(sampler, &query_workers, sampler->lease_ms, 0, workers_done);
}

void sampler_start(struct sampler *sampler) {
	if (sampler->started) return;
	sampler->started = true;
	loop_timer_set(sampler->timer, 0);
}

void sampler_lag(struct sampler *sampler, struct lag *lag) {
	sampler->lag = lag;
}

int64_t sampler_age_ms(const struct sampler *sampler) {
	return sampler->taken_ms ? loop_now_ms() - sampler->taken_ms : -1;
}

const char *sampler_trouble(const struct sampler *sampler) {
	if (sampler->trouble) return sampler->trouble;
	if (!sampler->taken_ms) return "no figures yet";
	return sampler_age_ms(sampler) > SAMPLE_OLD_MS ? "the ledger is slow" : NULL;
}

void sampler_close(struct sampler *sampler) {
	if (!sampler) return;
	sampler->started = false;
	db_session_close(sampler->session);
	loop_timer_free(sampler->timer);
	free(sampler->trouble);
	free(sampler);
}

struct sampler *sampler_open(struct loop *loop, const struct db_config *db, int64_t lease_ms,
	void (*taken)(struct sample *sample, void *arg), void *arg) {
	register_metrics();
	struct sampler *sampler = mem_zalloc(sizeof *sampler);
	sampler->session = db_session_open(loop, db);
	sampler->timer = loop_timer_new(loop, begin, sampler);
	sampler->lease_ms = lease_ms;
	sampler->taken = taken;
	sampler->arg = arg;
	return sampler;
}
