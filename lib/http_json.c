// A body that must be a JSON object.
#include "lib/http_internal.h"
#include "lib/json.h"
#include "lib/mem.h"

#include <string.h>
#include <strings.h>

static int refuse(struct http_request *request, int status, const char *detail) {
	http_problem(request, &(struct http_problem){.status = status, .detail = detail});
	return -1;
}

bool http_body_is(const struct http_request *request, const char *type) {
	const char *given = http_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
	if (!given) return false;
	size_t length = strcspn(given, "; \t");
	return length == strlen(type) && strncasecmp(given, type, length) == 0;
}

// JSON knows one kind of number: 3.0 is 3 (JSON Schema, section 6.1.1 of validation).
static json_t *whole_of(const json_t *value) {
	double number = json_is_real(value) ? json_real_value(value) : 0.5;
	bool whole = number >= -9007199254740992.0 && number <= 9007199254740992.0 && number == (double)(json_int_t)number;
	return whole ? json_integer((json_int_t)number) : NULL;
}

// Nesting is bounded by json_read.
static void make_whole(json_t *json) { // NOLINT(misc-no-recursion)
	const char *name;
	json_t *value, *whole;
	size_t i;
	json_object_foreach(json, name, value) {
		if ((whole = whole_of(value)))
			json_object_set_new(json, name, whole);
		else
			make_whole(value);
	}
	json_array_foreach(json, i, value) {
		if ((whole = whole_of(value)))
			json_array_set_new(json, i, whole);
		else
			make_whole(value);
	}
}

int http_json(struct http_request *request, json_t **object) {
	size_t length;
	const char *text = http_body(request, &length);
	struct error error AUTO_ERROR = {0};
	AUTO_JSON json_t *json = NULL;
	*object = NULL;
	if (!http_body_is(request, "application/json") || http_header_count(request, MHD_HTTP_HEADER_CONTENT_TYPE) > 1) {
		http_answer_header(request, MHD_HTTP_HEADER_ACCEPT, "application/json");
		return refuse(request, 415, "The body must be JSON, and Content-Type must say so once: application/json.");
	}
	if (length == 0) return refuse(request, 400, "The body is empty; it must be a JSON object.");
	if (json_read(text, length, request->connection->server->config.body_bytes, &json, &error)) {
		AUTO_FREE char *detail = mem_format("The body was not accepted: %s.", error_text(&error));
		return refuse(request, 400, detail);
	}
	if (!json_is_object(json)) return refuse(request, 400, "The body must be a JSON object.");
	make_whole(json);
	*object = STEAL(json);
	return 0;
}
