// GET /: what there is, for whoever comes by with a browser.
#include "frontend/frontend.h"

void index_handle(struct http_request *request, void *arg) {
	(void)arg;
	http_answer_text(request, 200, "text/plain; charset=utf-8",
		"Trabajos runs a git repository as a job. Each call needs \"Authorization: Bearer <access token>\".\n"
		"\n"
		"GET or POST /add?url=URL   add a job; also ref, priority, timeout, retries, run_after, reuse, and the header Idempotency-Key\n"
		"GET /all                   your jobs, oldest first; also limit, after\n"
		"GET /status?key=KEY        one of them\n"
		"/api/v1/trabajos           the same with all options, cancel and replay; /api/v1/dead, /api/v1/schedules, /api/v1/workers\n"
		"GET /healthcheck           whether jobs are accepted now; without a token\n");
}
