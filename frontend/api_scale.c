// GET /api/v1/scale: what the observer decided, what became of it, and how good its forecasts were; for administrators.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "frontend/param.h"
#include "frontend/say.h"
#include "lib/mem.h"

#include <inttypes.h>

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	AUTO_FREE char *said = say_scale(http_language(request), db_get(result, 0, 0));
	http_answer_language(request);
	answer_json(request, 200, said);
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	static const char *const known[] = {"limit"};
	int64_t limit = API_PAGE;
	char most[24];
	if (!(claims->roles & TOKEN_ROLE_ADMIN)) {
		answer_problem(request, 403, 0, "The decisions on workers need the realm role admin.");
	} else if (param_only(request, known, COUNT_OF(known)) == 0 && param_limit(request, &limit) >= 0) {
		snprintf(most, sizeof most, "%" PRId64, limit);
		api_query(arg, request,
			&(struct api_query){.statement = &api_statement_scale, .params = {most}, .count = 1, .answer = answer});
	}
}

void api_scale_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
