// GET /api/v1/workers: who works, and has not said good-bye; for administrators.
#include "frontend/api.h"
#include "frontend/api_statements.h"

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	answer_json(request, 200, db_get(result, 0, 0));
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	if (claims->roles & TOKEN_ROLE_ADMIN)
		api_query(arg, request, &(struct api_query){.statement = &api_statement_workers, .answer = answer});
	else
		answer_problem(request, 403, 0, "The list of workers needs the realm role admin.");
}

void api_workers_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
