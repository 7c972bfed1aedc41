#include "lib/json.h"

#include "lib/mem.h"

#include <inttypes.h>
#include <stdbool.h>

#define DEPTH_MAX 64

// Recursion is bounded by `left`, and by jansson's own limit of 2048 before.
static bool deeper_than(const json_t *json, int left) {
	if (!json_is_array(json) && !json_is_object(json)) return false;
	if (left == 0) return true;
	if (json_is_array(json)) {
		for (size_t i = 0; i < json_array_size(json); i++) {
			if (deeper_than(json_array_get(json, i), left - 1)) return true;
		}
		return false;
	}
	json_t *object = (json_t *)(uintptr_t)json;
	for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
		if (deeper_than(json_object_iter_value(at), left - 1)) return true;
	}
	return false;
}

int json_read(const char *text, size_t length, size_t most_bytes, json_t **json, struct error *error) {
	*json = NULL;
	if (length > most_bytes) return error_set(error, ERROR_INPUT, "JSON is larger than %zu bytes", most_bytes);
	json_error_t problem;
	AUTO_JSON json_t *read = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
	if (!read) {
		// jansson's text ends with " near '…'", a piece of the input that may be cut in the middle of a character.
		char *near = strstr(problem.text, " near ");
		if (near) *near = '\0';
		return error_set(
			error, ERROR_INPUT, "JSON, line %d, column %d: %s", problem.line, problem.column, problem.text);
	}
	if (deeper_than(read, DEPTH_MAX)) return error_set(error, ERROR_INPUT, "JSON is nested deeper than %d", DEPTH_MAX);
	*json = STEAL(read);
	return 0;
}

char *json_write(const json_t *json) {
	if (json_is_object(json) && json_object_size(json) == 0) return mem_strdup("{}"); // most jobs ask for nothing
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	if (!text) mem_die("json: a value that cannot be written, or out of memory");
	return text;
}

const char *json_text(const json_t *object, const char *name) {
	return json_string_value(json_object_get(object, name));
}

int json_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t fallback, int64_t *value,
	struct error *error) {
	const json_t *member = json_object_get(object, name);
	*value = fallback;
	if (!member) return 0;
	json_int_t number = json_integer_value(member);
	if (!json_is_integer(member) || number < min || number > max) {
		return error_set(error, ERROR_INPUT, "%s must be a whole number from %" PRId64 " to %" PRId64, name, min, max);
	}
	*value = number;
	return 0;
}
