// What the handlers of /api/v1 share: whose jobs the caller may touch, and one statement of the ledger's whose result becomes the
// answer. A job of somebody else's is answered exactly like one that does not exist.
#pragma once

#include "frontend/answer.h"
#include "frontend/frontend.h"
#include "frontend/param.h"
#include "lib/db.h"
#include "lib/uuid.h"

#define API_JSON   "application/json"
#define API_PARAMS 12  // most of a statement
#define API_NAMES  10  // of a list, most parameters
#define API_PAGE   100 // jobs of a page, where limit does not say

// NULL: anybody's, for an administrator; else the caller's own.
const char *api_whose(const struct token_claims *claims);
// The key in the path, {key} of the route, in lower case; or -1: answered with 404.
int api_key(struct http_request *request, char key[UUID_TEXT]) MUST_USE;
void api_no_job(struct http_request *request);                                // 404
void api_answer_json(struct http_request *request, int status, json_t *json); // takes over json
// A job of the ledger's, or an array of them, in the language of who reads it.
void api_answer_jobs(struct http_request *request, int status, const char *text);
// The whole job as the answer, once the ledger has said it (api_get.c).
void api_get_answer(
	const struct frontend *frontend, struct http_request *request, const char *key, const char *owner, int status);

struct api_query {
	const struct db_statement *statement;
	bool writes; // runs on a connection of its own, so that reads do not wait for a row's lock; tried again
		     // where others were in the way
	const char *params[API_PARAMS]; // $1, $2, … as text, copied; NULL: SQL NULL
	size_t count;
	// Answers; not called where the client has gone or the ledger is away (that is answered with 503).
	void (*answer)(struct http_request *request, const struct db_result *result, void *arg);
	// Where it failed: answers with what statements before it did, or, false, leaves the answer to api_query. NULL: there were none.
	bool (*failed)(struct http_request *request, void *arg);
	void (*drop)(void *arg); // called once, when arg is needed no more; NULL: it belongs to nobody
	void *arg;
};
void api_query(const struct frontend *frontend, struct http_request *request, const struct api_query *query);

// What one statement says of the job of the path as the whole answer, a JSON text: $1 key, $2 owner; no row or NULL: 404.
void api_tell_of_job(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims,
	const struct db_statement *statement);

// A function of the ledger that changes the job of the path: $1 key, $2 owner, and $3 why, where it is not NULL. arg of its answer:
// the frontend.
void api_change(const struct frontend *frontend, struct http_request *request, const struct token_claims *claims,
	const struct db_statement *statement, const char *why,
	void (*answer)(struct http_request *request, const struct db_result *result, void *arg));
// What it did, and the job's key and state; NULL: there is no such job, answered.
const char *api_changed(
	struct http_request *request, const struct db_result *result, char key[UUID_TEXT], const char **state) MUST_USE;

// ---- pages (see api_statements.h)

struct api_page {
	const char *owner, *usuario;    // NULL: not restricted by it
	const char *behind, *behind_us; // NULL, or of after
	struct param_cursor after;
	char most[24];
};
// From limit, after and usuario; 0, or -1: answered. names: all parameters but after.
int api_page_read(struct http_request *request, const struct token_claims *claims, const char *const *names, size_t count,
	struct api_page *page) MUST_USE;
// Answers with the array, and Link where it goes on; names: the parameters that Link keeps.
void api_page_answer(struct http_request *request, const struct db_result *result, const char *const *names, size_t count);
