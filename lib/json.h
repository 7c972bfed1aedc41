// The one place that includes jansson, with strict reading added: UTF-8 checked, no duplicate keys, bounded depth and size.
#pragma once

#include "lib/error.h"

#include <jansson.h>
#include <stddef.h>

#define AUTO_JSON __attribute__((cleanup(json_cleanup)))
static inline void json_cleanup(json_t **json) {
	json_decref(*json);
}

// ERROR_INPUT where the text is no JSON value, has duplicate keys, NULs, or is larger than most_bytes.
int json_read(const char *text, size_t length, size_t most_bytes, json_t **json, struct error *error) MUST_USE;
// Compact, keys sorted (canonical for our purposes: equal values give equal texts). Owned by the caller.
char *json_write(const json_t *json) MUST_USE;
// Members with type check: NULL / fallback where absent; -1 where it has another type or is out of range.
const char *json_text(const json_t *object, const char *name); // NULL where absent or no string
int json_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t fallback, int64_t *value,
	struct error *error) MUST_USE;
