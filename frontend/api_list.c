// GET /api/v1/trabajos: the caller's jobs by pages, oldest first; status= (several, separated by commas) and label=NAME or
// label=NAME=VALUE choose among them. A page can be short, even empty, and go on nevertheless.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "frontend/param.h"
#include "lib/mem.h"

#include <string.h>

static const char *const kept[] = {"limit", "status", "label", "usuario"};

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
	AUTO_FREE char *label = NULL;
	const char *status, *value;
	if (api_page_read(request, claims, &page) || status_read(request, &status) < 0 ||
		label_read(request, &label, &value) < 0)
		return;
	const struct api_query query = {.statement = &api_statement_list,
		.params = {page.owner, page.usuario, page.behind, page.most, status, label, value},
		.count = 7,
		.answer = answer};
	api_query(arg, request, &query);
}

void api_list_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
