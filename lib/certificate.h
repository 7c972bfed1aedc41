// Certificates as text: PEM (RFC 7468).
#pragma once

#include "lib/error.h"

#include <stddef.h>

// Whether the text holds certificates, at least one, and each of them can be read. ERROR_INPUT: says which cannot, or that there
// is none.
int certificate_check(const char *text, size_t length, struct error *error) MUST_USE;
