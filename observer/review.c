#include "observer/review.h"

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/task.h"
#include "observer/hindsight.h"

#define EVERY_MS   10000
#define RIPE_MS    5000 // behind the deadline: what ended by then has been written
#define BUDGET_MS  1000 // for playing, in a round
#define MOST       256  // decisions of a round
#define MOST_RUNS  5000 // of each kind: ended, running, waiting
#define OPEN_AGAIN 6    // rounds, after a failure: once a minute
#define FORGETFUL  2    // a run that has not ended is taken to last so many times what it has

struct review {
	struct review_config config;
	struct task *task;
	_Atomic bool leads;
};

static const struct db_statement decisions_statement = {"review_decisions",
	"SELECT id, at_ms, until_ms, wanted, actual, busy, draining, slots, start_ms, run_ms, deadline_ms, min, max"
	" FROM decisions_to_judge($1::bigint, $2::int)"};
enum { ID, AT, UNTIL, WANTED, ACTUAL, BUSY, DRAINING, SLOTS, START, RUN, DEADLINE, LEAST, MOST_WORKERS };

static const struct db_statement runs_statement = {"review_runs",
	"SELECT eligible_ms, started_ms, ended_ms, owner_number, (extract(epoch FROM now()) * 1000)::bigint"
	" FROM decisions_runs($1::bigint, $2::bigint, $3::int)"};

static const struct db_statement judged_statement = {"review_judged",
	"UPDATE scale_decisions d SET judged_at = now(), until = to_timestamp(j.until_ms / 1000.0), claimed = j.claimed, late = j.late,"
	" worker_ms = j.worker_ms, needed = j.needed, partly = j.partly <> 0"
	" FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::int[])"
	" AS j (id, until_ms, claimed, late, worker_ms, needed, partly) WHERE d.id = j.id"};

// What is written back of each, column by column.
struct verdicts {
	size_t count;
	int64_t id[MOST], until_ms[MOST], claimed[MOST], late[MOST], worker_ms[MOST], needed[MOST], partly[MOST];
};

struct runs_read {
	struct hindsight_run *runs;
	size_t count;
	int64_t known_ms; // of what ended later not all was read
};

static int64_t most(int64_t a, int64_t b) {
	return a > b ? a : b;
}

static int execute(struct db *db, const struct db_statement *statement, struct db_params *params, struct db_result **result,
	struct error *error) {
	enum db_status status = db_execute(db, statement, params, result, error);
	db_params_free(params);
	return status == DB_OK ? 0 : -1;
}

static int64_t moment(const struct db_result *result, size_t row, int column) {
	return db_get(result, row, column) ? db_get_int(result, row, column) : HINDSIGHT_NEVER;
}

static int read_runs(struct db *db, const struct db_result *decisions, struct runs_read *read, struct error *error) {
	size_t last = db_rows(decisions) - 1;
	struct db_result *result = NULL;
	struct db_params *params = db_params_new();
	db_int(params, db_get_int(decisions, 0, AT));
	db_int(params, db_get_int(decisions, last, UNTIL) + db_get_int(decisions, last, DEADLINE));
	db_int(params, MOST_RUNS);
	if (execute(db, &runs_statement, params, &result, error) != 0) return -1;
	read->count = db_rows(result);
	read->runs = mem_zalloc_array(read->count + 1, sizeof *read->runs);
	size_t ended = 0;
	int64_t last_ms = 0;
	for (size_t row = 0; row < read->count; row++) {
		struct hindsight_run *run = &read->runs[row];
		*run = (struct hindsight_run){.eligible_ms = db_get_int(result, row, 0),
			.started_ms = moment(result, row, 1),
			.ended_ms = moment(result, row, 2),
			.user = (int32_t)db_get_int(result, row, 3)};
		if (run->ended_ms != HINDSIGHT_NEVER) {
			ended++;
			last_ms = most(last_ms, run->ended_ms);
		} else if (run->started_ms != HINDSIGHT_NEVER) {
			run->ended_ms = run->started_ms + FORGETFUL * (db_get_int(result, row, 4) - run->started_ms);
		}
	}
	read->known_ms = ended < MOST_RUNS ? HINDSIGHT_NEVER : last_ms;
	db_result_free(result);
	return 0;
}

// All that its judgement needs has been read.
static bool knows(const struct runs_read *read, const struct db_result *decisions, size_t row) {
	return db_get_int(decisions, row, UNTIL) + db_get_int(decisions, row, DEADLINE) <= read->known_ms;
}

static void judge(const struct review_config *config, const struct db_result *decisions, size_t row,
	const struct runs_read *read, struct verdicts *verdicts) {
	int64_t wanted = db_get_int(decisions, row, WANTED), actual = db_get_int(decisions, row, ACTUAL);
	int64_t slots = db_get_int(decisions, row, SLOTS), start_ms = db_get_int(decisions, row, START);
	const struct hindsight_case of = {.at_ms = db_get_int(decisions, row, AT),
		.until_ms = db_get_int(decisions, row, UNTIL),
		.actual = actual,
		.draining = db_get_int(decisions, row, DRAINING),
		.slots = slots > 0 && actual > 0 ? most(1, slots / actual) : 1,
		.fewest = most(db_get_int(decisions, row, BUSY), db_get_int(decisions, row, LEAST)),
		.most = most(db_get_int(decisions, row, MOST_WORKERS), most(wanted, actual)),
		.deadline_ms = db_get_int(decisions, row, DEADLINE),
		.start_ms = start_ms > 0 ? start_ms : config->start_ms,
		.run_ms = most(1, db_get_int(decisions, row, RUN)),
		.user_running = config->user_running};
	struct hindsight hindsight;
	hindsight_judge(read->runs, read->count, &of, &hindsight);
	size_t place = verdicts->count++;
	verdicts->id[place] = db_get_int(decisions, row, ID);
	verdicts->until_ms[place] = of.until_ms;
	verdicts->claimed[place] = hindsight.claimed;
	verdicts->late[place] = hindsight.late;
	verdicts->worker_ms[place] = hindsight.worker_ms;
	verdicts->needed[place] = hindsight.needed;
	verdicts->partly[place] = hindsight.partly || !knows(read, decisions, row);
}

static int write_back(struct db *db, const struct verdicts *verdicts, struct error *error) {
	const int64_t *const columns[] = {verdicts->id, verdicts->until_ms, verdicts->claimed, verdicts->late,
		verdicts->worker_ms, verdicts->needed, verdicts->partly};
	struct db_params *params = db_params_new();
	for (size_t i = 0; i < COUNT_OF(columns); i++) db_int_array(params, columns[i], verdicts->count);
	return execute(db, &judged_statement, params, NULL, error);
}

static int64_t judge_all(
	struct db *db, const struct review_config *config, const struct db_result *decisions, struct error *error) {
	struct runs_read read = {0};
	if (read_runs(db, decisions, &read, error) != 0) return -1;
	AUTO_FREE struct verdicts *verdicts = mem_zalloc(sizeof *verdicts);
	int64_t begun_ms = loop_now_ms();
	for (size_t row = 0; row < db_rows(decisions); row++) {
		// The first one in any case, so that each round comes further; of the others none that nothing is known about.
		if (row > 0 && (loop_now_ms() - begun_ms >= BUDGET_MS || db_get_int(decisions, row, UNTIL) > read.known_ms))
			break;
		judge(config, decisions, row, &read, verdicts);
	}
	free(read.runs);
	return write_back(db, verdicts, error) == 0 ? (int64_t)verdicts->count : -1;
}

int64_t review_round(struct db *db, const struct review_config *config, struct error *error) {
	struct db_result *decisions = NULL;
	struct db_params *params = db_params_new();
	db_int(params, RIPE_MS);
	db_int(params, MOST);
	if (execute(db, &decisions_statement, params, &decisions, error) != 0) return -1;
	int64_t judged = db_rows(decisions) > 0 ? judge_all(db, config, decisions, error) : 0;
	db_result_free(decisions);
	return judged;
}

// ---- the thread

static void run(struct task *task, void *arg) {
	struct review *review = arg;
	struct db *db = NULL;
	bool failing = false;
	for (int64_t pause_ms = EVERY_MS; task_pause(task, pause_ms);) {
		AUTO_ERROR struct error error = {0};
		pause_ms = EVERY_MS;
		if (!review->leads) continue;
		bool fine =
			(db || db_open(review->config.db, &error, &db) == 0) && review_round(db, &review->config, &error) >= 0;
		if (!fine && !failing) log_warn(log_m("past decisions cannot be scored for now"), log_e(&error));
		failing = !fine;
		if (fine) continue;
		db_close(STEAL(db));
		pause_ms = EVERY_MS * OPEN_AGAIN;
	}
	db_close(db);
}

void review_lead(struct review *review, bool leads) {
	if (review) review->leads = leads;
}

void review_ask(struct review *review) {
	if (review) task_ask(review->task);
}

int review_close(struct review *review, int64_t ms) {
	if (!review) return 0;
	if (task_end(review->task, ms) != 0) return -1;
	free(review);
	return 0;
}

struct review *review_start(const struct review_config *config) {
	struct review *review = mem_zalloc(sizeof *review);
	review->config = *config;
	review->task = task_start("review", run, review);
	return review;
}
