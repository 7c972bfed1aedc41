// POST /api/v1/workers/{worker}/drain and …/resume: it ends what it has and takes nothing more, until that is taken back; for
// administrators. As often as wanted. An observer leaves a worker that was drained so alone.
#include "frontend/api.h"
#include "frontend/api_statements.h"

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	bool resume = arg != NULL;
	if (db_rows(result) == 0) {
		answer_problem(request, 404, 0, "There is no such worker.");
		return;
	}
	bool draining = db_get_int(result, 0, 1) != 0;
	if (resume && draining)
		answer_problem(
			request, 409, 0, "The observer has this worker leave; what it asked for it takes back by itself.");
	else
		api_answer_json(request, 200, json_pack("{s:s, s:b}", "worker", db_get(result, 0, 0), "draining", draining));
}

static void change(
	struct http_request *request, const struct token_claims *claims, const struct frontend *frontend, bool resume) {
	if (!(claims->roles & TOKEN_ROLE_ADMIN)) {
		answer_problem(request, 403, 0, "To drain a worker needs the realm role admin.");
		return;
	}
	static bool yes = true;
	const struct api_query query = {.statement = resume ? &api_statement_worker_resume : &api_statement_worker_drain,
		.writes = true,
		.params = {http_path_param(request, "worker")},
		.count = 1,
		.answer = answer,
		.arg = resume ? &yes : NULL};
	api_query(frontend, request, &query);
}

static void drain(struct http_request *request, struct token_claims *claims, void *arg) {
	change(request, claims, arg, false);
}

static void resume(struct http_request *request, struct token_claims *claims, void *arg) {
	change(request, claims, arg, true);
}

void api_worker_drain_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, drain, arg);
}

void api_worker_resume_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, resume, arg);
}
