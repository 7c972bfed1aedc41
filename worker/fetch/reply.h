// The answer of this program: one line of JSON (worker/fetch.h).
#pragma once

#include "lib/json.h"
#include "lib/resultado.h"

#define REPLY_BYTES_MAX 65536

// A text for the answer; what is no UTF-8 or a control character in a stranger's words becomes "?". NULL: JSON null.
json_t *reply_text(const char *text) MUST_USE;
json_t *reply_failure(const struct outcome *outcome) MUST_USE;
// Takes the reference. -1: it could not be written.
int reply_write(int fd, json_t *answer) MUST_USE;
