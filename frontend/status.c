// GET /status?key=K: one job of the caller's, or of anybody's for an admin, as an array of none or one.
#include "frontend/answer.h"
#include "frontend/frontend.h"
#include "frontend/param.h"
#include "frontend/statements.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <string.h>

struct looking {
	struct http_request *request; // NULL: the client has gone
};

static void request_gone(void *arg) {
	struct looking *looking = arg;
	looking->request = NULL;
}

static void row_came(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	AUTO_FREE struct looking *looking = arg;
	if (!looking->request) return;
	if (status != DB_OK) {
		answer_no_ledger(looking->request, status, error);
		return;
	}
	AUTO_FREE char *text = db_rows(result) ? mem_format("[{\"usuario\":%s,\"key\":\"%s\",\"status\":\"%s\"}]",
							 db_get(result, 0, 0), db_get(result, 0, 1), db_get(result, 0, 2))
					       : mem_strdup("[]");
	answer_json(looking->request, 200, text);
}

static void look(struct http_request *request, const struct token_claims *claims, struct db_session *reads, const char *key) {
	struct looking *looking = mem_zalloc(sizeof *looking);
	looking->request = request;
	struct db_params *params = db_params_new();
	db_text(params, key);
	db_text(params, claims->roles & TOKEN_ROLE_ADMIN ? NULL : claims->sub);
	http_on_gone(request, request_gone, looking);
	db_run(reads, &statement_status, params, FRONTEND_READ_WAIT_MS, FRONTEND_READ_TIMEOUT_MS, row_came, looking);
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	const struct frontend *frontend = arg;
	static const char *const known[] = {"key"};
	char key[UUID_TEXT];
	size_t length = 0;
	if (param_only(request, known, COUNT_OF(known))) return;
	const char *text = http_param(request, "key", &length);
	if (!text || http_param_count(request, "key") > 1)
		answer_problem(request, 400, 0, "The parameter key is needed once: the key that /add gave.");
	else if (strlen(text) != length || uuid_parse_text(text, key))
		answer_json(request, 200, "[]");
	else if (!frontend->reads)
		answer_unavailable(request, "PostgreSQL");
	else
		look(request, claims, frontend->reads, key);
}

void status_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
