#include "frontend/answer.h"

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
