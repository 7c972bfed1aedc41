// Keeps the decisions, with the sample and the sentence of each, and what became of them, in the ledger: the newest HISTORY_MOST.
// A decision is kept when it differs from the one before, and once a minute.
#pragma once

#include "lib/db.h"
#include "lib/json.h"
#include "observer/rule.h"

#define HISTORY_MOST 20000

struct history;

struct history *history_new(struct db_session *session) MUST_USE; // of the lead; it outlives the history
void history_decision(
	struct history *history, const struct rule_decision *decision, const json_t *figures, const char *actuator);
void history_action(struct history *history, const char *actuator, const char *state, int64_t wanted, int64_t actual,
	const char *detail); // detail: NULL is fine
void history_free(struct history *history);
