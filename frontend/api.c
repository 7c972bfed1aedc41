#include "frontend/api.h"

#include "frontend/say.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>

#define TRIES_MOST       3
#define WRITE_TIMEOUT_MS 9000 // a thousand replays on a busy server; below the deadline of a request

// ---- one statement

struct asking {
	struct http_request *request; // NULL: the client has gone
	struct db_session *session;
	struct api_query query; // params: copies
	unsigned tries;
};

static void asking_free(struct asking *asking) {
	for (size_t i = 0; i < asking->query.count; i++) free((char *)(uintptr_t)asking->query.params[i]);
	if (asking->query.drop) asking->query.drop(asking->query.arg);
	free(asking);
}

static void request_gone(void *arg) {
	struct asking *asking = arg;
	asking->request = NULL;
}

static void run(struct asking *asking);

static void came(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct asking *asking = arg;
	struct http_request *request = asking->request;
	if (status == DB_RETRY && ++asking->tries < TRIES_MOST) {
		run(asking);
		return;
	}
	if (request && status == DB_OK)
		asking->query.answer(request, result, asking->query.arg);
	else if (request && asking->query.failed && asking->query.failed(request, asking->query.arg))
		answer_complain(request, status, error);
	else if (request && status == DB_RETRY)
		answer_problem(request, 503, ANSWER_RETRY_AFTER_S, "Others are changing the same jobs: nothing was done.");
	else if (request)
		answer_no_ledger(request, status, error);
	asking_free(asking);
}

static void run(struct asking *asking) {
	struct db_params *params = db_params_new();
	for (size_t i = 0; i < asking->query.count; i++) db_text(params, asking->query.params[i]);
	int64_t timeout_ms = asking->query.writes ? WRITE_TIMEOUT_MS : FRONTEND_READ_TIMEOUT_MS;
	db_run(asking->session, asking->query.statement, params, FRONTEND_READ_WAIT_MS, timeout_ms, came, asking);
}

void api_query(const struct frontend *frontend, struct http_request *request, const struct api_query *query) {
	struct asking *asking = mem_zalloc(sizeof *asking);
	*asking = (struct asking){
		.request = request, .session = query->writes ? frontend->writes : frontend->reads, .query = *query};
	for (size_t i = 0; i < query->count; i++) asking->query.params[i] = mem_strdup(query->params[i]);
	if (!asking->session) {
		answer_unavailable(request, "PostgreSQL");
		asking_free(asking);
		return;
	}
	http_on_gone(request, request_gone, asking);
	run(asking);
}

// ---- pages

int api_page_read(struct http_request *request, const struct token_claims *claims, const char *const *names, size_t count,
	struct api_page *page) {
	int64_t limit = API_PAGE;
	const char *known[API_NAMES + 1] = {"after"};
	for (size_t i = 0; i < count && i < API_NAMES; i++) known[i + 1] = names[i];
	if (param_only(request, known, count + 1)) return -1;
	*page = (struct api_page){.owner = claims->sub};
	int given = param_cursor(request, &page->after);
	if (given < 0 || param_limit(request, &limit) < 0 || param_usuario(request, claims, &page->usuario) < 0) return -1;
	if (given) page->behind = page->after.key;
	if (given && *page->after.us) page->behind_us = page->after.us;
	if (page->usuario) page->owner = NULL;
	if (page->usuario && strcmp(page->usuario, "*") == 0) page->usuario = NULL;
	snprintf(page->most, sizeof page->most, "%" PRId64, limit);
	return 0;
}

void api_page_answer(struct http_request *request, const struct db_result *result, const char *const *names, size_t count) {
	if (!db_get_int(result, 0, 2)) {
		answer_problem(
			request, 400, 0, "The parameter after names nothing in this list; it may have been removed since.");
		return;
	}
	const char *next = db_get(result, 0, 1);
	if (next) param_link_next(request, next, names, count);
	api_answer_jobs(request, 200, db_get(result, 0, 0));
}

// ---- one job

const char *api_whose(const struct token_claims *claims) {
	return claims->roles & TOKEN_ROLE_ADMIN ? NULL : claims->sub;
}

void api_no_job(struct http_request *request) {
	answer_problem(request, 404, 0, "You have no job with this key.");
}

int api_key(struct http_request *request, char key[UUID_TEXT]) {
	const char *text = http_path_param(request, "key");
	if (text && uuid_parse_text(text, key) == 0) return 0;
	api_no_job(request);
	return -1;
}

static void tell(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	const char *text = db_rows(result) ? db_get(result, 0, 0) : NULL;
	if (text)
		http_answer_text(request, 200, API_JSON, text);
	else
		api_no_job(request);
}

void api_tell_of_job(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims,
	const struct db_statement *statement) {
	char key[UUID_TEXT];
	if (api_key(request, key)) return;
	const struct api_query query = {.statement = statement, .params = {key, api_whose(claims)}, .count = 2, .answer = tell};
	api_query(frontend, request, &query);
}

void api_change(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims,
	const struct db_statement *statement, const char *why,
	void (*answer)(struct http_request *request, const struct db_result *result, void *arg)) {
	char key[UUID_TEXT];
	if (api_key(request, key)) return;
	const struct api_query query = {.statement = statement,
		.writes = true,
		.params = {key, api_whose(claims), why},
		.count = why ? 3 : 2,
		.answer = answer,
		.arg = (void *)(uintptr_t)frontend};
	api_query(frontend, request, &query);
}

const char *api_changed(struct http_request *request, const struct db_result *result, char key[UUID_TEXT], const char **state) {
	const char *what = db_get(result, 0, 0);
	*state = db_get(result, 0, 1);
	if (api_key(request, key)) return NULL;
	if (strcmp(what, "unknown") != 0) return what;
	api_no_job(request);
	return NULL;
}

void api_answer_json(struct http_request *request, int status, json_t *json) {
	AUTO_FREE char *text = json_write(json);
	json_decref(json);
	answer_json(request, status, text);
}

void api_answer_jobs(struct http_request *request, int status, const char *text) {
	AUTO_FREE char *said = say_jobs(http_language(request), text);
	http_answer_language(request);
	answer_json(request, status, said);
}
