// GET /: the page for a browser; for others what there is.
#include "frontend/frontend.h"
#include "frontend/options.h"
#include "frontend/web.h"

void index_handle(struct http_request *request, void *arg) {
	(void)arg;
	if (web_wanted(request)) {
		web_answer_page(request, frontend_options.issuer);
		return;
	}
	http_answer_header(request, "Vary", "Accept");
	http_answer_text(request, 200, "text/plain; charset=utf-8",
		"Trabajos runs a git repository as a job. Each call needs \"Authorization: Bearer <access token>\".\n"
		"\n"
		"GET or POST /add?url=URL   add a job; also ref, priority, timeout, retries, run_after, reuse, and the header Idempotency-Key\n"
		"GET /all                   your jobs, oldest first; also limit, after\n"
		"GET /status?key=KEY        one of them\n"
		"/api/v1/trabajos/KEY/log   what it prints; with follow=1 until it has ended\n"
		"/api/v1/trabajos           the same with all options, cancel and replay; /api/v1/dead, /api/v1/schedules, /api/v1/workers\n"
		"/api/v1/docs               all calls, to be read and tried; /api/v1/openapi.json; without a token\n"
		"GET /healthcheck           whether jobs are accepted now; without a token\n"
		"\n"
		"A browser is shown a page here.\n");
}
