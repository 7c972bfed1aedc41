// GET /api/v1/trabajos/{key}/deliveries: what came of telling the job's end to whom `on_done` names.
#include "frontend/api.h"
#include "frontend/api_statements.h"

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	const char *list = db_rows(result) ? db_get(result, 0, 0) : NULL;
	if (list)
		http_answer_text(request, 200, API_JSON, list);
	else
		api_no_job(request);
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	char key[UUID_TEXT];
	if (api_key(request, key)) return;
	const struct api_query query = {
		.statement = &api_statement_deliveries, .params = {key, api_whose(claims)}, .count = 2, .answer = answer};
	api_query(arg, request, &query);
}

void deliveries_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
