// SHA-256 (FIPS 180-4), as lower-case hexadecimal or raw bytes; HMAC (RFC 2104) with it; base64 (RFC 4648 section 4).
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_BYTES 32
#define DIGEST_TEXT  65 // with the NUL

void digest_sha256(const void *data, size_t length, unsigned char digest[DIGEST_BYTES]);
void digest_sha256_hex(const void *data, size_t length, char text[DIGEST_TEXT]);

// Of what comes bit by bit.
struct digest;
struct digest *digest_new(void) MUST_USE;
void digest_add(struct digest *digest, const void *data, size_t length);
void digest_end(struct digest *digest, char text[DIGEST_TEXT]); // frees it; NULL text: only that

void digest_hmac_sha256(
	const void *key, size_t key_length, const void *data, size_t length, unsigned char digest[DIGEST_BYTES]);

char *digest_base64(const void *data, size_t length) MUST_USE; // owned
// With its padding, and nothing else; NULL: it is none. Owned.
unsigned char *digest_base64_read(const char *text, size_t *length) MUST_USE;
