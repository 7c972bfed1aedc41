#include "observer/fleet.h"

#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <string.h>

#define ROUND_MS    1000
#define BACKOFF_MS  60000
#define TIMEOUT_MS  10000
#define RETIRE_MOST 32 // in one round
#define START_LEAST 4  // in one round, or as many as there are: a mistake does not start thousands at once

struct fleet {
	const struct fleet_driver *driver;
	struct fleet_config config;
	void *self;
	int64_t wanted, starting;

	// the round under way
	bool under_way;
	int64_t next_ms;
	unsigned failures;
	struct fleet_unit *units;
	struct fleet_worker *workers;
	size_t unit_count, worker_count;
	struct fleet_plan plan;
	size_t next;   // of plan.keep, then of plan.retire
	size_t marked; // of plan.retire
	const struct fleet_unit **ending;
	size_t ending_count;
};

static const struct db_statement workers_statement = {"fleet_workers",
	"SELECT w.worker, w.host, w.pid, coalesce(r.jobs, 0), w.draining::int, (w.retire_asked_at IS NOT NULL)::int,"
	" (extract(epoch FROM now() - w.started_at) * 1000)::bigint"
	" FROM workers w LEFT JOIN (SELECT a.worker, count(*) AS jobs FROM attempts a WHERE a.finished_at IS NULL GROUP BY a.worker) r"
	" ON r.worker = w.worker WHERE w.seen_at > now() - $1::bigint * interval '1 millisecond'"};
static const struct db_statement keep_statement = {"fleet_keep", "SELECT workers_keep($1)"};
static const struct db_statement retire_statement = {
	"fleet_retire", "SELECT running, marked::int FROM workers_retire($1, $2::int <> 0)"};

static void end_round(struct fleet *fleet, int64_t pause_ms) {
	fleet_plan_clear(&fleet->plan);
	free(STEAL(fleet->units));
	free(STEAL(fleet->workers));
	free(STEAL(fleet->ending));
	fleet->under_way = false;
	fleet->next_ms = loop_now_ms() + pause_ms;
}

void fleet_failed(struct fleet *fleet, const struct error *error) {
	if (!fleet->under_way) return;
	fleet->config.failed(error, fleet->config.arg);
	end_round(fleet, ROUND_MS + lifecycle_backoff_ms(fleet->failures++, ROUND_MS, BACKOFF_MS));
}

void fleet_changed(struct fleet *fleet) {
	if (!fleet->under_way) return;
	fleet->failures = 0;
	end_round(fleet, ROUND_MS);
}

// Whether the ledger answered; if it did not, the round is over: what was marked is found by the next one.
static bool answered(struct fleet *fleet, enum db_status status, const struct error *error) {
	if (!fleet->under_way) return false;
	if (status == DB_OK) return true;
	fleet_failed(fleet, error);
	return false;
}

static void change(struct fleet *fleet) {
	int64_t most = fleet->plan.present > START_LEAST ? fleet->plan.present : START_LEAST;
	int64_t start = fleet->plan.start < most ? fleet->plan.start : most;
	if (start > 0 || fleet->ending_count > 0 || fleet->plan.keep_count > 0) {
		log_info(log_m("changing the number of workers"), log_s("actuator", fleet->driver->name),
			log_i("wanted", fleet->wanted), log_i("present", fleet->plan.present), log_i("starting", start),
			log_i("ending", (int64_t)fleet->ending_count));
		fleet->driver->change(fleet->self, start, fleet->ending, fleet->ending_count, &fleet->plan);
	} else {
		fleet_changed(fleet);
	}
}

static void step(struct fleet *fleet);

static void retired(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct fleet *fleet = arg;
	if (!answered(fleet, status, error)) return;
	const struct fleet_pair *pair = &fleet->plan.retire[fleet->next++ - fleet->plan.keep_count];
	if (db_get_int(result, 0, 1)) {
		fleet->marked++;
		if (db_get_int(result, 0, 0) == 0) fleet->ending[fleet->ending_count++] = pair->unit;
	}
	step(fleet);
}

static void kept(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct fleet *fleet = arg;
	(void)result;
	if (!answered(fleet, status, error)) return;
	fleet->next++;
	step(fleet);
}

// The next statement of the round: those to be kept, then those to be retired; then the driver.
static void step(struct fleet *fleet) {
	const struct fleet_plan *plan = &fleet->plan;
	struct db_params *params = db_params_new();
	size_t place = fleet->next - plan->keep_count;
	if (fleet->next < plan->keep_count) {
		db_text(params, plan->keep[fleet->next].worker->id);
		db_run(fleet->config.session, &keep_statement, params, 0, TIMEOUT_MS, kept, fleet);
	} else if (place < plan->retire_count && fleet->marked < plan->retire_most && fleet->marked < RETIRE_MOST) {
		// What is marked already is only asked whether it is done: never passed over.
		const struct fleet_worker *worker = plan->retire[place].worker;
		db_text(params, worker->id);
		db_int(params, plan->only_idle && !worker->retiring);
		db_run(fleet->config.session, &retire_statement, params, 0, TIMEOUT_MS, retired, fleet);
	} else {
		db_params_free(params);
		change(fleet);
	}
}

static void read_workers(struct fleet *fleet, const struct db_result *result) {
	fleet->worker_count = db_rows(result);
	fleet->workers = mem_zalloc_array(fleet->worker_count + 1, sizeof *fleet->workers);
	for (size_t row = 0; row < fleet->worker_count; row++) {
		struct fleet_worker *worker = &fleet->workers[row];
		snprintf(worker->id, sizeof worker->id, "%s", db_get(result, row, 0));
		snprintf(worker->host, sizeof worker->host, "%s", db_get(result, row, 1));
		worker->pid = db_get_int(result, row, 2);
		worker->running = db_get_int(result, row, 3);
		worker->draining = db_get_int(result, row, 4) != 0;
		worker->retiring = db_get_int(result, row, 5) != 0;
		worker->age_ms = db_get_int(result, row, 6);
	}
}

static void workers_read(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct fleet *fleet = arg;
	if (!answered(fleet, status, error)) return;
	read_workers(fleet, result);
	const struct fleet_view view = {.units = fleet->units,
		.unit_count = fleet->unit_count,
		.workers = fleet->workers,
		.worker_count = fleet->worker_count,
		.wanted = fleet->wanted};
	fleet_plan_make(&view, &fleet->plan);
	fleet->starting = fleet->plan.starting;
	fleet->ending = mem_zalloc_array(fleet->plan.retire_count + 1, sizeof(struct fleet_unit *));
	fleet->next = fleet->marked = fleet->ending_count = 0;
	step(fleet);
}

void fleet_seen(struct fleet *fleet, const struct fleet_unit *units, size_t count) {
	if (!fleet->under_way) return;
	fleet->units = mem_zalloc_array(count + 1, sizeof *units);
	fleet->unit_count = count;
	if (count) memcpy(fleet->units, units, count * sizeof *units);
	struct db_params *params = db_params_new();
	db_int(params, fleet->config.lease_ms);
	db_run(fleet->config.session, &workers_statement, params, 0, TIMEOUT_MS, workers_read, fleet);
}

int64_t fleet_starting(const struct fleet *fleet) {
	return fleet->starting;
}

void fleet_want(struct fleet *fleet, int64_t wanted) {
	fleet->wanted = wanted;
	if (fleet->under_way || loop_now_ms() < fleet->next_ms) return;
	fleet->under_way = true;
	fleet->driver->look(fleet->self);
}

void fleet_close(struct fleet *fleet) {
	if (!fleet) return;
	if (fleet->under_way) end_round(fleet, 0);
	if (fleet->self) fleet->driver->close(fleet->self);
	free(fleet);
}

int fleet_open(
	const struct fleet_driver *driver, const struct fleet_config *config, struct fleet **fleet, struct error *error) {
	struct fleet *made = mem_zalloc(sizeof *made);
	made->driver = driver;
	made->config = *config;
	if (driver->open(config->options, config->loop, made, &made->self, error) != 0) {
		made->self = NULL;
		fleet_close(made);
		return -1;
	}
	*fleet = made;
	return 0;
}
