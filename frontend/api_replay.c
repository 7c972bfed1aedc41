// POST /api/v1/trabajos/{key}/replay: a job that has ended runs again, with the same key, new budgets and its history; its visible
// result is gone until the next one.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "lib/mem.h"

#include <string.h>

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	const struct frontend *frontend = arg;
	char key[UUID_TEXT];
	const char *status, *what = api_changed(request, result, key, &status);
	if (!what) return;
	if (strcmp(what, "active") == 0) {
		answer_problem(
			request, 409, 0, "The job has not ended: it is %s. Only one that has ended can be replayed.", status);
	} else {
		AUTO_FREE char *location = mem_format("/api/v1/trabajos/%s", key);
		intake_tap(frontend->intake);
		http_answer_header(request, "Location", location);
		api_answer_json(request, 202, json_pack("{s:s, s:s}", "key", key, "status", status));
	}
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	api_change(arg, request, claims, &api_statement_replay, NULL, answer);
}

void api_replay_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
