#include "frontend/answer.h"

#include "lib/log.h"
#include "lib/mem.h"

#include <stdarg.h>

void answer_problem(struct http_request *request, int status, int64_t retry_after_s, const char *format, ...) {
	AUTO_FREE char *detail = NULL;
	va_list arguments;
	va_start(arguments, format);
	if (vasprintf(&detail, format, arguments) < 0) detail = NULL;
	va_end(arguments);
	http_problem(request, &(struct http_problem){.status = status, .detail = detail, .retry_after_s = retry_after_s});
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
