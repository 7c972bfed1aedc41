// Reading a request: its target, headers, body and parameters, and the route that takes it.
#include "lib/http_internal.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define PARAMS_MOST 1000

static void refuse(struct http_request *request, int status, const char *detail) {
	http_problem(request, &(struct http_problem){.status = status, .detail = detail});
}

// ---- target and parameters

static int hex(char digit) {
	if (digit >= '0' && digit <= '9') return digit - '0';
	if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
	return -1;
}

static bool is_utf8(const char *text, size_t length) {
	size_t ascii = 0;
	while (ascii < length && !(text[ascii] & 0x80)) ascii++;
	if (ascii == length) return true;
	AUTO_JSON json_t *utf8 = json_stringn(text, length); // jansson takes nothing but UTF-8
	return utf8 != NULL;
}

// RFC 3986 section 2.1, in place. -1: a "%" without two hexadecimal digits, or the result is no UTF-8.
static ssize_t decode(char *text, size_t length, bool plus_is_space) {
	size_t to = 0;
	for (size_t from = 0; from < length; from++) {
		char c = text[from];
		if (c == '+' && plus_is_space) c = ' ';
		if (c == '%') {
			if (length - from < 3 || hex(text[from + 1]) < 0 || hex(text[from + 2]) < 0) return -1;
			c = (char)(hex(text[from + 1]) << 4 | hex(text[from + 2]));
			from += 2;
		}
		text[to++] = c;
	}
	text[to] = '\0';
	return is_utf8(text, to) ? (ssize_t)to : -1;
}

// application/x-www-form-urlencoded (https://url.spec.whatwg.org/#urlencoded-parsing), written over.
static int parse_params(struct http_request *request, char *text, size_t length) {
	struct http_field **end = &request->params;
	size_t count = 0;
	while (*end) end = &(*end)->next;
	for (char *part = text, *next = NULL; part; part = next) {
		size_t left = length - (size_t)(part - text);
		next = memchr(part, '&', left);
		size_t size = next ? (size_t)(next++ - part) : left;
		if (size == 0) continue;
		part[size] = '\0';
		char *value = memchr(part, '=', size);
		size_t name_size = value ? (size_t)(value - part) : size;
		size_t value_size = value ? size - name_size - 1 : 0;
		if (value) *value++ = '\0';
		ssize_t value_length = value ? decode(value, value_size, true) : 0;
		ssize_t name_length = decode(part, name_size, true);
		if (value_length < 0 || name_length < 0 || ++count > PARAMS_MOST) return -1;
		if (strlen(part) != (size_t)name_length) continue; // a name with a NUL in it is nobody's
		http_field_add(end, part, value ? value : "", (size_t)value_length);
		end = &(*end)->next;
	}
	return 0;
}

// Any form of RFC 9112 section 3.2 but the authority form, which belongs to CONNECT. NULL if it is none.
static char *find_path(char *target) {
	for (const unsigned char *c = (unsigned char *)target; *c; c++)
		if (*c <= ' ' || *c == 0x7f || *c == '#') return NULL;
	if (target[0] == '/' || strcmp(target, "*") == 0) return target;
	size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
	if (scheme == 0) return NULL;
	return target + scheme + strcspn(target + scheme, "/?");
}

static int parse_target(struct http_request *request) {
	AUTO_FREE char *copy = mem_strdup(request->target);
	char *path = find_path(copy);
	if (!path) return -1;
	char *query = strchr(path, '?');
	if (query) *query++ = '\0';
	ssize_t length = decode(path, strlen(path), false);
	if (length < 0 || strlen(path) != (size_t)length) return -1;
	request->path = mem_strdup(*path ? path : "/");
	return query ? parse_params(request, query, strlen(query)) : 0;
}

// ---- headers

struct headers {
	unsigned hosts, lengths, encodings;
	const char *length, *encoding, *id;
	bool malformed, differ;
};

static enum MHD_Result look_at_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value) {
	(void)kind;
	struct headers *headers = arg;
	if (!value) value = "";
	// Whoever stands before us may have read "Content-Length :" as another name than we do (RFC 9112 section 5.1).
	if (!*name || name[strcspn(name, " \t\"(),/;<=>?@[\\]{}")]) headers->malformed = true;
	if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) headers->hosts++;
	if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
		if (headers->lengths++ > 0 && strcmp(headers->length, value) != 0) headers->differ = true;
		headers->length = value;
	}
	if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
		headers->encodings++;
		headers->encoding = value;
	}
	if (strcasecmp(name, "X-Request-Id") == 0) headers->id = value;
	return MHD_YES;
}

static void choose_id(struct http_request *request, const char *given) {
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length = given ? strlen(given) : 0;
	if (length >= 1 && length < sizeof(request->id) && strspn(given, allowed) == length)
		memcpy(request->id, given, length + 1);
	else
		uuid_v7(request->id);
}

static bool body_too_large(const struct http_request *request, const char *length) {
	errno = 0;
	unsigned long long bytes = strtoull(length, NULL, 10);
	return errno != 0 || bytes > request->connection->server->config.body_bytes;
}

// What forbids to serve the request, as the status; 0: nothing.
static int find_fault(const struct http_request *request, const struct headers *headers, const char **detail) {
	const struct http_config *config = &request->connection->server->config;
	const union MHD_ConnectionInfo *size = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	*detail = "the request's target is too long";
	if (strlen(request->target) > config->target_bytes) return 414;
	*detail = "the headers are too large";
	if (size && size->header_size > config->header_bytes) return 431;
	*detail = "a header's name has a character that no name may have";
	if (headers->malformed) return 400;
	*detail = "there must be one Host header";
	if (headers->hosts > 1 || (headers->hosts == 0 && strcmp(request->version, MHD_HTTP_VERSION_1_1) == 0)) return 400;
	*detail = "Transfer-Encoding and Content-Length exclude each other";
	if (headers->encodings > 0 && headers->lengths > 0) return 400;
	*detail = "the Content-Length headers differ";
	if (headers->differ) return 400;
	*detail = "the only Transfer-Encoding understood is chunked";
	if (headers->encodings > 1 || (headers->encoding && strcasecmp(headers->encoding, "chunked") != 0)) return 501;
	return 0;
}

// ---- routes

static void refuse_route(struct http_request *request, enum http_rank rank) {
	const struct http_config *config = &request->connection->server->config;
	bool options = strcmp(request->method, MHD_HTTP_METHOD_OPTIONS) == 0;
	if (rank == HTTP_RANK_NONE && !(options && strcmp(request->path, "*") == 0)) {
		AUTO_FREE char *detail = mem_format("there is no %s here", request->path);
		refuse(request, 404, detail);
		return;
	}
	AUTO_FREE char *methods = http_route_methods(config->routes, config->route_count, request->path, rank);
	http_answer_header(request, MHD_HTTP_HEADER_ALLOW, methods);
	AUTO_FREE char *detail = mem_format("%s takes %s", request->path, methods);
	if (options) {
		http_cors_preflight(request, methods);
		http_answer(request, 204, NULL, NULL, 0);
	} else {
		refuse(request, 405, detail);
	}
}

// ---- the request's life

struct http_request *http_request_new(struct http_connection *connection, const char *target) {
	struct http_request *request = mem_zalloc(sizeof(*request));
	request->connection = connection;
	request->mhd = connection->mhd;
	request->started_us = loop_now_us();
	request->target = mem_strdup(target ? target : "");
	request->method = request->version = "";
	return request;
}

void http_request_free(struct http_request *request) {
	if (request->response) MHD_destroy_response(request->response);
	http_packing_free(request->packing);
	http_field_free(request->params);
	http_field_free(request->copies);
	http_field_free(request->headers);
	free(request->target);
	free(request->path);
	free(request->client);
	free(request->body);
	free(request);
}

void http_request_headers(struct http_request *request, const char *method, const char *version) {
	struct headers headers = {.hosts = 0};
	request->method = method;
	request->version = version;
	MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, look_at_header, &headers);
	choose_id(request, headers.id);
	const char *detail;
	int fault = find_fault(request, &headers, &detail);
	if (fault != 0) {
		refuse(request, fault, detail);
		return;
	}
	if (headers.length && body_too_large(request, headers.length)) {
		request->too_large = true;
		// Others have begun to send already, and would miss an answer that comes before they have finished.
		if (http_header(request, MHD_HTTP_HEADER_EXPECT)) http_request_dispatch(request);
	}
}

void http_request_upload(struct http_request *request, const char *data, size_t length) {
	size_t most = request->connection->server->config.body_bytes;
	if (request->too_large || length > most - request->body_length) {
		request->too_large = true;
		return;
	}
	if (request->body_length + length >= request->body_size) {
		size_t size = request->body_size ? request->body_size * 2 : 512;
		while (size <= request->body_length + length) size *= 2;
		request->body = mem_resize(request->body, size, 1);
		request->body_size = size;
	}
	memcpy(request->body + request->body_length, data, length);
	request->body_length += length;
	request->body[request->body_length] = '\0';
}

static bool has_form(const struct http_request *request) {
	return request->body_length > 0 && http_body_is(request, MHD_HTTP_POST_ENCODING_FORM_URLENCODED);
}

// Fills path and parameters; what is wrong with them, or NULL.
static const char *parse(struct http_request *request) {
	if (parse_target(request) != 0) return "the request's target is malformed, badly percent-encoded, or not UTF-8";
	if (!has_form(request)) return NULL;
	AUTO_FREE char *form = mem_dup(request->body, request->body_length + 1);
	if (parse_params(request, form, request->body_length) == 0) return NULL;
	return "the form has too many fields, is badly percent-encoded, or not UTF-8";
}

void http_request_dispatch(struct http_request *request) {
	const struct http_config *config = &request->connection->server->config;
	if (request->too_large) {
		AUTO_FREE char *detail = mem_format("a body may have %zu bytes at most", config->body_bytes);
		refuse(request, 413, detail);
		return;
	}
	const char *fault = parse(request);
	if (fault) {
		refuse(request, 400, fault);
		return;
	}
	enum http_rank rank;
	request->route = http_route_find(config->routes, config->route_count, request->path, request->method, &rank);
	if (request->route)
		request->route->handle(request, config->arg);
	else
		refuse_route(request, rank);
}

// ---- what a handler asks

// A copy that lives as long as the request.
static const char *keep(struct http_request *request, const char *name, const char *value, size_t length) {
	struct http_field **end = &request->copies;
	while (*end) end = &(*end)->next;
	http_field_add(end, name, value, length);
	return (*end)->value;
}

const char *http_method(const struct http_request *request) {
	return request->method;
}

const char *http_path(const struct http_request *request) {
	return request->path ? request->path : "";
}

const char *http_id(const struct http_request *request) {
	return request->id;
}

const char *http_path_param(const struct http_request *request, const char *name) {
	size_t length = 0;
	const char *value = request->route ? http_route_param(request->route, request->path, name, &length) : NULL;
	if (!value) return NULL;
	struct http_request *owner = (struct http_request *)(uintptr_t)request;
	return keep(owner, name, value, length);
}

const char *http_body(const struct http_request *request, size_t *length) {
	*length = request->body_length;
	return request->body ? request->body : "";
}

int64_t http_deadline_left_ms(const struct http_request *request) {
	int64_t left = request->connection->server->config.deadline_ms - (loop_now_us() - request->started_us) / 1000;
	return left > 0 ? left : 0;
}

const char *http_param(const struct http_request *request, const char *name, size_t *length) {
	for (const struct http_field *field = request->params; field; field = field->next)
		if (strcmp(field->name, name) == 0) {
			*length = field->length;
			return field->value;
		}
	return NULL;
}

const char *http_param_name(const struct http_request *request, size_t index) {
	const struct http_field *field = request->params;
	while (field && index--) field = field->next;
	return field ? field->name : NULL;
}

unsigned http_param_count(const struct http_request *request, const char *name) {
	unsigned count = 0;
	for (const struct http_field *field = request->params; field; field = field->next)
		count += strcmp(field->name, name) == 0;
	return count;
}

const char *http_header(const struct http_request *request, const char *name) {
	const char *value = MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
	size_t length = value ? strlen(value) : 0;
	if (length == 0 || (value[length - 1] != ' ' && value[length - 1] != '\t')) return value;
	while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t')) length--;
	struct http_request *owner = (struct http_request *)(uintptr_t)request;
	return keep(owner, name, value, length);
}

struct same_name {
	const char *name;
	unsigned count;
	FILE *values; // NULL: they are only counted
};

static enum MHD_Result look_at_same_name(void *arg, enum MHD_ValueKind kind, const char *name, const char *value) {
	(void)kind;
	struct same_name *same = arg;
	if (strcasecmp(name, same->name) != 0) return MHD_YES;
	if (same->values) fprintf(same->values, "%s%s", same->count > 0 ? "," : "", value ? value : "");
	same->count++;
	return MHD_YES;
}

unsigned http_header_count(const struct http_request *request, const char *name) {
	struct same_name same = {.name = name};
	MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, look_at_same_name, &same);
	return same.count;
}

const char *http_client(const struct http_request *request) {
	if (request->client) return request->client;
	struct http_request *owner = (struct http_request *)(uintptr_t)request;
	const struct http_connection *connection = request->connection;
	struct in6_addr address = connection->address;
	if (connection->proxy) {
		AUTO_FREE char *forwarded = NULL;
		size_t size;
		struct same_name same = {.name = "X-Forwarded-For", .values = open_memstream(&forwarded, &size)};
		if (!same.values) abort();
		MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, look_at_same_name, &same);
		fclose(same.values);
		http_proxies_client(connection->server->proxies, forwarded, &address);
	}
	return owner->client = http_address_text(&address);
}

char *http_origin(const struct http_request *request) {
	const char *host = http_header(request, MHD_HTTP_HEADER_HOST), *scheme = "http";
	if (request->connection->proxy) {
		const char *forwarded = http_header(request, "X-Forwarded-Host");
		const char *proto = http_header(request, "X-Forwarded-Proto");
		if (forwarded) host = forwarded;
		if (proto && strcasecmp(proto, "https") == 0) scheme = "https";
	}
	return host && http_host_valid(host) ? mem_format("%s://%s", scheme, host) : NULL;
}

bool http_accepts_coding(const struct http_request *request, const char *coding) {
	const char *list = http_header(request, MHD_HTTP_HEADER_ACCEPT_ENCODING);
	return list && http_wish_coding(list, coding);
}

size_t http_language(const struct http_request *request) {
	const char *const *languages = request->connection->server->config.languages;
	const char *list = http_header(request, MHD_HTTP_HEADER_ACCEPT_LANGUAGE);
	return languages && list ? http_wish_language(list, languages) : 0;
}
