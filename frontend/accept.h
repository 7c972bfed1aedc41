// A job's way from a request, however it came (/add, POST /api/v1/trabajos), to its key: the owner's rate, the Idempotency-Key,
// the record, the ledger. What goes wrong is answered here.
#pragma once

#include "frontend/frontend.h"
#include "frontend/submit.h"

// 0, or -1: answered with 429.
int accept_rate(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims) MUST_USE;
// The URL of a repository, normalised, into *url; or -1: answered with 400, which names it as "The <what> url".
int accept_url(
	const struct frontend *frontend, struct http_request *request, const char *what, const char *text, char **url) MUST_USE;

// outcome: SUBMIT_ACCEPTED, SUBMIT_PENDING or SUBMIT_REPEATED; the request is to be answered, with accept_headers before.
typedef void accept_done(struct http_request *request, const char *key, enum submit_outcome outcome, void *arg);
struct accept_port {
	accept_done *done;
	void (*drop)(void *arg); // called once, when arg is needed no more; NULL: it belongs to nobody
	void *arg;
};
// Takes over what trabajo holds: url and spec, as they were checked. Once a request, with the answer still owed.
void accept_job(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims,
	struct trabajo *trabajo, const struct accept_port *port);
void accept_headers(struct http_request *request, const char *key, enum submit_outcome outcome); // Location, Trabajos-Ledger
