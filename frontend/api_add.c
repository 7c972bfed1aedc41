// POST /api/v1/trabajos {"url": …}: a job with all that it may ask for. 202 with Location and what is known of it.
#include "frontend/accept.h"
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "lib/mem.h"
#include "lib/webhook.h"

#include <string.h>

// What the answer needs when the job is accepted.
struct added {
	const struct frontend *frontend;
	char *owner;
	json_t *job; // as the ledger will tell it, as far as it is known already
};

static void added_free(void *arg) {
	struct added *added = arg;
	free(added->owner);
	json_decref(added->job);
	free(added);
}

// ---- reading

// A URL in the body is no spec member; the rest is.
static int body_read(
	const struct frontend *frontend, struct http_request *request, const json_t *body, struct trabajo *trabajo) {
	AUTO_JSON json_t *rest = json_copy((json_t *)(uintptr_t)body);
	struct error error AUTO_ERROR = {0};
	const char *url = json_text(body, "url");
	if (!url) {
		answer_problem(request, 400, 0, "The member url must be there: the repository's URL, a string.");
		return -1;
	}
	if (accept_url(frontend, request, "member", url, &trabajo->url)) return -1;
	json_object_del(rest, "url");
	if (trabajo_spec_read(json_object_size(rest) ? rest : NULL, &trabajo->spec, &error) == 0 &&
		webhook_allowed(trabajo->spec.json, frontend->webhook_allow, &error) == 0)
		return 0;
	answer_problem(request, 400, 0, "The body was not accepted: %s.", error_text(&error));
	return -1;
}

// ---- answering

// An environment's values are secrets: they are never returned.
static json_t *env_names(const json_t *env) {
	json_t *names = json_object(), *value;
	const char *name;
	json_object_foreach((json_t *)(uintptr_t)env, name, value) json_object_set_new(names, name, json_null());
	return names;
}

static json_t *job_json(const struct trabajo *trabajo, const struct token_claims *claims) {
	const struct trabajo_spec *spec = &trabajo->spec;
	json_t *json = spec->json ? json_copy(spec->json) : json_object(), *env = json_object_get(json, "env"),
	       *on_done = json_object_get(json, "on_done");
	if (env) json_object_set_new(json, "env", env_names(env));
	if (on_done) json_object_set_new(json, "on_done", webhook_shown(on_done));
	json_object_set_new(json, "url", json_string(trabajo->url));
	json_object_set_new(json, "usuario", json_string(claims->usuario));
	json_object_set_new(json, "status", json_string("Queued"));
	return json;
}

// A repeated job may be anywhere on its way by now.
static void accepted(struct http_request *request, const char *key, enum submit_outcome outcome, void *arg) {
	struct added *added = arg;
	accept_headers(request, key, outcome);
	if (outcome == SUBMIT_REPEATED) {
		api_get_answer(added->frontend, request, key, added->owner, 202);
		return;
	}
	json_object_set_new(added->job, "key", json_string(key));
	api_answer_json(request, 202, json_incref(added->job));
}

// ---- the way in

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	const struct frontend *frontend = arg;
	if (accept_rate(frontend, request, claims)) return;
	AUTO_JSON json_t *body = NULL;
	struct trabajo trabajo = {0};
	if (http_json(request, &body) || body_read(frontend, request, body, &trabajo)) {
		trabajo_clear(&trabajo);
		return;
	}
	struct added *added = mem_zalloc(sizeof *added);
	*added = (struct added){frontend, mem_strdup(claims->sub), job_json(&trabajo, claims)};
	accept_job(frontend, request, claims, &trabajo, &(struct accept_port){accepted, added_free, added});
}

void api_add_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
