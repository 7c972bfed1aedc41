// The highest attempt known of each of the latest keys, in bounded memory: records of `resultados` come at least once.
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen;

struct seen *seen_new(size_t most) MUST_USE; // keys remembered; the longest known goes first
void seen_free(struct seen *seen);           // NULL is fine
// Whether this is the first record of the key, or of a higher attempt than all before. key: a UUID as text.
bool seen_is_news(struct seen *seen, const char *key, int64_t attempt);
