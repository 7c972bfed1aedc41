// GET /api/v1/trabajos/{key}: all about one job.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "frontend/options.h"

#include <inttypes.h>

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	const int *status = arg;
	if (db_rows(result))
		http_answer_text(request, *status, API_JSON, db_get(result, 0, 0));
	else
		api_no_job(request);
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	char key[UUID_TEXT];
	if (api_key(request, key) == 0) api_get_answer(arg, request, key, api_whose(claims), 200);
}

void api_get_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}

void api_get_answer(
	const struct frontend *frontend, struct http_request *request, const char *key, const char *owner, int status) {
	static int fine = 200, accepted = 202;
	char user_running[24];
	snprintf(user_running, sizeof user_running, "%" PRId64, frontend_options.user_running);
	const struct api_query query = {.statement = &api_statement_job,
		.params = {key, owner, user_running},
		.count = 3,
		.answer = answer,
		.arg = status == 202 ? &accepted : &fine};
	api_query(frontend, request, &query);
}
