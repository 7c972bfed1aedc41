#include "lib/digest.h"

#include "lib/mem.h"

#include <openssl/evp.h>

void digest_sha256(const void *data, size_t length, unsigned char digest[DIGEST_BYTES]) {
	if (EVP_Digest(data, length, digest, NULL, EVP_sha256(), NULL) != 1) mem_die("digest: SHA-256 is not available");
}

void digest_sha256_hex(const void *data, size_t length, char text[DIGEST_TEXT]) {
	static const char digits[] = "0123456789abcdef";
	unsigned char digest[DIGEST_BYTES];
	digest_sha256(data, length, digest);
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 0xf];
	}
	text[DIGEST_TEXT - 1] = '\0';
}
