// GET /escala on OBSERVER_LISTEN: {"deseados":n,"actuales":n,"motivo":"…", …figures}. No token: figures only, and KEDA's
// metrics-api scaler reads `deseados` from it.
#pragma once

#include "lib/http.h"
#include "lib/json.h"
#include "observer/forecaster.h"
#include "observer/rule.h"
#include "observer/sample.h"

struct serve;

struct serve_state {
	bool any; // a decision was made
	struct sample sample;
	struct rule_decision decision;
	const struct rule_limits *limits;
	const struct sampler *sampler;       // how fresh it is
	const struct forecaster *forecaster; // NULL: no forecast
	const char *actuator;
	bool leads; // it acts; false: it stands by, another one does
};

// state is read in the loop's thread with each request; it belongs to the caller.
int serve_open(struct loop *loop, const char *listen, const struct serve_state *state, struct serve **serve,
	struct error *error) MUST_USE;
void serve_close(struct serve *serve); // NULL is fine

// The figures that the decision was made by.
json_t *serve_figures(const struct serve_state *state) MUST_USE;
// The answer's body; stale_ms: the sample's age where it is stale, else 0.
char *serve_body(const struct serve_state *state, int64_t stale_ms) MUST_USE;
