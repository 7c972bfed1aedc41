// Which jobs frontends have said to be followed (lib/follow.h): those that run here and those that may be claimed here yet.
#pragma once

#include "lib/attr.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stdint.h>

struct followed;

struct followed *followed_new(void) MUST_USE;
void followed_free(struct followed *followed); // NULL is fine
// Until now_ms + FOLLOW_HOLD_MS. Where a thousand and more are followed some are not remembered: they are written at the usual
// pace, and their followers see them a second later.
void followed_add(struct followed *followed, const char key[UUID_TEXT], int64_t now_ms);
bool followed_has(const struct followed *followed, const char key[UUID_TEXT], int64_t now_ms);
