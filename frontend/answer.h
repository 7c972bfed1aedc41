// Problem documents in one line.
#pragma once

#include "lib/db.h"
#include "lib/http.h"

#define ANSWER_RETRY_AFTER_S 5 // of a 503

// retry_after_s 0: no Retry-After.
void answer_problem(struct http_request *request, int status, int64_t retry_after_s, const char *format, ...) PRINTF(4, 5);
// A JSON text, large ones packed, of a 200 to GET with an ETag by which the client may ask whether it has it still.
void answer_json(struct http_request *request, int status, const char *text);
// 503: a service is away. Where and why is for /readyz and the log, not for strangers.
void answer_unavailable(struct http_request *request, const char *service);
// 503: a statement did not work. Where that is no outage, which is told elsewhere, the log says why.
void answer_no_ledger(struct http_request *request, enum db_status status, const struct error *error);
// Only that line of the log, where nothing can be answered any more.
void answer_complain(const struct http_request *request, enum db_status status, const struct error *error);
