// Submissions per owner: a token bucket each, in a bounded table. An owner who was pushed out starts anew with a full bucket.
#pragma once

#include "lib/attr.h"

#include <stdint.h>

struct rate;

struct rate *rate_new(int64_t per_s, int64_t burst) MUST_USE; // per_s 0: no limit
void rate_free(struct rate *rate);
// Takes one. 0: fine; else after how many milliseconds one will be there.
int64_t rate_take_ms(struct rate *rate, const char *owner, int64_t now_ms) MUST_USE;
