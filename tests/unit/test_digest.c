// Digests by their published vectors.
#include "lib/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void what_comes_bit_by_bit_has_the_digest_of_the_whole(void **state UNUSED) {
	char bits[DIGEST_TEXT], whole[DIGEST_TEXT];
	struct digest *digest = digest_new();
	digest_add(digest, "ab", 2);
	digest_add(digest, "", 0);
	digest_add(digest, "c", 1);
	digest_end(digest, bits);
	digest_sha256_hex("abc", 3, whole);
	assert_string_equal(bits, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); // FIPS 180-4
	assert_string_equal(bits, whole);
	digest_end(digest_new(), NULL);
}

// RFC 4231 sections 4.3 and 4.7: a short key, and one that is longer than a block.
static void hmac_gives_the_vectors_of_the_rfc(void **state UNUSED) {
	unsigned char mac[DIGEST_BYTES], key[131];
	digest_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
	AUTO_FREE char *text = digest_base64(mac, sizeof(mac));
	assert_string_equal(text, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
	memset(key, 0xaa, sizeof(key));
	digest_hmac_sha256(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54, mac);
	static const unsigned char expected[] = {0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26, 0xaa, 0xcb,
		0xf5, 0xb7, 0x7f, 0x8e, 0x0b, 0xc6, 0x21, 0x37, 0x28, 0xc5, 0x14, 0x05, 0x46, 0x04, 0x0f, 0x0e, 0xe3, 0x7f,
		0x54};
	assert_memory_equal(mac, expected, sizeof(expected));
}

static void base64_comes_back_and_nothing_else_is_taken(void **state UNUSED) {
	static const char *const bad[] = {
		"", "a", "ab", "abc", "ab=", "a===", "====", "ab==ab==", " abcd", "abcd ", "ab\ncd", "ab-_", "=abc", "ab=c"};
	for (size_t length = 1; length < 40; length++) {
		unsigned char data[40];
		size_t back = 0;
		for (size_t i = 0; i < length; i++) data[i] = (unsigned char)(i * 37 + length);
		AUTO_FREE char *text = digest_base64(data, length);
		AUTO_FREE unsigned char *read = digest_base64_read(text, &back);
		assert_non_null(read);
		assert_int_equal(back, length);
		assert_memory_equal(read, data, length);
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		size_t length;
		AUTO_FREE unsigned char *read = digest_base64_read(bad[i], &length);
		if (read) fail_msg("taken: %s", bad[i]);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_bit_by_bit_has_the_digest_of_the_whole),
		cmocka_unit_test(hmac_gives_the_vectors_of_the_rfc),
		cmocka_unit_test(base64_comes_back_and_nothing_else_is_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
