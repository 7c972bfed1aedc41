// Problem documents in one line.
#pragma once

#include "lib/http.h"

#define ANSWER_RETRY_AFTER_S 5 // of a 503

// retry_after_s 0: no Retry-After.
void answer_problem(struct http_request *request, int status, int64_t retry_after_s, const char *format, ...) PRINTF(4, 5);
// 503: a service is away. Where and why is for /readyz and the log, not for strangers.
void answer_unavailable(struct http_request *request, const char *service);
