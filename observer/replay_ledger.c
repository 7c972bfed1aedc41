#include "observer/replay_ledger.h"

#include "lib/mem.h"

#include <inttypes.h>

#define TEXT_(number) #number
#define TEXT(number)  TEXT_(number)

// When an attempt might be claimed: the last one when the job says; a first one of several when it was posted; else when the one
// before had ended.
// clang-format off
static const struct db_statement query_runs = {"replay_runs",
	"WITH ended AS ("
	" SELECT a.key, a.attempt, a.owner, a.started_at, a.finished_at,"
	" lag(a.finished_at) OVER (PARTITION BY a.key ORDER BY a.attempt) AS before"
	" FROM attempts a WHERE a.finished_at > now() - $1::bigint * interval '1 hour'"
	" ORDER BY a.finished_at DESC LIMIT " TEXT(REPLAY_LEDGER_MOST) " + 1"
	"), runs AS ("
	" SELECT e.owner, e.started_at, e.finished_at, least(e.started_at,"
	"  CASE WHEN t.attempt = e.attempt THEN t.eligible_at ELSE coalesce(e.before, t.posted_at) END) AS since"
	" FROM ended e JOIN trabajos t ON t.key = e.key"
	") SELECT (extract(epoch FROM since) * 1000)::bigint, (extract(epoch FROM started_at) * 1000)::bigint,"
	" (extract(epoch FROM finished_at) * 1000)::bigint, dense_rank() OVER (ORDER BY owner) - 1 FROM runs ORDER BY since"};

static const struct db_statement query_slots = {"replay_slots",
	"SELECT coalesce((SELECT slots FROM workers ORDER BY seen_at DESC LIMIT 1), 1) WHERE $1::bigint > 0"};

static const struct db_statement query_decisions = {"replay_decisions",
	"SELECT count(*), coalesce(min(wanted), 0), coalesce(max(wanted), 0), coalesce(min(actual), 0), coalesce(max(actual), 0)"
	" FROM scale_decisions WHERE at > now() - $1::bigint * interval '1 hour'"};

static const struct db_statement query_verdicts = {"replay_verdicts",
	"SELECT judged, right_, more, fewer, claimed, late, worker_ms, needed_ms"
	" FROM decisions_summary(now() - $1::bigint * interval '1 hour')"};

static const struct db_statement query_worst = {"replay_worst",
	"SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), wanted, actual, needed, late FROM scale_decisions"
	" WHERE at > now() - $1::bigint * interval '1 hour' AND judged_at IS NOT NULL AND (late > 0 OR needed > wanted)"
	" ORDER BY late DESC, needed - wanted DESC, id LIMIT " TEXT(REPLAY_WORST)};
// Both of the last day, whatever the hours.
static const struct db_statement query_foretold = {"replay_foretold",
	"SELECT p.scored, p.inside, p.bias_ms FROM predictions_summary() p WHERE $1::bigint > 0 UNION ALL"
	" SELECT r.scored, r.inside, r.bias_ms FROM ranges_told_summary() r WHERE r.which = 'first'"};
// clang-format on

static int ask(
	struct db *db, const struct db_statement *statement, int64_t hours, struct db_result **result, struct error *error) {
	struct db_params *params = db_params_new();
	db_int(params, hours);
	enum db_status status = db_execute(db, statement, params, result, error);
	db_params_free(params);
	return status == DB_OK ? 0 : error_wrap(error, "ledger");
}

static int smaller_first(const void *a, const void *b) {
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
	return (left > right) - (left < right);
}

static void sum_up(int64_t *waits, size_t count, int64_t deadline_ms, struct replay_ledger *ledger) {
	qsort(waits, count, sizeof *waits, smaller_first);
	for (size_t i = 0; i < count; i++) ledger->in_time += waits[i] <= deadline_ms;
	ledger->runs = count;
	ledger->p50_ms = waits[(count - 1) / 2];
	ledger->p95_ms = waits[(count * 95 + 99) / 100 - 1];
}

// The most runs that there were at one time; both are sorted here.
static int64_t most_at_once(int64_t *starts, int64_t *ends, size_t count) {
	int64_t running = 0, most = 0;
	qsort(starts, count, sizeof *starts, smaller_first);
	qsort(ends, count, sizeof *ends, smaller_first);
	for (size_t i = 0, ended = 0; i < count; i++) {
		for (; ends[ended] <= starts[i]; ended++) running--;
		if (++running > most) most = running;
	}
	return most;
}

static int read_runs(const struct db_result *result, int64_t hours, int64_t deadline_ms, struct replay_trace *trace,
	struct replay_ledger *ledger, struct error *error) {
	size_t count = db_rows(result);
	if (count == 0) return error_set(error, ERROR_INPUT, "ledger: no run ended in the last %" PRId64 " h", hours);
	if (count > REPLAY_LEDGER_MOST)
		return error_set(error, ERROR_INPUT,
			"ledger: more than %d runs ended in the last %" PRId64 " h, ask for fewer hours", REPLAY_LEDGER_MOST,
			hours);
	AUTO_FREE int64_t *waits = mem_zalloc_array(count, sizeof *waits), *starts = mem_zalloc_array(count, sizeof *starts),
			  *ends = mem_zalloc_array(count, sizeof *ends);
	int64_t first_ms = db_get_int(result, 0, 0);
	for (size_t row = 0; row < count; row++) {
		int64_t since_ms = db_get_int(result, row, 0), start_ms = db_get_int(result, row, 1),
			end_ms = db_get_int(result, row, 2);
		struct replay_job job = {.arrival_ms = since_ms - first_ms,
			.run_ms = end_ms > start_ms ? end_ms - start_ms : 1,
			.user = (int32_t)db_get_int(result, row, 3)};
		replay_trace_add(trace, &job);
		waits[row] = start_ms - since_ms;
		starts[row] = start_ms;
		ends[row] = start_ms + job.run_ms;
	}
	replay_trace_finish(trace);
	sum_up(waits, count, deadline_ms, ledger);
	ledger->at_once = most_at_once(starts, ends, count);
	return 0;
}

static void take_verdicts(const struct db_result *verdicts, const struct db_result *worst, struct replay_ledger *ledger) {
	int64_t *const figures[] = {&ledger->judged, &ledger->right, &ledger->more, &ledger->fewer, &ledger->claimed,
		&ledger->late, &ledger->worker_ms, &ledger->needed_ms};
	for (size_t i = 0; i < COUNT_OF(figures); i++) *figures[i] = db_get_int(verdicts, 0, (int)i);
	for (size_t row = 0; row < db_rows(worst); row++) {
		struct replay_worst *one = &ledger->worst[ledger->worst_count++];
		snprintf(one->at, sizeof one->at, "%s", db_get(worst, row, 0));
		one->wanted = db_get_int(worst, row, 1);
		one->actual = db_get_int(worst, row, 2);
		one->needed = db_get_int(worst, row, 3);
		one->late = db_get_int(worst, row, 4);
	}
}

static struct replay_foretold foretold(const struct db_result *result, size_t row) {
	return (struct replay_foretold){.scored = db_get_int(result, row, 0),
		.inside = db_get_int(result, row, 1),
		.bias_ms = db_get_int(result, row, 2)};
}

static int read_foretold(struct db *db, int64_t hours, struct replay_ledger *ledger, struct error *error) {
	struct db_result *result = NULL;
	if (ask(db, &query_foretold, hours, &result, error) != 0) return -1;
	ledger->sampled = foretold(result, 0);
	ledger->told = foretold(result, 1);
	db_result_free(result);
	return 0;
}

static int read_verdicts(struct db *db, int64_t hours, struct replay_ledger *ledger, struct error *error) {
	struct db_result *verdicts = NULL, *worst = NULL;
	int result = ask(db, &query_verdicts, hours, &verdicts, error);
	if (result == 0) result = ask(db, &query_worst, hours, &worst, error);
	if (result == 0) take_verdicts(verdicts, worst, ledger);
	db_result_free(verdicts);
	db_result_free(worst);
	return result;
}

static int read_all(struct db *db, int64_t hours, int64_t deadline_ms, struct replay_trace *trace, struct replay_ledger *ledger,
	struct error *error) {
	struct db_result *runs = NULL, *of_workers = NULL, *decisions = NULL;
	int result = ask(db, &query_runs, hours, &runs, error);
	if (result == 0) result = read_runs(runs, hours, deadline_ms, trace, ledger, error);
	if (result == 0) result = ask(db, &query_slots, hours, &of_workers, error);
	if (result == 0) result = ask(db, &query_decisions, hours, &decisions, error);
	if (result == 0) {
		ledger->slots = db_get_int(of_workers, 0, 0);
		ledger->workers = (ledger->at_once + ledger->slots - 1) / ledger->slots;
		ledger->decisions = db_get_int(decisions, 0, 0);
		ledger->least = db_get_int(decisions, 0, 1);
		ledger->most = db_get_int(decisions, 0, 2);
		ledger->there_least = db_get_int(decisions, 0, 3);
		ledger->there_most = db_get_int(decisions, 0, 4);
	}
	db_result_free(runs);
	db_result_free(of_workers);
	db_result_free(decisions);
	if (result == 0) result = read_foretold(db, hours, ledger, error);
	return result == 0 ? read_verdicts(db, hours, ledger, error) : result;
}

int replay_ledger_read(const struct db_config *config, int64_t hours, int64_t deadline_ms, struct replay_trace *trace,
	struct replay_ledger *ledger, struct error *error) {
	struct db *db;
	*ledger = (struct replay_ledger){0};
	if (db_open(config, error, &db) != 0) return -1;
	int result = read_all(db, hours, deadline_ms, trace, ledger, error);
	db_close(db);
	return result;
}
