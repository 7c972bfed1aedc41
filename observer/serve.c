#include "observer/serve.h"

#include "lib/json.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <inttypes.h>

struct serve {
	struct http_server *server;
	const struct serve_state *state;
};

static void set_int(json_t *object, const char *name, int64_t value) {
	json_object_set_new(object, name, json_integer(value));
}

static json_t *queue_json(const struct sample *sample) {
	static const char *const classes[SAMPLE_CLASSES] = {"low", "normal", "high"};
	json_t *queue = json_object(), *priorities = json_object();
	set_int(queue, "jobs", sample->queued);
	json_object_set_new(queue, "estimated", json_boolean(sample->queued_more));
	set_int(queue, "oldest_ms", sample->oldest_ms);
	for (int class = 0; class < SAMPLE_CLASSES; class ++) {
		json_t *one = json_object();
		set_int(one, "jobs", sample->queued_by[class]);
		set_int(one, "oldest_ms", sample->oldest_by_ms[class]);
		json_object_set_new(priorities, classes[class], one);
	}
	set_int(queue, "held", sample->held);
	json_object_set_new(queue, "priorities", priorities);
	json_object_set_new(
		queue, "in_kafka", sample->kafka_waits == LAG_UNKNOWN ? json_null() : json_boolean(sample->kafka_waits));
	return queue;
}

static json_t *runs_json(const struct sample *sample, const struct rule_decision *decision) {
	json_t *runs = json_object();
	set_int(runs, "running", sample->running);
	set_int(runs, "ended", sample->runs);
	set_int(runs, "mean_ms", sample->run_mean_ms);
	set_int(runs, "p50_ms", sample->run_p50_ms);
	set_int(runs, "p95_ms", sample->run_p95_ms);
	set_int(runs, "taken_as_ms", decision->run_ms);
	json_object_set_new(runs, "arrivals_per_s", json_real((double)sample->arrivals * 1000 / (double)sample->arrivals_ms));
	return runs;
}

static json_t *workers_json(const struct sample *sample) {
	json_t *workers = json_object();
	set_int(workers, "idle", sample->idle);
	set_int(workers, "busy", sample->busy);
	set_int(workers, "draining", sample->draining);
	set_int(workers, "slots", sample->slots);
	set_int(workers, "starting", sample->starting);
	set_int(workers, "start_ms", sample->start_ms);
	return workers;
}

static json_t *limits_json(const struct rule_limits *limits) {
	json_t *json = json_object();
	set_int(json, "deadline_s", limits->deadline_ms / 1000);
	set_int(json, "min", limits->min);
	set_int(json, "max", limits->max);
	return json;
}

static char *reason_text(const struct serve_state *state, int64_t stale_ms) {
	if (!stale_ms) return mem_strdup(state->decision.reason);
	return mem_format("%s; stale: these figures are %" PRId64 " s old, the ledger gives no newer ones",
		state->decision.reason, stale_ms / 1000);
}

json_t *serve_figures(const struct serve_state *state) {
	json_t *figures = json_object();
	json_object_set_new(figures, "queue", queue_json(&state->sample));
	json_object_set_new(figures, "runs", runs_json(&state->sample, &state->decision));
	if (state->forecaster) json_object_set_new(figures, "plans", forecaster_plans(state->forecaster));
	json_object_set_new(figures, "workers", workers_json(&state->sample));
	json_object_set_new(figures, "limits", limits_json(state->limits));
	return figures;
}

char *serve_body(const struct serve_state *state, int64_t stale_ms) {
	AUTO_JSON json_t *body = json_object();
	AUTO_FREE char *reason = reason_text(state, stale_ms);
	set_int(body, "deseados", state->decision.wanted);
	set_int(body, "actuales", state->decision.actual);
	json_object_set_new(body, "motivo", json_string(reason));
	set_int(body, "needed", state->decision.needed);
	json_object_set_new(body, "stale", json_boolean(stale_ms > 0));
	json_object_set_new(body, "actuator", json_string(state->actuator));
	json_object_set_new(body, "leads", json_boolean(state->leads));
	AUTO_JSON json_t *figures = serve_figures(state);
	json_object_update(body, figures);
	if (state->forecaster) json_object_set_new(body, "forecast_score", forecaster_score(state->forecaster));
	return json_write(body);
}

static void handle_escala(struct http_request *request, void *arg) {
	const struct serve *serve = arg;
	const struct serve_state *state = serve->state;
	if (!state->any) {
		struct http_problem problem = {.status = 503,
			.title = "No figures yet",
			.detail = "the ledger has not given any yet; /readyz and the log say why",
			.retry_after_s = 2};
		http_problem(request, &problem);
		return;
	}
	int64_t age_ms = sampler_age_ms(state->sampler);
	AUTO_FREE char *body = serve_body(state, age_ms > SAMPLE_OLD_MS ? age_ms : 0);
	http_answer_text(request, 200, "application/json", body);
}

void serve_close(struct serve *serve) {
	if (!serve) return;
	http_server_close(serve->server);
	free(serve);
}

int serve_open(
	struct loop *loop, const char *listen, const struct serve_state *state, struct serve **serve, struct error *error) {
	static const struct http_route routes[] = {{.path = "/escala", .methods = "GET", .handle = handle_escala}};
	struct serve *made = mem_zalloc(sizeof *made);
	made->state = state;
	struct http_config config = {.listen = listen,
		.routes = routes,
		.route_count = COUNT_OF(routes),
		.arg = made,
		.header_bytes = 8192,
		.target_bytes = 1024,
		.body_bytes = 0,
		.connections = 256,
		.connections_per_address = 64,
		.deadline_ms = 10000,
		.idle_ms = 60000};
	if (http_server_open(loop, &config, &made->server, error) != 0) {
		free(made);
		return error_wrap(error, "OBSERVER_LISTEN");
	}
	log_info(log_m("listening"), log_s("listen", listen), log_i("port", http_server_port(made->server)));
	*serve = made;
	return 0;
}
