// GET /api/v1/dead: the caller's dead letters by pages, those first that died first: jobs whose budget of attempts is used up.
#include "frontend/api.h"
#include "frontend/api_statements.h"

static const char *const kept[] = {"limit", "usuario"};

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	api_page_answer(request, result, kept, COUNT_OF(kept));
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	struct api_page page;
	if (api_page_read(request, claims, kept, COUNT_OF(kept), &page)) return;
	const struct api_query query = {.statement = &api_statement_dead,
		.params = {page.owner, page.usuario, page.behind, page.behind_us, page.most},
		.count = 5,
		.answer = answer};
	api_query(arg, request, &query);
}

void api_dead_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
