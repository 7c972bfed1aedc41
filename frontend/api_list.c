// GET /api/v1/trabajos: the caller's jobs by pages, oldest first or, with order=desc, newest first; since= and until= are moments
// between which they were posted, status= (several, separated by commas) and label=NAME or label=NAME=VALUE, and text= (a part of URL, label
// or key) choose among them. A page can be short, even empty, and go on nevertheless.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>

static const char *const kept[] = {"limit", "order", "since", "until", "status", "label", "text", "usuario"};

#define TEXT_MOST 100

static bool is_status(const char *text, size_t length) {
	static const char *const statuses[] = {"Queued", "Running", "Finished", "Failed", "Cancelled"};
	for (size_t i = 0; i < COUNT_OF(statuses); i++)
		if (strlen(statuses[i]) == length && memcmp(statuses[i], text, length) == 0) return true;
	return false;
}

static int status_read(struct http_request *request, const char **status) {
	int given = param_read(request, "status", status);
	if (given <= 0) return given;
	for (const char *at = *status;; at++) {
		size_t length = strcspn(at, ",");
		if (!is_status(at, length)) break;
		at += length;
		if (!*at) return 1;
	}
	answer_problem(request, 400, 0,
		"The parameter status must be one or several, separated by commas, of Queued, Running, Finished, Failed, "
		"Cancelled.");
	return -1;
}

static int order_read(struct http_request *request, const char **order) {
	int given = param_read(request, "order", order);
	if (!given) *order = "asc";
	if (given <= 0 || strcmp(*order, "asc") == 0 || strcmp(*order, "desc") == 0) return given;
	answer_problem(request, 400, 0, "The parameter order must be asc or desc.");
	return -1;
}

// The text of the ms is to be freed; NULL: absent.
static int bound_read(struct http_request *request, const char *name, char **ms) {
	int64_t moment_ms;
	int given = param_moment(request, name, &moment_ms);
	*ms = given > 0 ? mem_format("%" PRId64, moment_ms) : NULL;
	return given;
}

// The name is a copy, to be freed.
static int label_read(struct http_request *request, char **name, const char **value) {
	const char *text;
	int given = param_read(request, "label", &text);
	*name = NULL;
	*value = NULL;
	if (given <= 0) return given;
	size_t length = strcspn(text, "=");
	if (length == 0) {
		answer_problem(request, 400, 0, "The parameter label must be NAME or NAME=VALUE.");
		return -1;
	}
	*name = mem_strndup(text, length);
	if (text[length]) *value = text + length + 1;
	return 1;
}

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	(void)arg;
	api_page_answer(request, result, kept, COUNT_OF(kept));
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	struct api_page page;
	AUTO_FREE char *label = NULL, *since = NULL, *until = NULL;
	const char *status, *value, *order, *text;
	if (api_page_read(request, claims, kept, COUNT_OF(kept), &page) || status_read(request, &status) < 0 ||
		label_read(request, &label, &value) < 0 || order_read(request, &order) < 0 ||
		bound_read(request, "since", &since) < 0 || bound_read(request, "until", &until) < 0 ||
		param_text(request, "text", TEXT_MOST, &text) < 0)
		return;
	const struct api_query query = {.statement = &api_statement_list,
		.params = {page.owner, page.usuario, page.behind, page.behind_us, page.most, status, label, value, order, since,
			until, text},
		.count = 12,
		.answer = answer};
	api_query(arg, request, &query);
}

void api_list_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
