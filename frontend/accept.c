#include "frontend/accept.h"

#include "frontend/answer.h"
#include "frontend/meters.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <string.h>

#define IDEMPOTENCY_KEY_MAX 255

// One request on its way, from submit_job to its answer.
struct accepting {
	struct http_request *request;
	struct submission *submission;
	struct accept_port port;
};

static void port_drop(const struct accept_port *port) {
	if (port->drop) port->drop(port->arg);
}

static void accepting_free(struct accepting *accepting) {
	port_drop(&accepting->port);
	free(accepting);
}

// ---- answers

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
	answer_problem(request, 503, ANSWER_RETRY_AFTER_S, "Kafka takes no jobs now: the job was not accepted.");
}

static void answer_too_late(struct http_request *request) {
	answer_problem(request, 503, ANSWER_RETRY_AFTER_S,
		"The request took so long that too little of its time was left for Kafka: the job was not accepted. Send it "
		"again, all of it at once.");
}

static void submitted(enum submit_outcome outcome, const char *key, void *arg) {
	struct accepting *accepting = arg;
	struct http_request *request = accepting->request;
	switch (outcome) {
	case SUBMIT_ACCEPTED:
	case SUBMIT_REPEATED:
	case SUBMIT_PENDING:
		// who has to ask the ledger first sets another one
		http_on_gone(request, NULL, NULL);
		accepting->port.done(request, key, outcome, accepting->port.arg);
		break;
	case SUBMIT_DIFFERS:
		answer_problem(
			request, 422, 0, "This Idempotency-Key was used for a job with another url or other parameters.");
		break;
	case SUBMIT_REFUSED:
		answer_not_accepted(request);
		break;
	case SUBMIT_TOO_LATE:
		answer_too_late(request);
		break;
	case SUBMIT_UNCERTAIN:
		answer_uncertain(request, key);
		break;
	}
	accepting_free(accepting);
}

static void request_gone(void *arg) {
	struct accepting *accepting = arg;
	submit_forget(accepting->submission);
	accepting_free(accepting);
}

// ---- the way in

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

static void submit(const struct frontend *frontend, struct http_request *request, struct trabajo *trabajo, bool idempotent,
	const struct accept_port *port) {
	struct accepting *accepting = mem_zalloc(sizeof *accepting);
	*accepting = (struct accepting){.request = request, .port = *port};
	accepting->submission = submit_job(
		intake_submit(frontend->intake), trabajo, idempotent, http_deadline_left_ms(request), submitted, accepting);
	if (accepting->submission) {
		http_on_gone(request, request_gone, accepting);
	} else {
		answer_too_late(request);
		accepting_free(accepting);
	}
}

int accept_rate(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims) {
	int64_t wait_ms = rate_take_ms(frontend->rate, claims->sub, loop_now_ms());
	if (!wait_ms) return 0;
	metric_add(&meter_submit_limited, 1);
	answer_problem(request, 429, (wait_ms + 999) / 1000, "Too many submissions; the next is accepted in %lld ms.",
		(long long)wait_ms);
	return -1;
}

int accept_url(const struct frontend *frontend, struct http_request *request, const char *what, const char *text, char **url) {
	struct giturl checked = {0};
	struct error error AUTO_ERROR = {0};
	if (giturl_check(text, frontend->git_allow, &checked, &error)) {
		answer_problem(request, 400, 0, "The %s url was not accepted: %s.", what, error_text(&error));
		return -1;
	}
	*url = STEAL(checked.text);
	giturl_clear(&checked);
	return 0;
}

void accept_job(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims,
	struct trabajo *trabajo, const struct accept_port *port) {
	const char *idempotency_key;
	int has_key = idempotency_key_read(request, &idempotency_key);
	if (has_key >= 0 && prepare_topics_done(frontend->prepare, NULL)) {
		trabajo->owner = mem_strdup(claims->sub);
		trabajo->usuario = mem_strdup(claims->usuario);
		trabajo->admin = claims->roles & TOKEN_ROLE_ADMIN;
		if (has_key)
			uuid_idempotent(trabajo->owner, idempotency_key, trabajo->key);
		else
			uuid_v7(trabajo->key);
		submit(frontend, request, trabajo, has_key, port);
	} else {
		if (has_key >= 0) answer_not_accepted(request);
		port_drop(port);
	}
	trabajo_clear(trabajo);
}

void accept_headers(struct http_request *request, const char *key, enum submit_outcome outcome) {
	AUTO_FREE char *location = mem_format("/api/v1/trabajos/%s", key);
	http_answer_header(request, "Location", location);
	if (outcome == SUBMIT_PENDING) http_answer_header(request, "Trabajos-Ledger", "pending");
}
