// Which route takes a request. Pure: paths and tables in, a route out.
#include "lib/http_internal.h"

#include <string.h>

static bool lists(const char *words, const char *word, size_t length) {
	for (const char *at = words; *at; at += strspn(at, " ")) {
		size_t size = strcspn(at, " ");
		if (size == length && memcmp(at, word, size) == 0) return true;
		at += size;
	}
	return false;
}

static bool allows(const struct http_route *route, const char *method) {
	if (lists(route->methods, method, strlen(method))) return true;
	return strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 && lists(route->methods, "GET", 3);
}

static enum http_rank rank_of(const char *pattern) {
	size_t length = strlen(pattern);
	if (length >= 2 && strcmp(pattern + length - 2, "/*") == 0) return HTTP_RANK_PREFIX;
	return strchr(pattern, '{') ? HTTP_RANK_TEMPLATE : HTTP_RANK_EXACT;
}

// Where the path fits: true; and, for a name that is one of the pattern's parameters, what stands in its place.
static bool fits(const char *pattern, const char *path, const char *name, const char **value, size_t *length) {
	bool prefix = rank_of(pattern) == HTTP_RANK_PREFIX;
	while (*pattern) {
		if (prefix && strcmp(pattern, "*") == 0) return true;
		if (*pattern != '{') {
			if (*pattern++ != *path++) return false;
			continue;
		}
		size_t size = strcspn(path, "/"), name_length = strcspn(++pattern, "*}");
		bool rest = pattern[name_length] == '*';
		if (rest) size = strlen(path);
		if (size == 0) return false;
		if (name && strlen(name) == name_length && memcmp(name, pattern, name_length) == 0) {
			*value = path;
			*length = size;
		}
		path += size;
		pattern += name_length + 1 + rest;
	}
	return *path == '\0';
}

const struct http_route *http_route_find(
	const struct http_route *routes, size_t count, const char *path, const char *method, enum http_rank *rank) {
	for (*rank = HTTP_RANK_EXACT; *rank < HTTP_RANK_NONE; ++*rank) {
		bool known = false;
		for (size_t i = 0; i < count; i++) {
			if (rank_of(routes[i].path) != *rank || !fits(routes[i].path, path, NULL, NULL, NULL)) continue;
			if (allows(&routes[i], method)) return &routes[i];
			known = true;
		}
		if (known) break;
	}
	return NULL;
}

char *http_route_methods(const struct http_route *routes, size_t count, const char *path, enum http_rank rank) {
	char *list = NULL;
	size_t size;
	FILE *out = open_memstream(&list, &size);
	if (!out) abort();
	for (size_t i = 0; i < count; i++) {
		const struct http_route *route = &routes[i];
		if (rank_of(route->path) != rank || !fits(route->path, path, NULL, NULL, NULL)) continue;
		for (const char *at = route->methods; *at; at += strspn(at, " ")) {
			int length = (int)strcspn(at, " ");
			fprintf(out, "%.*s, ", length, at);
			at += length;
		}
		if (lists(route->methods, "GET", 3) && !lists(route->methods, "HEAD", 4)) fputs("HEAD, ", out);
	}
	fputs("OPTIONS", out);
	fclose(out);
	return list;
}

const char *http_route_param(const struct http_route *route, const char *path, const char *name, size_t *length) {
	const char *value = NULL;
	return fits(route->path, path, name, &value, length) ? value : NULL;
}
