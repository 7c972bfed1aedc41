// GET /api/v1/trabajos/{key}/artifacts and …/artifacts/{path}: what the job of the visible result has left. Its content is a
// stranger's: always a download, never shown in place, and no page by itself wherever it is opened all the same.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "frontend/download.h"
#include "lib/client.h"
#include "lib/mem.h"

#include <string.h>

// RFC 6266, with both forms of the name (RFC 8187).
static void answer_name(struct http_request *request, const char *path) {
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	AUTO_FREE char *escaped = client_escape(name), *plain = mem_strdup(name);
	for (char *at = plain; *at; at++)
		if (*at < ' ' || *at > '~' || strchr("\"\\%", *at)) *at = '_';
	AUTO_FREE char *header = mem_format("attachment; filename=\"%s\"; filename*=UTF-8''%s", plain, escaped);
	http_answer_header(request, "Content-Disposition", header);
	http_answer_header(request, "Content-Security-Policy", "sandbox; default-src 'none'");
	http_answer_header(request, "Cross-Origin-Resource-Policy", "same-origin");
	// It may be kept, and must be asked for: it is gone with its job.
	http_answer_header(request, "Cache-Control", "private, no-cache");
}

static void found(struct http_request *request, const struct db_result *result, void *arg) {
	const struct frontend *frontend = arg;
	if (!db_get_int(result, 0, 0)) {
		api_no_job(request);
	} else if (!db_get(result, 0, 1)) {
		answer_problem(request, 404, 0, "The job has left no artifact of this path.");
	} else {
		const struct download_of of = {.blob = db_get(result, 0, 1),
			.size = (uint64_t)db_get_int(result, 0, 2),
			.type = db_get(result, 0, 3),
			.sha256 = db_get(result, 0, 4),
			.place = db_get(result, 0, 5)};
		answer_name(request, http_path_param(request, "path"));
		download_answer(frontend, request, &of);
	}
}

static void wanted(struct http_request *request, struct token_claims *claims, void *arg) {
	char key[UUID_TEXT];
	if (api_key(request, key)) return;
	const struct api_query query = {.statement = &api_statement_artifact,
		.params = {key, api_whose(claims), http_path_param(request, "path")},
		.count = 3,
		.answer = found,
		.arg = arg};
	api_query(arg, request, &query);
}

void artifacts_get_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, wanted, arg);
}

// ---- the list

static void list_wanted(struct http_request *request, struct token_claims *claims, void *arg) {
	api_tell_of_job(arg, request, claims, &api_statement_artifacts);
}

void artifacts_list_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, list_wanted, arg);
}
