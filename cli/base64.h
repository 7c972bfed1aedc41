// RFC 4648, sections 4 and 5: both alphabets are taken, with or without padding.
#pragma once

#include "lib/attr.h"

#include <stddef.h>

// NULL: it is none. NUL-terminated, owned by the caller.
char *base64_decode(const char *text, size_t length, size_t *bytes) MUST_USE;
