// Byte ranges and lists of entity tags as requests have them (RFC 9110 sections 8.8.3, 13.1 and 14); texts alone.
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stdint.h>

// The value of a Range, of a body of that size. 206: one range, which is [*from, *from + *length) of it; 416: one that lies behind
// its end; 200: none that is known here, or several. But for 206 both places are left alone.
int range_read(const char *text, uint64_t size, uint64_t *from, uint64_t *length) MUST_USE;
// Whether a list has that entity tag, weak or strong. etag: strong, with its quotes, and between them what may stand there.
bool range_lists(const char *list, const char *etag) MUST_USE;
