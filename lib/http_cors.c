// Which pages of other origins may read what is answered (the Fetch standard, section 3.2). Tokens travel in a header that a page must
// set by itself, never in a cookie, so no answer allows credentials.
#include "lib/http_internal.h"
#include "lib/mem.h"

#include <string.h>
#include <strings.h>

#define SENT                                                                                                                   \
	"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Last-Event-ID, Range, X-Request-Id"
#define SHOWN                                                                                                                  \
	"Accept-Ranges, Content-Disposition, Content-Encoding, Content-Language, Content-Range, ETag, Link, Location, "        \
	"Retry-After, Trabajos-Attempt, Trabajos-Ledger, Trabajos-Log-Truncated, WWW-Authenticate, X-Request-Id"
#define ALLOW_ORIGIN "Access-Control-Allow-Origin"
#define KEPT_S       "600" // how long a browser need not ask again

struct http_origins {
	bool any;
	size_t count;
	char *text; // of them all
	const char *origins[];
};

// "https://host" or with a port, as browsers write it: no path, not even a slash.
static bool is_origin(const char *text) {
	size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
	return scheme && http_host_valid(text + scheme);
}

int http_origins_parse(const char *text, struct http_origins **origins, struct error *error) {
	size_t most = 1;
	for (const char *c = text ? text : ""; *c; c++) most += *c == ',';
	struct http_origins *list = mem_zalloc(sizeof *list + most * sizeof list->origins[0]);
	list->text = mem_strdup(text ? text : "");
	for (char *entry = list->text, *next; entry; entry = next) {
		next = strchr(entry, ',');
		if (next) *next++ = '\0';
		entry += strspn(entry, " \t");
		for (size_t size = strlen(entry); size && strchr(" \t", entry[size - 1]); size--) entry[size - 1] = '\0';
		if (!*entry) continue;
		if (strcmp(entry, "*") == 0) {
			list->any = true;
		} else if (is_origin(entry)) {
			list->origins[list->count++] = entry;
		} else {
			error_set(error, ERROR_INPUT, "\"%s\" is no origin, like https://host:port", entry);
			http_origins_free(list);
			return -1;
		}
	}
	*origins = list;
	return 0;
}

void http_origins_free(struct http_origins *origins) {
	if (!origins) return;
	free(origins->text);
	free(origins);
}

int http_origins_check(const char *text, struct error *error) {
	struct http_origins *origins = NULL;
	int status = http_origins_parse(text, &origins, error);
	http_origins_free(origins);
	return status;
}

// The origin that the answer names; NULL: none is allowed.
static const char *allowed(const struct http_request *request) {
	const struct http_origins *origins = request->connection->server->origins;
	const char *origin = http_header(request, MHD_HTTP_HEADER_ORIGIN);
	if (!origin) return NULL;
	if (origins->any) return "*";
	for (size_t i = 0; i < origins->count; i++)
		if (strcasecmp(origins->origins[i], origin) == 0) return origins->origins[i];
	return NULL;
}

void http_cors_answer(struct http_request *request) {
	const struct http_origins *origins = request->connection->server->origins;
	if (origins->count) http_answer_header(request, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ORIGIN);
	const char *origin = allowed(request);
	if (!origin) return;
	http_answer_header(request, ALLOW_ORIGIN, origin);
	http_answer_header(request, "Access-Control-Expose-Headers", SHOWN);
}

void http_cors_preflight(struct http_request *request, const char *methods) {
	if (!allowed(request) || !http_header(request, "Access-Control-Request-Method")) return;
	http_answer_header(request, "Access-Control-Allow-Methods", methods);
	http_answer_header(request, "Access-Control-Allow-Headers", SENT);
	http_answer_header(request, "Access-Control-Max-Age", KEPT_S);
}
