// POST /api/v1/trabajos/{key}/cancel: a queued job ends at once, the worker of a running one hears of it with its next heartbeat. As
// often as wanted; a cancel that races with the end has one winner, and says which.
#include "frontend/api.h"
#include "frontend/api_statements.h"

#include <string.h>

// Of trabajos_cancel's answers; of a job that has been cancelled before the same as the first time.
static const char *how(const char *answer, const char *status) {
	if (strcmp(answer, "asked") == 0) return "requested";
	return strcmp(status, "Cancelled") == 0 ? "done" : "too_late";
}

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	const struct frontend *frontend = arg;
	char key[UUID_TEXT];
	const char *status, *what = api_changed(request, result, key, &status);
	if (!what) return;
	// its place may be free for another one
	intake_tap(frontend->intake);
	api_answer_json(request, 200, json_pack("{s:s, s:s, s:s}", "key", key, "status", status, "cancel", how(what, status)));
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	api_change(arg, request, claims, &api_statement_cancel, "cancelled while it was queued", answer);
}

void api_cancel_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
