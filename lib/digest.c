#include "lib/digest.h"

#include "lib/mem.h"

#include <openssl/evp.h>
#include <pthread.h>

// Fetched once: what EVP_sha256() gives is looked up anew, under locks, at each use (OpenSSL's manual, crypto(7)).
static EVP_MD *sha256;

static void fetch(void) {
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!sha256) mem_die("digest: SHA-256 is not available");
}

void digest_sha256(const void *data, size_t length, unsigned char digest[DIGEST_BYTES]) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fetch);
	if (EVP_Digest(data, length, digest, NULL, sha256, NULL) != 1) mem_die("digest: SHA-256 fails");
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
