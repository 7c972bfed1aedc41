#include "observer/forecaster.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "observer/outlook.h"
#include "observer/runs.h"

#include <string.h>

#define EVERY_MS      2000
#define LEARN_ROUNDS  5 // every so many rounds what was foretold is compared with what came
#define TIMEOUT_MS    10000
#define FLOW_S        300
#define TEXT_(number) #number
#define TEXT(number)  TEXT_(number)
#define LANES         2000 // read; of more, the others are not known to the forecast
#define COUNTED       5000 // queued jobs counted, over all lanes
#define RUNNING       2000
#define RUNS          500
#define ARRIVALS      5000
#define FORETOLD      5     // newest jobs that a round keeps a prediction of
#define TOLD_MOST     20000 // waits whose told ranges are kept

// What is scored: the sample that nobody chose, and of what clients were told the first range of each wait and the newest.
enum { SAMPLED, TOLD_FIRST, TOLD_NEWEST, SCORES };

struct lane {
	char *owner;
	int64_t rank, jobs, running, arrivals;
	double weight;
	bool more; // than were counted
};

struct forecaster {
	struct forecaster_config config;
	struct db_session *session;
	struct loop_timer *timer;
	bool leads, under_way, closing;
	unsigned rounds;
	struct runs *runs;
	char runs_until[40]; // the server's moment up to which ended runs were read

	struct sample sample;
	int64_t coming_workers, start_ms;

	struct lane *lanes;
	size_t lane_count;
	struct outlook_running *running;
	size_t running_count;
	int64_t held;
	struct score {
		int64_t scored, inside, early, late, bias_ms;
	} scores[SCORES];
};

static struct metric coverage = {.name = "trabajos_forecast_coverage_ratio",
	.help = "Of the starts foretold in the last day, the share inside of the range that was told; 0.8 is meant",
	.type = METRIC_GAUGE,
	.scale = 1000};
static struct metric scored = {
	.name = "trabajos_forecast_scored", .help = "Starts foretold in the last day and seen", .type = METRIC_GAUGE};
#define TOLD(of, which, divided, says)                                                                                         \
	{ .name = of, .labels = "range=\"" which "\"", .help = says, .type = METRIC_GAUGE, .scale = divided }
static struct metric told_scored[] = {
	TOLD("trabajos_told_scored", "first", 1, "Jobs of the last day that clients asked for, and that have started"),
	TOLD("trabajos_told_scored", "newest", 1, "Jobs of the last day that clients asked for, and that have started"),
};
static struct metric told_coverage[] = {
	TOLD("trabajos_told_coverage_ratio", "first", 1000, "Of these, the share inside of the range that clients were told"),
	TOLD("trabajos_told_coverage_ratio", "newest", 1000, "Of these, the share inside of the range that clients were told"),
};
static struct metric bias = {.name = "trabajos_forecast_bias_seconds",
	.help = "Median of observed start - foretold median, of the last day",
	.type = METRIC_GAUGE,
	.scale = 1000};

// ---- queries

// clang-format off
// $1 weights. Lanes and the owners that run something: (owner, rank, jobs, more, weight).
static const struct db_statement lanes_statement = {"forecast_lanes",
	"WITH l AS MATERIALIZED (SELECT rank, owner FROM lanes LIMIT " TEXT(LANES) "),"
	" share AS (SELECT greatest(5, " TEXT(COUNTED) " / greatest(1, count(*)))::bigint AS most FROM l)"
	" SELECT l.owner, l.rank, c.jobs, (c.jobs = s.most)::int, CASE WHEN $1::jsonb IS NULL THEN 1 ELSE"
	" coalesce(($1::jsonb ->> l.owner)::float8, (SELECT ($1::jsonb ->> t.usuario)::float8 FROM queue q JOIN trabajos t ON t.key = q.key"
	"  WHERE q.rank = l.rank AND q.owner = l.owner ORDER BY q.place, q.eligible_at, q.key LIMIT 1), 1) END"
	" FROM l CROSS JOIN share s CROSS JOIN LATERAL"
	" (SELECT count(*) AS jobs FROM (SELECT FROM queue q WHERE q.rank = l.rank AND q.owner = l.owner LIMIT s.most) n) c"
	" WHERE c.jobs > 0"};
// $1 lease in ms. Jobs that hold a slot of a worker that claims: (owner, ms since they were claimed).
static const struct db_statement running_statement = {"forecast_running",
	"SELECT a.owner, (extract(epoch FROM now() - a.started_at) * 1000)::bigint FROM attempts a JOIN workers w ON w.worker = a.worker"
	" WHERE a.finished_at IS NULL AND NOT w.draining AND w.seen_at > now() - $1::bigint * interval '1 millisecond'"
	" LIMIT " TEXT(RUNNING)};
static const struct db_statement arrivals_statement = {"forecast_arrivals",
	"SELECT n.owner, count(*), (greatest(extract(epoch FROM now() - min(n.first)), 1) * 1000)::bigint FROM"
	" (SELECT owner, min(posted_at) OVER () AS first FROM (SELECT owner, posted_at FROM trabajos"
	"  WHERE posted_at > now() - interval '" TEXT(FLOW_S) " s' ORDER BY posted_at DESC LIMIT " TEXT(ARRIVALS) ") latest) n"
	" GROUP BY n.owner"};
// $1 after which moment; the newest of them: (owner, plan, ms held, until when this was read). Of what commits later than it says it
// ended little is lost.
static const struct db_statement runs_statement = {"forecast_runs",
	"SELECT owner, detail -> 'plan' ->> 'kind', greatest(0, extract(epoch FROM finished_at - started_at) * 1000)::bigint, finished_at"
	" FROM attempts WHERE finished_at > coalesce($1::timestamptz, now() - interval '1 day')"
	" ORDER BY finished_at DESC LIMIT " TEXT(RUNS)};
static const struct db_statement write_statement = {"forecast_write",
	"INSERT INTO scale_forecast (one, at, slots, starting, run_ms, places, low_ms, median_ms, high_ms,"
	" ranks, owners, queued, running, arrivals_per_ks, weights)"
	" VALUES (true, now(), $1::bigint, $2::bigint, $3::bigint, $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],"
	" $8::smallint[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::float8[])"
	" ON CONFLICT (one) DO UPDATE SET at = excluded.at, slots = excluded.slots, starting = excluded.starting,"
	" run_ms = excluded.run_ms, places = excluded.places, low_ms = excluded.low_ms, median_ms = excluded.median_ms,"
	" high_ms = excluded.high_ms, ranks = excluded.ranks, owners = excluded.owners, queued = excluded.queued,"
	" running = excluded.running, arrivals_per_ks = excluded.arrivals_per_ks, weights = excluded.weights"};
static const struct db_statement keep_statement = {"forecast_keep", "SELECT predictions_keep(NULL, " TEXT(FORETOLD) ")"};
static const struct db_statement score_statement = {"forecast_score",
	"SELECT scored, inside, early, late, bias_ms FROM forecasts_score(500, " TEXT(TOLD_MOST) ")"};
static const struct db_statement learn_statement = {"forecast_learn", "SELECT predictions_learn()"};
// clang-format on

// ---- lanes

static struct lane *lane_of(struct forecaster *forecaster, const char *owner) {
	for (size_t i = 0; i < forecaster->lane_count; i++)
		if (strcmp(forecaster->lanes[i].owner, owner) == 0) return &forecaster->lanes[i];
	return NULL;
}

static struct lane *lane_add(struct forecaster *forecaster, const char *owner) {
	forecaster->lanes = mem_resize(forecaster->lanes, forecaster->lane_count + 1, sizeof *forecaster->lanes);
	struct lane *lane = &forecaster->lanes[forecaster->lane_count++];
	*lane = (struct lane){.owner = mem_strdup(owner), .weight = 1};
	return lane;
}

static void clear_round(struct forecaster *forecaster) {
	for (size_t i = 0; i < forecaster->lane_count; i++) free(forecaster->lanes[i].owner);
	free(STEAL(forecaster->lanes));
	free(STEAL(forecaster->running));
	forecaster->lane_count = forecaster->running_count = 0;
}

// What the count ended before: the rest of the queue's estimate, shared evenly.
static void estimate_rest(struct forecaster *forecaster) {
	int64_t counted = 0, open = 0;
	for (size_t i = 0; i < forecaster->lane_count; i++) {
		counted += forecaster->lanes[i].jobs;
		open += forecaster->lanes[i].more;
	}
	if (open == 0 || forecaster->sample.queued <= counted) return;
	for (size_t i = 0; i < forecaster->lane_count; i++)
		if (forecaster->lanes[i].more) forecaster->lanes[i].jobs += (forecaster->sample.queued - counted) / open;
}

static void count_held(struct forecaster *forecaster) {
	forecaster->held = 0;
	for (size_t i = 0; i < forecaster->lane_count && forecaster->config.user_running > 0; i++) {
		const struct lane *lane = &forecaster->lanes[i];
		int64_t may = forecaster->config.user_running - lane->running;
		if (lane->jobs > may) forecaster->held += lane->jobs - (may > 0 ? may : 0);
	}
}

// ---- a round: query after query, then the forecast

static void end_round(struct forecaster *forecaster) {
	clear_round(forecaster);
	forecaster->under_way = false;
	if (forecaster->leads) loop_timer_set(forecaster->timer, EVERY_MS);
}

static bool fine(struct forecaster *forecaster, enum db_status status, const struct error *error) {
	if (forecaster->closing) return false;
	if (status == DB_OK) return true;
	if (status != DB_UNAVAILABLE) log_warn(log_m("no forecast this time"), log_e(error));
	end_round(forecaster);
	return false;
}

static void ask(struct forecaster *forecaster, const struct db_statement *statement, struct db_params *params, db_done *done) {
	db_run(forecaster->session, statement, params, 0, TIMEOUT_MS, done, forecaster);
}

static void learned(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	(void)result;
	if (fine(arg, status, error)) end_round(arg);
}

static int64_t share(const struct score *score) {
	return score->scored ? score->inside * 1000 / score->scored : 0;
}

static void show_scores(const struct forecaster *forecaster) {
	const struct score *sampled = &forecaster->scores[SAMPLED];
	metric_set(&scored, sampled->scored);
	metric_set(&coverage, share(sampled));
	metric_set(&bias, sampled->bias_ms);
	for (int of = TOLD_FIRST; of < SCORES; of++) {
		metric_set(&told_scored[of - TOLD_FIRST], forecaster->scores[of].scored);
		metric_set(&told_coverage[of - TOLD_FIRST], share(&forecaster->scores[of]));
	}
}

static void compared(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct forecaster *forecaster = arg;
	if (!fine(forecaster, status, error)) return;
	for (size_t of = 0; of < SCORES && of < db_rows(result); of++)
		forecaster->scores[of] = (struct score){.scored = db_get_int(result, of, 0),
			.inside = db_get_int(result, of, 1),
			.early = db_get_int(result, of, 2),
			.late = db_get_int(result, of, 3),
			.bias_ms = db_get_int(result, of, 4)};
	show_scores(forecaster);
	ask(forecaster, &learn_statement, NULL, learned);
}

static void kept(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct forecaster *forecaster = arg;
	(void)result;
	if (!fine(forecaster, status, error)) return;
	if (forecaster->rounds++ % LEARN_ROUNDS == 0)
		ask(forecaster, &score_statement, NULL, compared);
	else
		end_round(forecaster);
}

static void written(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	(void)result;
	if (fine(arg, status, error)) ask(arg, &keep_statement, NULL, kept);
}

static void make(struct forecaster *forecaster, struct outlook *forecast) {
	const struct sample *sample = &forecaster->sample;
	int64_t workers = sample_claiming(sample);
	int64_t slots_each = workers > 0 ? sample->slots / workers : sample->last_slots > 0 ? sample->last_slots : 1;
	AUTO_FREE struct outlook_lane *lanes = mem_zalloc_array(forecaster->lane_count + 1, sizeof *lanes);
	for (size_t i = 0; i < forecaster->lane_count; i++) {
		const struct lane *lane = &forecaster->lanes[i];
		lanes[i] = (struct outlook_lane){.jobs = lane->jobs,
			.running = lane->running,
			.weight = lane->weight,
			.runs = runs_of_owner(forecaster->runs, lane->owner)};
	}
	const struct outlook_input input = {.slots = sample->slots,
		.running = forecaster->running,
		.running_count = forecaster->running_count,
		.starting_slots = forecaster->coming_workers * slots_each,
		.start_ms = forecaster->start_ms,
		.lanes = lanes,
		.lane_count = forecaster->lane_count,
		.runs = runs_all(forecaster->runs)};
	outlook_make(&input, forecast);
}

static void add_lanes(struct db_params *params, const struct forecaster *forecaster) {
	size_t count = forecaster->lane_count;
	AUTO_FREE const char **owners = mem_zalloc_array(count + 1, sizeof(char *));
	AUTO_FREE const char **weights = mem_zalloc_array(count + 1, sizeof(char *));
	AUTO_FREE int64_t *figures = mem_zalloc_array(4 * count + 1, sizeof *figures);
	int64_t *ranks = figures, *jobs = ranks + count, *running = jobs + count, *arrivals = running + count;
	for (size_t i = 0; i < count; i++) {
		const struct lane *lane = &forecaster->lanes[i];
		owners[i] = lane->owner;
		weights[i] = mem_format("%.6g", lane->weight);
		ranks[i] = lane->rank;
		jobs[i] = lane->jobs;
		running[i] = lane->running;
		arrivals[i] = lane->arrivals;
	}
	db_int_array(params, ranks, count);
	db_text_array(params, owners, count);
	db_int_array(params, jobs, count);
	db_int_array(params, running, count);
	db_int_array(params, arrivals, count);
	db_text_array(params, weights, count);
	for (size_t i = 0; i < count; i++) free((char *)(uintptr_t)weights[i]);
}

static void foretell(struct forecaster *forecaster) {
	struct outlook forecast;
	estimate_rest(forecaster);
	count_held(forecaster);
	make(forecaster, &forecast);
	const struct sketch *all = runs_all(forecaster->runs);
	struct db_params *params = db_params_new();
	db_int(params, forecaster->sample.slots);
	db_int(params, forecaster->coming_workers);
	db_int(params, all->total > 0 ? (int64_t)sketch_mean_ms(all) : OUTLOOK_UNKNOWN_MS);
	db_int_array(params, forecast.places, forecast.count);
	db_int_array(params, forecast.low_ms, forecast.count);
	db_int_array(params, forecast.median_ms, forecast.count);
	db_int_array(params, forecast.high_ms, forecast.count);
	add_lanes(params, forecaster);
	ask(forecaster, &write_statement, params, written);
}

// The newest come first; they are to weigh most, so they are added last.
static void runs_read(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct forecaster *forecaster = arg;
	if (!fine(forecaster, status, error)) return;
	for (size_t row = db_rows(result); row-- > 0;)
		runs_add(forecaster->runs, db_get(result, row, 0), db_get(result, row, 1), db_get_int(result, row, 2));
	if (db_rows(result) > 0) snprintf(forecaster->runs_until, sizeof forecaster->runs_until, "%s", db_get(result, 0, 3));
	foretell(forecaster);
}

static void arrivals_read(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct forecaster *forecaster = arg;
	if (!fine(forecaster, status, error)) return;
	for (size_t row = 0; row < db_rows(result) && forecaster->lane_count < LANES; row++) {
		struct lane *lane = lane_of(forecaster, db_get(result, row, 0));
		if (!lane) lane = lane_add(forecaster, db_get(result, row, 0));
		lane->arrivals = db_get_int(result, row, 1) * 1000000 / db_get_int(result, row, 2);
	}
	struct db_params *params = db_params_new();
	db_text(params, *forecaster->runs_until ? forecaster->runs_until : NULL);
	ask(forecaster, &runs_statement, params, runs_read);
}

static void running_read(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct forecaster *forecaster = arg;
	if (!fine(forecaster, status, error)) return;
	forecaster->running_count = db_rows(result);
	forecaster->running = mem_zalloc_array(forecaster->running_count + 1, sizeof *forecaster->running);
	for (size_t row = 0; row < forecaster->running_count; row++) {
		const char *owner = db_get(result, row, 0);
		struct lane *lane = lane_of(forecaster, owner);
		if (!lane) lane = lane_add(forecaster, owner);
		lane->running++;
		forecaster->running[row] = (struct outlook_running){
			.age_ms = db_get_int(result, row, 1), .runs = runs_of_owner(forecaster->runs, owner)};
	}
	ask(forecaster, &arrivals_statement, NULL, arrivals_read);
}

static void lanes_read(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct forecaster *forecaster = arg;
	if (!fine(forecaster, status, error)) return;
	for (size_t row = 0; row < db_rows(result); row++) {
		struct lane *lane = lane_add(forecaster, db_get(result, row, 0));
		lane->rank = db_get_int(result, row, 1);
		lane->jobs = db_get_int(result, row, 2);
		lane->more = db_get_int(result, row, 3) != 0;
		lane->weight = strtod(db_get(result, row, 4), NULL);
	}
	struct db_params *params = db_params_new();
	db_int(params, forecaster->config.lease_ms);
	ask(forecaster, &running_statement, params, running_read);
}

static void begin(void *arg) {
	struct forecaster *forecaster = arg;
	if (forecaster->under_way || !forecaster->leads) return;
	forecaster->under_way = true;
	struct db_params *params = db_params_new();
	db_text(params, forecaster->config.weights);
	ask(forecaster, &lanes_statement, params, lanes_read);
}

void forecaster_lead(struct forecaster *forecaster, bool leads) {
	forecaster->leads = leads;
	if (leads && !forecaster->under_way) loop_timer_set(forecaster->timer, EVERY_MS);
}

void forecaster_see(
	struct forecaster *forecaster, const struct sample *sample, const struct rule_decision *decision, bool acts) {
	forecaster->sample = *sample;
	int64_t more = decision->wanted - decision->actual;
	forecaster->coming_workers = acts && more > 0 ? more : 0;
	forecaster->start_ms = decision->start_ms > 0 ? decision->start_ms : RULE_UNKNOWN_START_MS;
}

int64_t forecaster_held(const struct forecaster *forecaster) {
	return forecaster->held;
}

json_t *forecaster_plans(const struct forecaster *forecaster) {
	return runs_plans(forecaster->runs);
}

static json_t *score_json(const struct score *score) {
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "scored", (json_int_t)score->scored, "inside", (json_int_t)score->inside,
		"early", (json_int_t)score->early, "late", (json_int_t)score->late, "bias_ms", (json_int_t)score->bias_ms);
}

json_t *forecaster_score(const struct forecaster *forecaster) {
	json_t *scores = score_json(&forecaster->scores[SAMPLED]);
	json_object_set_new(scores, "told",
		json_pack("{s:o, s:o}", "first", score_json(&forecaster->scores[TOLD_FIRST]), "newest",
			score_json(&forecaster->scores[TOLD_NEWEST])));
	return scores;
}

void forecaster_close(struct forecaster *forecaster) {
	if (!forecaster) return;
	forecaster->closing = true;
	db_session_close(forecaster->session);
	loop_timer_free(forecaster->timer);
	clear_round(forecaster);
	runs_free(forecaster->runs);
	free(forecaster);
}

struct forecaster *forecaster_open(struct loop *loop, const struct db_config *db, const struct forecaster_config *config) {
	metrics_register(&coverage);
	metrics_register(&scored);
	metrics_register(&bias);
	for (size_t i = 0; i < COUNT_OF(told_scored); i++) {
		metrics_register(&told_scored[i]);
		metrics_register(&told_coverage[i]);
	}
	struct forecaster *forecaster = mem_zalloc(sizeof *forecaster);
	forecaster->config = *config;
	forecaster->runs = runs_new();
	forecaster->timer = loop_timer_new(loop, begin, forecaster);
	forecaster->session = db_session_open(loop, db);
	return forecaster;
}
