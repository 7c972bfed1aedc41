// POST /api/v1/trabajos/{key}/replay: a job that has ended runs again, with the same key, new budgets and its history; its visible
// result is gone until the next one.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "lib/mem.h"

#include <string.h>

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	const struct frontend *frontend = arg;
	const char *what = db_get(result, 0, 0), *status = db_get(result, 0, 1);
	char key[UUID_TEXT];
	if (api_key(request, key)) return;
	if (strcmp(what, "unknown") == 0) {
		api_no_job(request);
	} else if (strcmp(what, "active") == 0) {
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
	char key[UUID_TEXT];
	if (api_key(request, key)) return;
	const struct api_query query = {.statement = &api_statement_replay,
		.writes = true,
		.params = {key, api_whose(claims)},
		.count = 2,
		.answer = answer,
		.arg = arg};
	api_query(arg, request, &query);
}

void api_replay_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
