// GET /api/v1/trabajos/{key}/deliveries: what came of telling the job's end to whom `on_done` names.
#include "frontend/api.h"
#include "frontend/api_statements.h"

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	api_tell_of_job(arg, request, claims, &api_statement_deliveries);
}

void deliveries_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
