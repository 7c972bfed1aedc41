#include "frontend/answer.h"

#include "lib/digest.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <stdarg.h>
#include <string.h>

void answer_problem(struct http_request *request, int status, int64_t retry_after_s, const char *format, ...) {
	AUTO_FREE char *detail = NULL;
	va_list arguments;
	va_start(arguments, format);
	if (vasprintf(&detail, format, arguments) < 0) detail = NULL;
	va_end(arguments);
	http_problem(request, &(struct http_problem){.status = status, .detail = detail, .retry_after_s = retry_after_s});
}

// Weak: the same answer may be packed. Nothing is kept without asking again, and by nobody but the client.
static bool is_known(struct http_request *request, const char *text, size_t length) {
	char digest[65];
	digest_sha256_hex(text, length, digest);
	AUTO_FREE char *tag = mem_format("\"%.32s\"", digest), *weak = mem_format("W/%s", tag);
	http_answer_header(request, "ETag", weak);
	http_answer_header(request, "Cache-Control", "private, no-cache");
	return http_none_match(request, tag);
}

// No secret is in it that is not the asker's, and what it repeats of the request is checked first and short: a page that makes a
// browser ask cannot send the token along, and so learns nothing from lengths.
void answer_json(struct http_request *request, int status, const char *text) {
	size_t length = strlen(text);
	bool reads = strcmp(http_method(request), "GET") == 0 || strcmp(http_method(request), "HEAD") == 0;
	http_answer_packed(request);
	if (status == 200 && reads && is_known(request, text, length))
		http_answer(request, 304, NULL, NULL, 0);
	else
		http_answer(request, status, "application/json", text, length);
}

void answer_unavailable(struct http_request *request, const char *service) {
	answer_problem(request, 503, ANSWER_RETRY_AFTER_S, "%s cannot be reached now.", service);
}

void answer_complain(const struct http_request *request, enum db_status status, const struct error *error) {
	if (status == DB_UNAVAILABLE || status == DB_RETRY) return;
	log_error(log_m("the ledger cannot be asked"), log_s("path", http_path(request)), log_s("request_id", http_id(request)),
		log_e(error));
}

void answer_no_ledger(struct http_request *request, enum db_status status, const struct error *error) {
	answer_complain(request, status, error);
	answer_unavailable(request, "PostgreSQL");
}
