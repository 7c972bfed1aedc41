// How long runs take, from claim to end, by owner and by plan: distributions in bounded memory, of those seen last.
#pragma once

#include "lib/attr.h"
#include "lib/json.h"
#include "observer/sketch.h"

struct runs;

struct runs *runs_new(void) MUST_USE;
void runs_free(struct runs *runs);                                                 // NULL is fine
void runs_add(struct runs *runs, const char *owner, const char *plan, int64_t ms); // plan NULL: none was found
const struct sketch *runs_all(const struct runs *runs);                            // empty at first
const struct sketch *runs_of_owner(const struct runs *runs, const char *owner);    // NULL: not known
json_t *runs_plans(const struct runs *runs) MUST_USE; // {"make": {"ended": weight, "p50_ms": …, "p95_ms": …}, …}
