#include "frontend/web.h"

#include "frontend/answer.h"
#include "lib/mem.h"

#include <string.h>
#include <strings.h>

#define PREFIX "/web/"

static const struct web_file *find(const char *path) {
	for (size_t i = 0; i < web_file_count; i++)
		if (strcmp(web_files[i].path, path) == 0) return &web_files[i];
	return NULL;
}

// RFC 9110 section 12.5.3, as far as anybody uses it: gzip is named, and not with q=0.
static bool takes_gzip(const struct http_request *request) {
	const char *accepted = http_header(request, "Accept-Encoding");
	const char *at = accepted ? strcasestr(accepted, "gzip") : NULL;
	if (!at) return false;
	at += strlen("gzip");
	at += strspn(at, " \t");
	if (*at != ';') return true;
	at += 1 + strspn(at + 1, " \t");
	if (strncasecmp(at, "q=0", 3) != 0) return true;
	at += 3;
	return *at == '.' && at[1 + strspn(at + 1, "0")] >= '1' && at[1 + strspn(at + 1, "0")] <= '9';
}

static void answer_file(struct http_request *request, const struct web_file *file) {
	const char *known = http_header(request, "If-None-Match");
	bool gzip = takes_gzip(request);
	http_answer_header(request, "ETag", file->etag);
	http_answer_header(request, "Referrer-Policy", "no-referrer");
	http_answer_header(request, "Cross-Origin-Resource-Policy", "same-origin");
	if (known && (strstr(known, file->etag) || strcmp(known, "*") == 0)) {
		http_answer(request, 304, NULL, NULL, 0);
		return;
	}
	if (gzip) http_answer_header(request, "Content-Encoding", "gzip");
	http_answer(request, 200, file->type, (const char *)(gzip ? file->gzip : file->plain),
		gzip ? file->gzip_size : file->plain_size);
}

char *web_origin(const char *url) {
	size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
	size_t host = strcspn(url + scheme, "/?#");
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:-_[]";
	if (!scheme || !host || strspn(url + scheme, allowed) < host) return NULL;
	return mem_format("%.*s", (int)(scheme + host), url);
}

bool web_wanted(const struct http_request *request) {
	const char *accepted = http_header(request, "Accept");
	return accepted && strcasestr(accepted, "text/html");
}

// No inline script or style, nothing from elsewhere, no text made into markup (Trusted Types), nobody's frame. Pictures of a job
// are shown from memory (blob:), where they bring no markup along.
void web_answer_page(struct http_request *request, const char *issuer) {
	AUTO_FREE char *origin = web_origin(issuer);
	AUTO_FREE char *policy = mem_format(
		"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'%s%s; "
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
		origin ? " " : "", origin ? origin : "");
	http_answer_header(request, "Content-Security-Policy", policy);
	http_answer_header(request, "Cross-Origin-Opener-Policy", "same-origin");
	http_answer_header(request, "Permissions-Policy", "camera=(), geolocation=(), microphone=()");
	http_answer_header(request, "X-Frame-Options", "DENY");
	http_answer_header(request, "Cache-Control", "no-cache");
	http_answer_header(request, "Vary", "Accept, Accept-Encoding");
	answer_file(request, find("index.html"));
}

void web_handle(struct http_request *request, void *arg) {
	(void)arg;
	const char *path = http_path(request) + strlen(PREFIX);
	size_t version = strlen(web_version);
	const struct web_file *file = NULL;
	if (strncmp(path, web_version, version) == 0 && path[version] == '/') file = find(path + version + 1);
	if (!file) {
		answer_problem(
			request, 404, 0, "There is no %s here; where the page was renewed, load it again.", http_path(request));
		return;
	}
	http_answer_header(request, "Cache-Control", "public, max-age=31536000, immutable");
	http_answer_header(request, "Vary", "Accept-Encoding");
	answer_file(request, file);
}
