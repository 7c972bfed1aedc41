#include "frontend/param.h"

#include "frontend/answer.h"
#include "lib/mem.h"
#include "lib/moment.h"

#include <errno.h>
#include <string.h>

int param_read(struct http_request *request, const char *name, const char **value) {
	size_t length = 0;
	*value = http_param(request, name, &length);
	if (!*value) return 0;
	if (http_param_count(request, name) > 1)
		answer_problem(request, 400, 0, "The parameter %s was sent more than once.", name);
	else if (strlen(*value) != length)
		answer_problem(request, 400, 0, "The parameter %s has a NUL in it.", name);
	else if (!length)
		answer_problem(request, 400, 0, "The parameter %s is empty.", name);
	else
		return 1;
	return -1;
}

// Parameters are UTF-8 (lib/http.h).
int param_text(struct http_request *request, const char *name, size_t most, const char **value) {
	int given = param_read(request, name, value);
	if (given <= 0) return given;
	size_t characters = 0;
	for (const char *at = *value; *at; at++) characters += (*at & 0xc0) != 0x80;
	if (characters <= most) return 1;
	answer_problem(request, 400, 0, "The parameter %s must have 1 to %zu characters.", name, most);
	return -1;
}

static bool is_among(const char *name, const char *const *names, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0) return true;
	return false;
}

static char *listed(const char *const *names, size_t count) {
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out) abort();
	for (size_t i = 0; i < count; i++) fprintf(out, "%s%s", i ? ", " : "", names[i]);
	if (fclose(out)) abort();
	return text;
}

// A filter that is misspelt must not be a list of everything.
int param_only(struct http_request *request, const char *const *names, size_t count) {
	const char *name;
	for (size_t i = 0; (name = http_param_name(request, i)); i++) {
		if (is_among(name, names, count)) continue;
		AUTO_FREE char *known = listed(names, count);
		answer_problem(request, 400, 0, "The parameter %.50s is not known here; known are %s.", name, known);
		return -1;
	}
	return 0;
}

int param_limit(struct http_request *request, int64_t *limit) {
	const char *text;
	int given = param_read(request, "limit", &text);
	if (given <= 0) return given;
	char *end = NULL;
	errno = 0;
	long long number = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : 0;
	if (end && !*end && !errno && number >= 1 && number <= PARAM_LIMIT_MOST) {
		*limit = number;
		return 1;
	}
	answer_problem(request, 400, 0, "The parameter limit must be a whole number from 1 to %d.", PARAM_LIMIT_MOST);
	return -1;
}

int param_moment(struct http_request *request, const char *name, int64_t *ms) {
	const char *text;
	int given = param_read(request, name, &text);
	if (given <= 0 || moment_read(text, ms) == 0) return given;
	answer_problem(request, 400, 0, "The parameter %s must be a moment (RFC 3339, like 2026-11-21T12:00:00Z).", name);
	return -1;
}

int param_cursor_read(const char *text, struct param_cursor *cursor) {
	size_t digits = strspn(text, "0123456789");
	bool position = digits >= 1 && digits <= 16 && text[digits] == '.';
	cursor->us[0] = '\0';
	if (uuid_parse_text(position ? text + digits + 1 : text, cursor->key)) return -1;
	if (!position) return 0;
	memcpy(cursor->us, text, digits);
	cursor->us[digits] = '\0';
	return 0;
}

int param_cursor(struct http_request *request, struct param_cursor *cursor) {
	const char *text;
	int given = param_read(request, "after", &text);
	cursor->us[0] = '\0';
	if (given <= 0) return given;
	if (param_cursor_read(text, cursor) == 0) return 1;
	answer_problem(request, 400, 0, "The parameter after must be what a Link gave, or a key.");
	return -1;
}

int param_usuario(struct http_request *request, const struct token_claims *claims, const char **usuario) {
	int given = param_read(request, "usuario", usuario);
	if (given <= 0 || claims->roles & TOKEN_ROLE_ADMIN) return given;
	answer_problem(request, 403, 0, "The parameter usuario needs the realm role admin.");
	return -1;
}

// RFC 3986 section 2.3.
static void write_encoded(FILE *out, const char *text) {
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	for (; *text; text++) fprintf(out, strchr(plain, *text) ? "%c" : "%%%02X", (unsigned char)*text);
}

void param_link_next(struct http_request *request, const char *after, const char *const *names, size_t count) {
	char *link;
	size_t length;
	FILE *out = open_memstream(&link, &length);
	if (!out) abort();
	fprintf(out, "<%s?after=%s", http_path(request), after);
	for (size_t i = 0; i < count; i++) {
		const char *value = http_param(request, names[i], &length);
		if (!value) continue;
		fprintf(out, "&%s=", names[i]);
		write_encoded(out, value);
	}
	fputs(">; rel=\"next\"", out);
	if (fclose(out)) abort();
	http_answer_header(request, "Link", link);
	free(link);
}
