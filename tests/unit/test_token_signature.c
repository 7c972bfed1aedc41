// Hand-made bad tokens: algorithms, signatures and keys.
#include "tests/unit/token_maker.h"

// ---- header and signature

static void alg_none_is_refused(void **state) {
	(void)state;
	static const char *const spellings[] = {"none", "None", "NONE", ""};
	for (size_t i = 0; i < COUNT_OF(spellings); i++) {
		AUTO_FREE char *header = mem_format("{\"alg\":\"%s\",\"kid\":\"rsa\"}", spellings[i]);
		expect_header(header, "RS256", rsa, TOKEN_BAD, "is not accepted");
		AUTO_FREE char *payload = payload_make((struct payload){0}), *token = make(header, payload, rsa, "RS256");
		strrchr(token, '.')[1] = 0;
		expect(token, TOKEN_BAD, "is not accepted");
	}
}

static void the_public_key_is_no_hmac_secret(void **state) {
	(void)state;
	AUTO_FREE char *payload = payload_make((struct payload){0}), *jwk = rsa_jwk(rsa, "rsa", "");
	const char *header = "{\"alg\":\"HS256\",\"kid\":\"rsa\"}";
	AUTO_FREE char *first = base64url(header, strlen(header)), *second = base64url(payload, strlen(payload));
	AUTO_FREE char *input = mem_format("%s.%s", first, second);
	unsigned char mac[32];
	HMAC(EVP_sha256(), jwk, (int)strlen(jwk), (const unsigned char *)input, strlen(input), mac, NULL);
	AUTO_FREE char *third = base64url(mac, sizeof mac), *token = mem_format("%s.%s", input, third);
	expect(token, TOKEN_BAD, "HS256 is not accepted");
}

static void an_algorithm_must_fit_the_key(void **state) {
	(void)state;
	expect_header("{\"alg\":\"ES256\",\"kid\":\"rsa\"}", "ES256", ec, TOKEN_BAD, "does not fit the key");
	expect_header("{\"alg\":\"RS256\",\"kid\":\"ec\"}", "RS256", rsa, TOKEN_BAD, "does not fit the key");
	expect_header("{\"alg\":\"PS256\",\"kid\":\"rs-only\"}", "PS256", rsa, TOKEN_BAD, "does not fit the key");
	expect_header("{\"alg\":\"RS256\",\"kid\":\"rs-only\"}", "RS256", rsa, TOKEN_FINE, NULL);
	// declared as one, made as the other
	expect_header("{\"alg\":\"PS256\",\"kid\":\"rsa\"}", "RS256", rsa, TOKEN_BAD, "signature");
	expect_header("{\"alg\":\"RS512\",\"kid\":\"rsa\"}", "RS256", rsa, TOKEN_BAD, "RS512 is not accepted");
}

static void critical_and_unencoded_and_compressed_are_refused(void **state) {
	(void)state;
	expect_header("{\"alg\":\"RS256\",\"kid\":\"rsa\",\"crit\":[\"exp\"]}", "RS256", rsa, TOKEN_BAD, "crit");
	expect_header("{\"alg\":\"RS256\",\"kid\":\"rsa\",\"b64\":true}", "RS256", rsa, TOKEN_BAD, "b64");
	expect_header("{\"alg\":\"RS256\",\"kid\":\"rsa\",\"zip\":\"DEF\"}", "RS256", rsa, TOKEN_BAD, "zip");
}

static void a_kid_is_needed_and_must_be_known(void **state) {
	(void)state;
	expect_header("{\"alg\":\"RS256\"}", "RS256", rsa, TOKEN_BAD, "kid");
	expect_header("{\"alg\":\"RS256\",\"kid\":7}", "RS256", rsa, TOKEN_BAD, "kid");
	expect_header("{\"alg\":\"RS256\",\"kid\":\"\"}", "RS256", rsa, TOKEN_BAD, "kid");
	expect_header("{\"alg\":\"RS256\",\"kid\":\"other\"}", "RS256", rsa, TOKEN_KEY_UNKNOWN, "kid");
}

static void a_key_inside_the_token_is_not_believed(void **state) {
	(void)state;
	AUTO_FREE char *jwk = rsa_jwk(stranger, "rsa", ",\"use\":\"sig\"");
	AUTO_FREE char *header = mem_format("{\"alg\":\"RS256\",\"kid\":\"rsa\",\"jwk\":%s}", jwk);
	expect_header(header, "RS256", stranger, TOKEN_BAD, "signature");
}

static void a_tampered_token_is_refused(void **state) {
	(void)state;
	AUTO_FREE char *good = payload_make((struct payload){0}),
		       *evil = payload_make((struct payload){.roles = "[\"admin\"]"});
	AUTO_FREE char *token = make(HEADER, good, rsa, "RS256"), *other = make(HEADER, evil, stranger, "RS256");
	expect(other, TOKEN_BAD, "signature");
	AUTO_FREE char *body = mem_strndup(other, (size_t)(strrchr(other, '.') - other));
	AUTO_FREE char *mixed = mem_format("%s%s", body, strrchr(token, '.'));
	expect(mixed, TOKEN_BAD, "signature");
	strrchr(token, '.')[1] = 0;
	expect(token, TOKEN_BAD, "signature");
}

static void an_ecdsa_signature_has_exactly_64_bytes(void **state) {
	(void)state;
	const char *header = "{\"alg\":\"ES256\",\"kid\":\"ec\"}";
	AUTO_FREE char *payload = payload_make((struct payload){0});
	AUTO_FREE char *first = base64url(header, strlen(header)), *second = base64url(payload, strlen(payload));
	AUTO_FREE char *input = mem_format("%s.%s", first, second);
	unsigned char raw[64], padded[66] = {0}, nothing[64] = {0};
	sign(ec, "ES256", input, raw);
	memcpy(padded + 1, raw, 32); // the same two numbers, each with a zero before it
	memcpy(padded + 34, raw + 32, 32);
	AUTO_FREE char *wide = base64url(padded, sizeof padded), *zero = base64url(nothing, sizeof nothing);
	AUTO_FREE char *exact = base64url(raw, sizeof raw), *odd = base64url(raw, 63);
	AUTO_FREE char *a = mem_format("%s.%s", input, exact), *b = mem_format("%s.%s", input, wide),
		       *c = mem_format("%s.%s", input, odd), *d = mem_format("%s.%s", input, zero);
	expect(a, TOKEN_FINE, NULL);
	expect(b, TOKEN_BAD, "signature");
	expect(c, TOKEN_BAD, "signature");
	expect(d, TOKEN_BAD, "signature");
}

// ---- keys

static void refuse_keys(const char *set, const char *reason) {
	struct token_keys *none = NULL;
	struct error error AUTO_ERROR = {0};
	assert_int_equal(token_keys_read(set, strlen(set), &none, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	if (!strstr(error_text(&error), reason)) fail_msg("\"%s\" does not mention \"%s\"", error_text(&error), reason);
}

static void refuse_key(char *jwk, const char *reason) {
	AUTO_FREE char *set = mem_format("{\"keys\":[%s]}", jwk);
	free(jwk);
	refuse_keys(set, reason);
}

static void weak_and_foreign_keys_are_passed_over(void **state) {
	(void)state;
	refuse_key(rsa_jwk(small, "k", ",\"use\":\"sig\""), "1024 bits");
	refuse_key(rsa_jwk(rsa, "k", ",\"use\":\"enc\""), "use");
	refuse_key(rsa_jwk(rsa, "k", ""), "use");
	refuse_key(rsa_jwk(rsa, "", ",\"use\":\"sig\""), "kid");
	refuse_key(rsa_jwk(rsa, "k", ",\"use\":\"sig\",\"alg\":7"), "alg");
	refuse_key(ec_jwk(p384, "k", "P-384", 48), "P-256");
	refuse_key(ec_jwk(p384, "k", "P-256", 48), "P-256");
	refuse_key(mem_strdup("{\"kty\":\"oct\",\"kid\":\"k\",\"use\":\"sig\",\"k\":\"c2VjcmV0\"}"), "kty");
	refuse_key(mem_strdup("{\"kty\":\"RSA\",\"kid\":\"k\",\"use\":\"sig\",\"n\":\"***\",\"e\":\"AQAB\"}"), "n or e");
	refuse_key(mem_strdup("{\"kty\":\"oct\",\"kid\":\"\\u001b[31m\xc3\xb1\",\"use\":\"sig\"}"), "key ?[31m??: kty");
	refuse_keys("{\"keys\":[]}", "none of 0");
	refuse_keys("{\"keys\":7}", "array");
	refuse_keys("{}", "array");
	refuse_keys("[]", "array");
	refuse_keys("hello", "");
}

static void an_exponent_of_one_is_no_key(void **state) {
	(void)state;
	AUTO_FREE char *n = number(rsa, OSSL_PKEY_PARAM_RSA_N, 0);
	refuse_key(mem_format("{\"kty\":\"RSA\",\"kid\":\"k\",\"use\":\"sig\",\"n\":\"%s\",\"e\":\"AQ\"}", n), "exponent");
	refuse_key(mem_format("{\"kty\":\"RSA\",\"kid\":\"k\",\"use\":\"sig\",\"n\":\"%s\",\"e\":\"Ag\"}", n), "exponent");
}

static void a_point_off_the_curve_is_no_key(void **state) {
	(void)state;
	unsigned char one[32] = {[31] = 1};
	AUTO_FREE char *x = base64url(one, sizeof one);
	refuse_key(
		mem_format("{\"kty\":\"EC\",\"kid\":\"k\",\"use\":\"sig\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}", x, x),
		"cannot be used");
}

static void the_same_kid_with_other_numbers_is_another_key(void **state) {
	(void)state;
	AUTO_FREE char *payload = payload_make((struct payload){0}), *token = make(HEADER, payload, rsa, "RS256");
	struct token_claims *claims = NULL;
	assert_int_equal(verify(token, &claims, NULL), TOKEN_FINE);
	AUTO_FREE char *jwk = rsa_jwk(stranger, "rsa", ",\"use\":\"sig\""), *set = mem_format("{\"keys\":[%s,%s]}", jwk, jwk);
	struct token_keys *others = NULL;
	assert_int_equal(token_keys_read(set, strlen(set), &others, NULL), 0);
	assert_int_equal(token_keys_count(others), 1);
	assert_false(token_keys_hold(others, claims->key_id));
	token_keys_free(others);
	token_claims_drop(claims);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alg_none_is_refused),
		cmocka_unit_test(the_public_key_is_no_hmac_secret),
		cmocka_unit_test(an_algorithm_must_fit_the_key),
		cmocka_unit_test(critical_and_unencoded_and_compressed_are_refused),
		cmocka_unit_test(a_kid_is_needed_and_must_be_known),
		cmocka_unit_test(a_key_inside_the_token_is_not_believed),
		cmocka_unit_test(a_tampered_token_is_refused),
		cmocka_unit_test(an_ecdsa_signature_has_exactly_64_bytes),
		cmocka_unit_test(weak_and_foreign_keys_are_passed_over),
		cmocka_unit_test(an_exponent_of_one_is_no_key),
		cmocka_unit_test(a_point_off_the_curve_is_no_key),
		cmocka_unit_test(the_same_kid_with_other_numbers_is_another_key),
	};
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
