#include "frontend/told.h"

#include "frontend/meters.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <string.h>

#define EVERY_MS   1000
#define MOST       2048
#define TIMEOUT_MS 5000

struct told {
	struct loop_timer *timer;
	struct db_session *session; // NULL: no ledger yet
	struct told_range *ranges;
	size_t count, room;
	size_t written; // of them, the first ones are on their way; 0: none
};

static const struct db_statement keep_statement = {
	"told_keep", "SELECT ranges_told_keep($1::uuid[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[])"};

static void forget(struct told *told, size_t count) {
	told->count -= count;
	memmove(told->ranges, told->ranges + count, told->count * sizeof *told->ranges);
	if (told->count > 0) return;
	free(STEAL(told->ranges));
	told->room = 0;
}

static void kept(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct told *told = arg;
	size_t written = told->written;
	bool refused = status == DB_FAILED || status == DB_BAD_DATA;
	(void)result;
	told->written = 0;
	if (refused) log_warn(log_m("what was foretold cannot be kept"), log_e(error));
	// Otherwise again, later: had it been kept after all, it only counts as told more often.
	if (status == DB_OK || refused) {
		metric_add(refused ? &meter_told_lost : &meter_told_kept, (int64_t)written);
		forget(told, written);
	}
	if (told->count > 0) loop_timer_set(told->timer, EVERY_MS);
}

static void add_ranges(struct db_params *params, const struct told_range *ranges, size_t count) {
	AUTO_FREE const char **keys = mem_zalloc_array(count, sizeof *keys);
	AUTO_FREE int64_t *figures = mem_zalloc_array(4 * count, sizeof *figures);
	int64_t *fences = figures, *ats = fences + count, *lows = ats + count, *highs = lows + count;
	for (size_t i = 0; i < count; i++) {
		keys[i] = ranges[i].key;
		fences[i] = ranges[i].attempt;
		ats[i] = ranges[i].at_ms;
		lows[i] = ranges[i].low_ms;
		highs[i] = ranges[i].high_ms;
	}
	db_text_array(params, keys, count);
	for (int of = 0; of < 4; of++) db_int_array(params, figures + (size_t)of * count, count);
}

static void write_down(void *arg) {
	struct told *told = arg;
	if (told->count == 0 || told->written > 0 || !told->session) return;
	struct db_params *params = db_params_new();
	told->written = told->count;
	add_ranges(params, told->ranges, told->count);
	db_run(told->session, &keep_statement, params, 0, TIMEOUT_MS, kept, told);
}

void told_note(struct told *told, const struct told_range *range) {
	if (told->count == MOST) {
		metric_add(&meter_told_lost, 1);
		return;
	}
	if (told->count == told->room) {
		told->room = told->room ? told->room * 2 : 16;
		told->ranges = mem_resize(told->ranges, told->room, sizeof *told->ranges);
	}
	if (told->count == 0) loop_timer_set(told->timer, EVERY_MS);
	told->ranges[told->count++] = *range;
}

bool told_idle(struct told *told) {
	if (told->session && db_session_ready(told->session)) write_down(told);
	return told->count == 0 || !told->session || !db_session_ready(told->session);
}

void told_ledger(struct told *told, struct db_session *session) {
	told->session = session;
}

void told_close(struct told *told) {
	if (!told) return;
	loop_timer_free(told->timer);
	free(told->ranges);
	free(told);
}

struct told *told_open(struct loop *loop) {
	struct told *told = mem_zalloc(sizeof *told);
	told->timer = loop_timer_new(loop, write_down, told);
	return told;
}
