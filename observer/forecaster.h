// Keeps the forecast in the ledger (scale_forecast), by a constant few bounded queries every two seconds; keeps some predictions and
// scores them. Runs while this observer leads.
#pragma once

#include "lib/db.h"
#include "lib/json.h"
#include "lib/loop.h"
#include "observer/rule.h"

struct forecaster;

struct forecaster_config {
	int64_t lease_ms;
	int64_t user_running; // USER_RUNNING, as the workers have it; 0: no limit
	const char *weights;  // JSON of USER_WEIGHTS, as the workers have it; NULL: all 1
};

struct forecaster *forecaster_open(
	struct loop *loop, const struct db_config *db, const struct forecaster_config *config) MUST_USE;
void forecaster_lead(struct forecaster *forecaster, bool leads);
// With each decision: what is there, and what is coming.
void forecaster_see(
	struct forecaster *forecaster, const struct sample *sample, const struct rule_decision *decision, bool acts);
int64_t forecaster_held(const struct forecaster *forecaster);           // queued jobs that are over their user's limit
json_t *forecaster_plans(const struct forecaster *forecaster) MUST_USE; // runs_plans
json_t *forecaster_score(const struct forecaster *forecaster) MUST_USE; // of what was foretold in the last day
void forecaster_close(struct forecaster *forecaster);                   // NULL is fine
