#include "observer/lead.h"

#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#define TRY_MS     1000
#define TIMEOUT_MS 10000

struct lead {
	struct db_session *session;
	struct loop_timer *timer;
	bool held, closing;
	void (*changed)(bool leads, void *arg);
	void *arg;
};

static struct metric leads = {
	.name = "trabajos_observer_leads", .help = "Whether this observer acts; the others stand by", .type = METRIC_GAUGE};

static const struct db_statement try_statement = {
	"observer_lead", "SELECT pg_try_advisory_lock(hashtextextended('trabajos observer', 20))::int"};

static void set(struct lead *lead, bool held) {
	if (lead->held == held || lead->closing) return;
	lead->held = held;
	metric_set(&leads, held);
	log_info(log_m(held ? "this observer leads" : "the lead is lost"));
	lead->changed(held, lead->arg);
}

static void tried(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct lead *lead = arg;
	if (lead->closing) return;
	if (status == DB_FAILED) log_warn(log_m("cannot ask for the lead"), log_e(error));
	if (status == DB_OK && db_get_int(result, 0, 0)) {
		set(lead, true);
	} else {
		loop_timer_set(lead->timer, lifecycle_jitter_ms(TRY_MS));
	}
}

static void try(void *arg) {
	struct lead *lead = arg;
	if (lead->held || !db_session_ready(lead->session)) return;
	db_run(lead->session, &try_statement, NULL, 0, TIMEOUT_MS, tried, lead);
}

static void watched(int connected, const char *why, void *arg) {
	struct lead *lead = arg;
	(void)why;
	if (connected) {
		loop_timer_set(lead->timer, 0);
	} else {
		set(lead, false);
	}
}

bool lead_held(const struct lead *lead) {
	return lead->held;
}

struct db_session *lead_session(const struct lead *lead) {
	return lead->session;
}

void lead_close(struct lead *lead) {
	if (!lead) return;
	lead->closing = true;
	db_session_close(lead->session);
	loop_timer_free(lead->timer);
	free(lead);
}

struct lead *lead_open(struct loop *loop, const struct db_config *db, void (*changed)(bool leads, void *arg), void *arg) {
	metrics_register(&leads);
	struct lead *lead = mem_zalloc(sizeof *lead);
	lead->changed = changed;
	lead->arg = arg;
	lead->timer = loop_timer_new(loop, try, lead);
	lead->session = db_session_open(loop, db);
	db_session_watch(lead->session, watched, lead);
	return lead;
}
