// GET or POST /add?url=U: a job from its parameters.
#include "frontend/accept.h"
#include "frontend/answer.h"
#include "frontend/frontend.h"
#include "frontend/param.h"
#include "lib/mem.h"
#include "lib/webhook.h"

#include <errno.h>
#include <string.h>

// Checks one member by itself, so that the answer can name the parameter, and adds it to the spec.
static int member_add(struct http_request *request, const char *name, const char *member, json_t *value, json_t *spec) {
	AUTO_JSON json_t *alone = json_object();
	struct trabajo_spec read = {0};
	struct error error AUTO_ERROR = {0};
	json_object_set(alone, member, value);
	json_object_set_new(spec, member, value);
	int status = trabajo_spec_read(alone, &read, &error);
	if (status)
		answer_problem(request, 400, 0, "The parameter %s was not accepted: %s.", name, error_text(&error));
	else
		trabajo_spec_clear(&read);
	return status;
}

static int ref_read(struct http_request *request, json_t *spec) {
	const char *text;
	int status = param_read(request, "ref", &text);
	if (status <= 0) return status;
	json_t *value = json_string(text);
	if (value) return member_add(request, "ref", "ref", value, spec);
	answer_problem(request, 400, 0, "The parameter ref is not UTF-8.");
	return -1;
}

static int number_read(struct http_request *request, const char *name, const char *member, json_t *spec) {
	const char *text;
	int status = param_read(request, name, &text);
	if (status <= 0) return status;
	char *end;
	errno = 0;
	long long number = strtoll(text, &end, 10);
	char first = text[*text == '-'];
	if (first >= '0' && first <= '9' && !*end && !errno)
		return member_add(request, name, member, json_integer(number), spec);
	answer_problem(request, 400, 0, "The parameter %s is no whole number.", name);
	return -1;
}

// Digits are a delay in seconds, anything else a moment.
static int run_after_read(struct http_request *request, json_t *spec) {
	const char *text;
	int status = param_read(request, "run_after", &text);
	if (status <= 0) return status;
	if (strspn(text, "-0123456789") == strlen(text)) return number_read(request, "run_after", "run_after", spec);
	return member_add(request, "run_after", "run_after", json_string(text), spec);
}

static int reuse_read(struct http_request *request, json_t *spec) {
	const char *text;
	int status = param_read(request, "reuse", &text);
	if (status <= 0) return status;
	bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
	if (yes || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
		return member_add(request, "reuse", "reuse", json_boolean(yes), spec);
	answer_problem(request, 400, 0, "The parameter reuse is neither true nor false.");
	return -1;
}

static int on_done_read(const struct frontend *frontend, struct http_request *request, json_t *spec) {
	const char *text;
	struct error error AUTO_ERROR = {0};
	int status = param_read(request, "on_done", &text);
	if (status <= 0) return status;
	json_t *value = json_string(text);
	if (!value) {
		answer_problem(request, 400, 0, "The parameter on_done is not UTF-8.");
		return -1;
	}
	if (member_add(request, "on_done", "on_done", value, spec)) return -1;
	if (webhook_allowed(spec, frontend->webhook_allow, &error) == 0) return 0;
	answer_problem(request, 400, 0, "The parameter on_done was not accepted: %s.", error_text(&error));
	return -1;
}

// The members keep the names of POST /api/v1/trabajos, so that the same job has the same fingerprint however it came.
static int spec_read(const struct frontend *frontend, struct http_request *request, struct trabajo_spec *spec) {
	static const char *const known[] = {"url", "ref", "priority", "timeout", "retries", "run_after", "reuse", "on_done"};
	if (param_only(request, known, COUNT_OF(known))) return -1;
	AUTO_JSON json_t *json = json_object();
	struct error error AUTO_ERROR = {0};
	if (ref_read(request, json) || number_read(request, "priority", "priority", json) ||
		number_read(request, "timeout", "timeout_s", json) || number_read(request, "retries", "retries", json) ||
		run_after_read(request, json) || reuse_read(request, json) || on_done_read(frontend, request, json))
		return -1;
	if (!trabajo_spec_read(json_object_size(json) ? json : NULL, spec, &error)) return 0;
	answer_problem(request, 400, 0, "The parameters were not accepted: %s.", error_text(&error));
	return -1;
}

// Fields that nobody would look at: a form of another type, or anything else where the url should be.
static int body_check(struct http_request *request) {
	size_t length, url_length;
	http_body(request, &length);
	if (!length || http_body_is(request, "application/x-www-form-urlencoded")) return 0;
	if (!http_body_is(request, "multipart/form-data") && http_param(request, "url", &url_length)) return 0;
	http_answer_header(request, "Accept", "application/x-www-form-urlencoded");
	answer_problem(request, 415, 0,
		"The body must be a form, and Content-Type must say so: application/x-www-form-urlencoded (with curl -d or "
		"--data-urlencode, not -F).");
	return -1;
}

static int url_read(const struct frontend *frontend, struct http_request *request, char **url) {
	const char *text;
	int status = param_read(request, "url", &text);
	if (!status)
		answer_problem(request, 400, 0,
			"The parameter url is missing: the repository's URL, in the query or as a form field.");
	return status > 0 ? accept_url(frontend, request, "parameter", text, url) : -1;
}

static void answer_added(struct http_request *request, const char *key, enum submit_outcome outcome, void *arg) {
	(void)arg;
	AUTO_FREE char *text = mem_format("Trabajo añadido: %s\n", key);
	accept_headers(request, key, outcome);
	http_answer_text(request, 200, "text/plain; charset=utf-8", text);
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	const struct frontend *frontend = arg;
	if (accept_rate(frontend, request, claims)) return;
	struct trabajo trabajo = {0};
	if (body_check(request) || url_read(frontend, request, &trabajo.url) || spec_read(frontend, request, &trabajo.spec))
		trabajo_clear(&trabajo);
	else
		accept_job(frontend, request, claims, &trabajo, &(struct accept_port){.done = answer_added});
}

// The server would hand a HEAD to GET's handler.
void add_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	if (strcmp(http_method(request), "HEAD") == 0) {
		http_answer_header(request, "Allow", "GET, POST");
		answer_problem(request, 405, 0, "HEAD adds no job.");
		return;
	}
	auth_request(frontend->auth, request, authorised, arg);
}
