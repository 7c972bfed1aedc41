// Moments as text: RFC 3339, section 5.6, in milliseconds since the epoch.
#pragma once

#include "lib/attr.h"

#include <stdint.h>

// "2026-11-21T12:00:00Z", with fractions and offsets; a space instead of T is fine. Leap seconds count as the next second.
// -1: no such moment.
int moment_read(const char *text, int64_t *moment_ms) MUST_USE;
