// The child's answers (worker/fetch.h), read.
#pragma once

#include "lib/json.h"
#include "worker/fetch.h"

// An answer to "fetch" with ok true. -1: not as it should be.
int fetch_result_read(const json_t *answer, struct fetch_result *result, struct error *error) MUST_USE;
// An answer with ok false. -1: not as it should be, outcome is not set.
int fetch_failure_read(const json_t *answer, struct outcome *outcome) MUST_USE;
