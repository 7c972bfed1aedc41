// SHA-256 (FIPS 180-4), as lower-case hexadecimal or raw bytes.
#pragma once

#include <stddef.h>

#define DIGEST_BYTES 32
#define DIGEST_TEXT  65 // with the NUL

void digest_sha256(const void *data, size_t length, unsigned char digest[DIGEST_BYTES]);
void digest_sha256_hex(const void *data, size_t length, char text[DIGEST_TEXT]);
