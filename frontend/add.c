// GET or POST /add?url=U: a job from its parameters.
#include "frontend/answer.h"
#include "frontend/frontend.h"
#include "frontend/meters.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <errno.h>
#include <string.h>

#define IDEMPOTENCY_KEY_MAX 255

// One request on its way, from submit_job to its answer.
struct adding {
	struct http_request *request;
	struct submission *submission;
};

// ---- parameters

// 1: there, 0: absent, -1: answered with 400.
static int param_read(struct http_request *request, const char *name, const char **value) {
	size_t length = 0;
	*value = http_param(request, name, &length);
	if (!*value) return 0;
	if (http_param_count(request, name) > 1)
		answer_problem(request, 400, 0, "The parameter %s was sent more than once.", name);
	else if (strlen(*value) != length)
		answer_problem(request, 400, 0, "The parameter %s has a NUL in it.", name);
	else if (!length)
		answer_problem(request, 400, 0, "The parameter %s is empty.", name);
	else
		return 1;
	return -1;
}

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

// The members keep the names of POST /api/v1/trabajos, so that the same job has the same fingerprint however it came.
static int spec_read(struct http_request *request, struct trabajo_spec *spec) {
	AUTO_JSON json_t *json = json_object();
	struct error error AUTO_ERROR = {0};
	if (ref_read(request, json) || number_read(request, "priority", "priority", json) ||
		number_read(request, "timeout", "timeout_s", json) || number_read(request, "retries", "retries", json))
		return -1;
	if (!trabajo_spec_read(json_object_size(json) ? json : NULL, spec, &error)) return 0;
	answer_problem(request, 400, 0, "The parameters were not accepted: %s.", error_text(&error));
	return -1;
}

static int url_read(struct http_request *request, const struct giturl_rules *git_allow, char **url) {
	const char *text;
	int status = param_read(request, "url", &text);
	if (!status)
		answer_problem(request, 400, 0,
			"The parameter url is missing: the repository's URL, in the query or as a form field.");
	if (status <= 0) return -1;
	struct giturl checked = {0};
	struct error error AUTO_ERROR = {0};
	if (giturl_check(text, git_allow, &checked, &error)) {
		answer_problem(request, 400, 0, "The parameter url was not accepted: %s.", error_text(&error));
		return -1;
	}
	*url = STEAL(checked.text);
	giturl_clear(&checked);
	return 0;
}

// 1: there, 0: absent, -1: answered with 400.
static int idempotency_key_read(struct http_request *request, const char **key) {
	*key = http_header(request, "Idempotency-Key");
	if (!*key) return 0;
	size_t length = strspn(
		*key, "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~");
	if (length && !(*key)[length] && length <= IDEMPOTENCY_KEY_MAX && http_header_count(request, "Idempotency-Key") == 1)
		return 1;
	answer_problem(request, 400, 0,
		"The header Idempotency-Key must be sent once and have 1 to %d visible ASCII characters.", IDEMPOTENCY_KEY_MAX);
	return -1;
}

// ---- answers

static void answer_added(struct http_request *request, const char *key, bool pending) {
	AUTO_FREE char *text = mem_format("Trabajo añadido: %s\n", key), *location = mem_format("/api/v1/trabajos/%s", key);
	http_answer_header(request, "Location", location);
	if (pending) http_answer_header(request, "Trabajos-Ledger", "pending");
	http_answer_text(request, 200, "text/plain; charset=utf-8", text);
}

// What to do next depends on whether a repetition would be the same job.
static void answer_uncertain(struct http_request *request, const char *key) {
	AUTO_FREE char *extra = mem_format("{\"key\":\"%s\"}", key);
	const char *detail =
		http_header(request, "Idempotency-Key")
			? "Kafka did not acknowledge the job in time: it may still run. Repeat the request with the same "
			  "Idempotency-Key to make sure of it; it will not run twice."
			: "Kafka did not acknowledge the job in time: it may still run; /status?key= with this key tells. A "
			  "repetition is another job. Only requests with an Idempotency-Key can be repeated as the same job: "
			  "send one, and repeat with the same Idempotency-Key.";
	http_problem(request,
		&(struct http_problem){.status = 503, .detail = detail, .extra = extra, .retry_after_s = ANSWER_RETRY_AFTER_S});
}

static void answer_not_accepted(struct http_request *request) {
	answer_problem(request, 503, ANSWER_RETRY_AFTER_S, "Kafka cannot be reached now: the job was not accepted.");
}

static void submitted(enum submit_outcome outcome, const char *key, void *arg) {
	AUTO_FREE struct adding *adding = arg;
	switch (outcome) {
	case SUBMIT_ACCEPTED:
	case SUBMIT_REPEATED:
		answer_added(adding->request, key, false);
		return;
	case SUBMIT_PENDING:
		answer_added(adding->request, key, true);
		return;
	case SUBMIT_DIFFERS:
		answer_problem(adding->request, 422, 0,
			"This Idempotency-Key was used for a job with another url or other parameters.");
		return;
	case SUBMIT_REFUSED:
		answer_not_accepted(adding->request);
		return;
	case SUBMIT_UNCERTAIN:
		answer_uncertain(adding->request, key);
		return;
	}
}

static void request_gone(void *arg) {
	struct adding *adding = arg;
	submit_forget(adding->submission);
	free(adding);
}

// ---- the way in

static int job_read(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims,
	struct trabajo *trabajo, bool *idempotent) {
	const char *idempotency_key;
	int has_key = idempotency_key_read(request, &idempotency_key);
	if (has_key < 0 || url_read(request, frontend->git_allow, &trabajo->url) || spec_read(request, &trabajo->spec))
		return -1;
	trabajo->owner = mem_strdup(claims->sub);
	trabajo->usuario = mem_strdup(claims->usuario);
	if (has_key)
		uuid_idempotent(trabajo->owner, idempotency_key, trabajo->key);
	else
		uuid_v7(trabajo->key);
	*idempotent = has_key;
	return 0;
}

static void submit(const struct frontend *frontend, struct http_request *request, struct trabajo *trabajo, bool idempotent) {
	struct adding *adding = mem_zalloc(sizeof *adding);
	adding->request = request;
	adding->submission = submit_job(
		intake_submit(frontend->intake), trabajo, idempotent, http_deadline_left_ms(request), submitted, adding);
	if (adding->submission) {
		http_on_gone(request, request_gone, adding);
	} else {
		free(adding);
		answer_not_accepted(request);
	}
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	const struct frontend *frontend = arg;
	int64_t wait_ms = rate_take_ms(frontend->rate, claims->sub, loop_now_ms());
	if (wait_ms) {
		metric_add(&meter_submit_limited, 1);
		answer_problem(request, 429, (wait_ms + 999) / 1000, "Too many submissions; the next is accepted in %lld ms.",
			(long long)wait_ms);
		return;
	}
	struct trabajo trabajo = {0};
	bool idempotent;
	if (job_read(frontend, request, claims, &trabajo, &idempotent) == 0) {
		if (prepare_topics_done(frontend->prepare, NULL))
			submit(frontend, request, &trabajo, idempotent);
		else
			answer_not_accepted(request);
	}
	trabajo_clear(&trabajo);
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
