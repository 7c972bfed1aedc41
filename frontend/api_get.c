// GET /api/v1/trabajos/{key}: all about one job.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "frontend/options.h"

#include <inttypes.h>

enum { KEY = 1, ATTEMPT, NOW, RANGE_LOW, RANGE_HIGH }; // columns behind the job

// The range that the answer tells is kept, to be scored when the job starts.
static void note_range(const struct frontend *frontend, const struct db_result *result) {
	if (!db_get(result, 0, RANGE_HIGH)) return;
	struct told_range range = {.attempt = db_get_int(result, 0, ATTEMPT),
		.at_ms = db_get_int(result, 0, NOW),
		.low_ms = db_get_int(result, 0, RANGE_LOW),
		.high_ms = db_get_int(result, 0, RANGE_HIGH)};
	if (uuid_parse_text(db_get(result, 0, KEY), range.key) == 0) told_note(frontend->told, &range);
}

static void answer(struct http_request *request, const struct db_result *result, int status, const struct frontend *frontend) {
	if (!db_rows(result)) {
		api_no_job(request);
		return;
	}
	note_range(frontend, result);
	api_answer_jobs(request, status, db_get(result, 0, 0));
}

static void answer_fine(struct http_request *request, const struct db_result *result, void *arg) {
	answer(request, result, 200, arg);
}

static void answer_accepted(struct http_request *request, const struct db_result *result, void *arg) {
	answer(request, result, 202, arg);
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
	char user_running[24];
	snprintf(user_running, sizeof user_running, "%" PRId64, frontend_options.user_running);
	const struct api_query query = {.statement = &api_statement_job,
		.params = {key, owner, user_running},
		.count = 3,
		.answer = status == 202 ? answer_accepted : answer_fine,
		.arg = (void *)(uintptr_t)frontend};
	api_query(frontend, request, &query);
}
