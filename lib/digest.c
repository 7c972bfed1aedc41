#include "lib/digest.h"

#include "lib/mem.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>

// Fetched once: what EVP_sha256() gives is looked up anew, under locks, at each use (OpenSSL's manual, crypto(7)).
static EVP_MD *sha256;

static void fetch(void) {
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!sha256) mem_die("digest: SHA-256 is not available");
}

static const EVP_MD *algorithm(void) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fetch);
	return sha256;
}

static void write_hex(const unsigned char digest[DIGEST_BYTES], char text[DIGEST_TEXT]) {
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 0xf];
	}
	text[DIGEST_TEXT - 1] = '\0';
}

void digest_sha256(const void *data, size_t length, unsigned char digest[DIGEST_BYTES]) {
	if (EVP_Digest(data, length, digest, NULL, algorithm(), NULL) != 1) mem_die("digest: SHA-256 fails");
}

void digest_sha256_hex(const void *data, size_t length, char text[DIGEST_TEXT]) {
	unsigned char digest[DIGEST_BYTES];
	digest_sha256(data, length, digest);
	write_hex(digest, text);
}

struct digest *digest_new(void) {
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (!context || EVP_DigestInit_ex(context, algorithm(), NULL) != 1) mem_die("digest: SHA-256 fails");
	return (struct digest *)context;
}

void digest_add(struct digest *digest, const void *data, size_t length) {
	if (EVP_DigestUpdate((EVP_MD_CTX *)digest, data, length) != 1) mem_die("digest: SHA-256 fails");
}

void digest_end(struct digest *digest, char text[DIGEST_TEXT]) {
	unsigned char bytes[EVP_MAX_MD_SIZE];
	if (text) {
		if (EVP_DigestFinal_ex((EVP_MD_CTX *)digest, bytes, NULL) != 1) mem_die("digest: SHA-256 fails");
		write_hex(bytes, text);
	}
	EVP_MD_CTX_free((EVP_MD_CTX *)digest);
}

void digest_hmac_sha256(
	const void *key, size_t key_length, const void *data, size_t length, unsigned char digest[DIGEST_BYTES]) {
	if (!HMAC(algorithm(), key, (int)key_length, data, length, digest, NULL)) mem_die("digest: HMAC fails");
}

char *digest_base64(const void *data, size_t length) {
	char *text = mem_zalloc((length + 2) / 3 * 4 + 1);
	EVP_EncodeBlock((unsigned char *)text, data, (int)length);
	return text;
}

unsigned char *digest_base64_read(const char *text, size_t *length) {
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t size = strlen(text), plain = strspn(text, letters);
	// EVP_DecodeBlock takes blanks around it, and padding for zeros.
	if (size == 0 || size % 4 || size - plain > 2 || strspn(text + plain, "=") != size - plain) return NULL;
	unsigned char *data = mem_zalloc(size / 4 * 3 + 1);
	if (EVP_DecodeBlock(data, (const unsigned char *)text, (int)size) < 0) {
		free(data);
		return NULL;
	}
	*length = size / 4 * 3 - (size - plain);
	return data;
}
