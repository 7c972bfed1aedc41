#include "lib/housekeeping_schedule.h"

#include "lib/failpoint.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <stdbool.h>
#include <string.h>

#define LOOK_EVERY_MS 5000 // a new schedule is not known before; moments are whole minutes
#define AWAY_MS       1000
#define RETRY_MS      100
#define BATCH         50
#define TIMEOUT_MS    20000

struct housekeeping_schedule {
	struct db_session *session;
	struct loop_timer *timer;
	bool under_way, stopped;
};

static struct metric fired_count = {
	.name = "trabajos_schedules_fired_total", .help = "jobs that schedules put into the ledger", .type = METRIC_COUNTER};
static struct metric skipped_count = {.name = "trabajos_schedules_skipped_total",
	.help = "times that a schedule skipped moments which nobody was there to fire",
	.type = METRIC_COUNTER};
static struct metric broken_count = {
	.name = "trabajos_schedules_broken_total", .help = "schedules that cannot go on", .type = METRIC_COUNTER};

// $1 how many, $2 grace in seconds → (milliseconds to the next moment, then what schedules_fire gives), at least one row.
// The first sees the table as it was before: those that are due now do not count.
static const struct db_statement fire = {"housekeeping_schedule",
	"SELECT n.ms, f.answer, f.schedule, f.moment, f.job FROM ("
	" SELECT ceil(extract(epoch FROM min(next_at) - clock_timestamp()) * 1000)::bigint AS ms FROM schedules WHERE next_at > now()"
	") n LEFT JOIN schedules_fire($1::integer, $2::integer) f ON true"};

static void arm(struct housekeeping_schedule *chore, int64_t next_ms) {
	int64_t most_ms = lifecycle_jitter_ms(LOOK_EVERY_MS);
	loop_timer_set(chore->timer, next_ms < most_ms ? next_ms : most_ms);
}

static void tell(const struct db_result *result, size_t row, const char *answer) {
	const char *schedule = db_get(result, row, 2), *moment = db_get(result, row, 3);
	if (!strcmp(answer, "skipped")) {
		metric_add(&skipped_count, 1);
		log_warn(log_m("a schedule's moment was missed and is skipped"), log_s("schedule", schedule),
			log_s("moment", moment));
	} else if (!strcmp(answer, "broken")) {
		metric_add(&broken_count, 1);
		log_warn(log_m("a schedule cannot go on; its problem says why"), log_s("schedule", schedule));
	} else {
		metric_add(&fired_count, 1);
		log_debug(log_m("a schedule's moment has come"), log_s("schedule", schedule), log_s("moment", moment),
			log_s("key", db_get(result, row, 4)));
	}
}

// Returns how many were due.
static size_t tell_all(const struct db_result *result) {
	if (!db_get(result, 0, 1)) return 0; // the row of the outer join
	for (size_t row = 0; row < db_rows(result); row++) tell(result, row, db_get(result, row, 1));
	return db_rows(result);
}

static void fire_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct housekeeping_schedule *chore = arg;
	chore->under_way = false;
	if (chore->stopped) {
		free(chore);
		return;
	}
	if (status != DB_OK) {
		if (status != DB_UNAVAILABLE && status != DB_RETRY) log_warn(log_m("cannot fire schedules"), log_e(error));
		arm(chore, status == DB_RETRY ? RETRY_MS : LOOK_EVERY_MS);
		return;
	}
	failpoint("housekeeping.scheduled");
	const char *next = db_get(result, 0, 0);
	int64_t next_ms = next ? db_get_int(result, 0, 0) : LOOK_EVERY_MS;
	// Where one was due, the next may be too: a full batch, or what comes behind skipped moments.
	arm(chore, tell_all(result) || next_ms < 0 ? 0 : next_ms);
}

static void due(void *arg) {
	struct housekeeping_schedule *chore = arg;
	if (!db_session_ready(chore->session)) {
		arm(chore, AWAY_MS);
		return;
	}
	struct db_params *params = db_params_new();
	db_int(params, BATCH);
	db_int(params, SCHEDULE_GRACE_S);
	chore->under_way = true;
	db_run(chore->session, &fire, params, 0, TIMEOUT_MS, fire_done, chore);
}

void housekeeping_schedule_stop(struct housekeeping_schedule *chore) {
	if (!chore) return;
	loop_timer_free(chore->timer);
	chore->timer = NULL;
	chore->stopped = true;
	if (!chore->under_way) free(chore);
}

struct housekeeping_schedule *housekeeping_schedule_start(struct loop *loop, struct db_session *session) {
	metrics_register(&fired_count);
	metrics_register(&skipped_count);
	metrics_register(&broken_count);
	struct housekeeping_schedule *chore = mem_zalloc(sizeof(*chore));
	chore->session = session;
	chore->timer = loop_timer_new(loop, due, chore);
	loop_timer_set(chore->timer, 0);
	return chore;
}
