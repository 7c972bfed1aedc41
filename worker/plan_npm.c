#include "lib/json.h"
#include "worker/plan_part.h"

#include <string.h>

// As lenient as npm is (duplicate keys, byte order mark): what npm would run must not be refused here.
int plan_npm_has_main(const char *text, size_t length, struct error *error) {
	json_error_t where;
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		length -= 3;
	}
	AUTO_JSON json_t *root = json_loadb(text, length, JSON_ALLOW_NUL, &where);
	if (!root) {
		// jansson's text ends with " near '…'": a piece of a stranger's file, cut anywhere.
		char *near = strstr(where.text, " near ");
		if (near) *near = '\0';
		return error_set(error, ERROR_INPUT, "package.json: line %d: %s", where.line, where.text);
	}
	if (!json_is_object(root)) return error_set(error, ERROR_INPUT, "package.json: this is no JSON object");
	const json_t *script = json_object_get(json_object_get(root, "scripts"), "main");
	return json_is_string(script) && json_string_length(script) > 0;
}
