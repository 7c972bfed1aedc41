// Job keys: lower-case UUIDs as text (RFC 9562).
#pragma once

#include "lib/attr.h"

#define UUID_TEXT 37 // with the NUL

void uuid_v7(char text[UUID_TEXT]); // section 5.7; the kernel's random bytes; monotonic within a process
void uuid_v5(const char *space, const char *name, char text[UUID_TEXT]); // section 5.5; space: a UUID as text
int uuid_parse_text(const char *text, char normal[UUID_TEXT]) MUST_USE;  // 0, or -1 if it is no UUID; writes it in lower case
void uuid_idempotent(const char *owner, const char *key, char text[UUID_TEXT]); // UUIDv5(UUIDv5(our namespace, owner), key)
