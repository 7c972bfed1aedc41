#include "observer/history.h"

#include "lib/log.h"
#include "lib/loop.h"
#include "lib/mem.h"

#define AGAIN_MS      60000
#define WAIT_MS       5000
#define TIMEOUT_MS    10000
#define TRIM_EVERY    64 // rows kept
#define TEXT_(number) #number
#define TEXT(number)  TEXT_(number)

struct history {
	struct db_session *session;
	int64_t wanted, actual, kept_ms; // of the last decision kept
	enum rule_bound bound;
	unsigned since_trim;
};

static const struct db_statement decision_statement = {"history_decision",
	"INSERT INTO scale_decisions (wanted, actual, bound, reason, actuator, sample)"
	" VALUES ($1::int, $2::int, $3, $4, $5, $6::jsonb)"};
static const struct db_statement action_statement = {"history_action",
	"INSERT INTO scale_actions (actuator, state, wanted, actual, detail) VALUES ($1, $2, $3::int, $4::int, $5)"};
static const struct db_statement trim_statement = {"history_trim", "SELECT scale_trim(" TEXT(HISTORY_MOST) ")"};

static void kept(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	(void)result;
	(void)arg;
	if (status == DB_FAILED || status == DB_BAD_DATA) log_warn(log_m("a decision cannot be kept"), log_e(error));
}

static void keep(struct history *history, const struct db_statement *statement, struct db_params *params) {
	db_run(history->session, statement, params, WAIT_MS, TIMEOUT_MS, kept, NULL);
	if (++history->since_trim < TRIM_EVERY) return;
	history->since_trim = 0;
	db_run(history->session, &trim_statement, NULL, WAIT_MS, TIMEOUT_MS, kept, NULL);
}

void history_decision(
	struct history *history, const struct rule_decision *decision, const json_t *figures, const char *actuator) {
	int64_t now_ms = loop_now_ms();
	if (decision->wanted == history->wanted && decision->actual == history->actual && decision->bound == history->bound &&
		now_ms - history->kept_ms < AGAIN_MS)
		return;
	history->wanted = decision->wanted;
	history->actual = decision->actual;
	history->bound = decision->bound;
	history->kept_ms = now_ms;
	AUTO_FREE char *sample = json_write(figures);
	struct db_params *params = db_params_new();
	db_int(params, decision->wanted);
	db_int(params, decision->actual);
	db_text(params, rule_bound_name(decision->bound));
	db_text(params, decision->reason);
	db_text(params, actuator);
	db_text(params, sample);
	keep(history, &decision_statement, params);
}

void history_action(
	struct history *history, const char *actuator, const char *state, int64_t wanted, int64_t actual, const char *detail) {
	struct db_params *params = db_params_new();
	db_text(params, actuator);
	db_text(params, state);
	db_int(params, wanted);
	db_int(params, actual);
	db_text(params, detail);
	keep(history, &action_statement, params);
}

void history_free(struct history *history) {
	free(history);
}

struct history *history_new(struct db_session *session) {
	struct history *history = mem_zalloc(sizeof *history);
	history->session = session;
	history->wanted = -1;
	history->since_trim = TRIM_EVERY - 1; // what an observer before us left
	return history;
}
