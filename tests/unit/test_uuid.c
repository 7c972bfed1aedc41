#include "lib/digest.h"
#include "lib/loop.h"
#include "lib/uuid.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static void version_7_keys_grow_within_a_process(void **state) {
	(void)state;
	char before[UUID_TEXT], now[UUID_TEXT];
	uuid_v7(before);
	for (int i = 0; i < 50000; i++) { // more than a counter's worth in some milliseconds
		uuid_v7(now);
		assert_true(strcmp(before, now) < 0);
		memcpy(before, now, sizeof(now));
	}
}

static void version_7_keys_carry_time_version_and_variant(void **state) {
	(void)state;
	char key[UUID_TEXT];
	int64_t before_ms = loop_wall_ms();
	uuid_v7(key);
	assert_int_equal(strlen(key), 36);
	assert_int_equal(key[14], '7');
	assert_non_null(strchr("89ab", key[19]));
	char time[13];
	memcpy(time, key, 8);
	memcpy(time + 8, key + 9, 4);
	time[12] = '\0';
	// Time may run ahead after many keys in one millisecond, by no more than those took.
	assert_in_range(strtoll(time, NULL, 16), before_ms, loop_wall_ms() + 100);
}

enum { THREADS = 4, KEYS = 5000 };

static void *make_keys(void *arg) {
	char(*keys)[UUID_TEXT] = arg;
	for (int i = 0; i < KEYS; i++) uuid_v7(keys[i]);
	return NULL;
}

static int compare(const void *a, const void *b) {
	return strcmp(a, b);
}

static void threads_never_get_the_same_key(void **state) {
	(void)state;
	static char keys[THREADS * KEYS][UUID_TEXT];
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, make_keys, keys[i * KEYS]), 0);
	for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
	qsort(keys, COUNT_OF(keys), sizeof(keys[0]), compare);
	for (size_t i = 1; i < COUNT_OF(keys); i++) {
		assert_string_not_equal(keys[i - 1], keys[i]);
		// The 60 bits of time and counter differ already, without the random ones.
		assert_memory_not_equal(keys[i - 1], keys[i], 18);
	}
}

static void version_5_agrees_with_the_rfc(void **state) {
	(void)state;
	char key[UUID_TEXT];
	uuid_v5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com", key); // RFC 9562, A.4
	assert_string_equal(key, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

static void an_idempotency_key_gives_its_owner_the_same_job_for_ever(void **state) {
	(void)state;
	char one[UUID_TEXT], two[UUID_TEXT];
	uuid_idempotent("sub-1", "order-7", one);
	// uuid5(uuid5(uuid5(NAMESPACE_DNS, "trabajos"), "sub-1"), "order-7") of Python's uuid
	assert_string_equal(one, "864b4db8-b319-5660-833a-d5a257a60460");
	uuid_idempotent("sub-2", "order-7", two);
	assert_string_not_equal(one, two);
	uuid_idempotent("sub-1", "order-8", two);
	assert_string_not_equal(one, two);
	uuid_idempotent("sub-1order", "-7", two);
	assert_string_not_equal(one, two);
}

static void reading_writes_lower_case_and_refuses_the_rest(void **state) {
	(void)state;
	char key[UUID_TEXT];
	assert_int_equal(uuid_parse_text("2ED6657D-e927-568B-95E1-2665A8AEA6A2", key), 0);
	assert_string_equal(key, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
	const char *const bad[] = {"", "2ed6657d", "2ed6657d-e927-568b-95e1-2665a8aea6a",
		"2ed6657d-e927-568b-95e1-2665a8aea6a22", "2ed6657de927-568b-95e1-2665a8aea6a2-",
		"{2ed6657d-e927-568b-95e1-2665a8aea6a2}", "2ed6657d-e927-568b-95e1-2665a8aea6ag",
		" 2ed6657d-e927-568b-95e1-2665a8aea6a", "2ed6657d-e927-568b-95e1-2665a8aea6a2\n",
		"0x2ed657-e927-568b-95e1-2665a8aea6a2", "2ed6657d-e927-568b-95e1-+665a8aea6a2"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		if (uuid_parse_text(bad[i], key) != -1) fail_msg("\"%s\" was taken", bad[i]);
	}
	assert_int_equal(uuid_parse_text(NULL, key), -1);
}

static void sha256_agrees_with_the_standard(void **state) {
	(void)state;
	char text[DIGEST_TEXT];
	digest_sha256_hex("abc", 3, text);
	assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_sha256_hex("", 0, text);
	assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	unsigned char raw[DIGEST_BYTES];
	digest_sha256("abc", 3, raw);
	assert_int_equal(raw[0], 0xba);
	assert_int_equal(raw[31], 0xad);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_7_keys_grow_within_a_process),
		cmocka_unit_test(version_7_keys_carry_time_version_and_variant),
		cmocka_unit_test(threads_never_get_the_same_key),
		cmocka_unit_test(version_5_agrees_with_the_rfc),
		cmocka_unit_test(an_idempotency_key_gives_its_owner_the_same_job_for_ever),
		cmocka_unit_test(reading_writes_lower_case_and_refuses_the_rest),
		cmocka_unit_test(sha256_agrees_with_the_standard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
