#include "lib/weights.h"

#include "lib/json.h"
#include "lib/mem.h"

#include <string.h>

#define LEAST 0.01
#define MOST  1000.0

static int add(json_t *weights, char *entry, struct error *error) {
	char *equals = strrchr(entry, '='), *end = NULL;
	double weight = equals ? strtod(equals + 1, &end) : 0;
	if (!equals || equals == entry || end == equals + 1 || *end || !(weight >= LEAST && weight <= MOST))
		return error_set(error, ERROR_INPUT, "USER_WEIGHTS: \"%s\" is not name=weight with a weight between %g and %g",
			entry, LEAST, MOST);
	*equals = '\0';
	if (json_object_set_new(weights, entry, json_real(weight)) == 0) return 0;
	return error_set(error, ERROR_INPUT, "USER_WEIGHTS: a name is not UTF-8");
}

int weights_read(const char *text, char **json, struct error *error) {
	AUTO_FREE char *copy = mem_strdup(text);
	AUTO_JSON json_t *weights = json_object();
	*json = NULL;
	for (char *entry = copy, *next; entry && *entry; entry = next) {
		next = strchr(entry, ',');
		if (next) *next++ = '\0';
		if (add(weights, entry, error) < 0) return -1;
	}
	if (json_object_size(weights) > 0) *json = json_write(weights);
	return 0;
}
