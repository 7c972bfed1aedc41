// Tokens and key sets for the tests of frontend/token, made by OpenSSL, so that signer and verifier share no code.
#pragma once

#include "frontend/token.h"
#include "lib/mem.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define NOW      INT64_C(1700000000)
#define ISSUER   "http://localhost:8082/realms/cloudcomputing"
#define AUDIENCE "nodejs-microservice"
#define HEADER   "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"rsa\"}"

static EVP_PKEY *rsa, *stranger, *small, *ec, *p384;
static struct token_keys *keys;
static const struct token_rules rules = {.issuer = ISSUER, .audience = AUDIENCE};

UNUSED static char *base64url(const void *data, size_t length) {
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const unsigned char *bytes = data;
	char *text = mem_zalloc(length * 2 + 4), *to = text;
	uint32_t bits = 0;
	int held = 0;
	for (size_t i = 0; i < length; i++) {
		bits = bits << 8 | bytes[i];
		for (held += 8; held >= 6;) {
			held -= 6;
			*to++ = alphabet[bits >> held & 63];
		}
	}
	if (held) *to++ = alphabet[bits << (6 - held) & 63];
	return text;
}

UNUSED static char *number(EVP_PKEY *pkey, const char *name, size_t width) {
	BIGNUM *value = NULL;
	unsigned char bytes[1024];
	assert_true(EVP_PKEY_get_bn_param(pkey, name, &value));
	int length = width ? BN_bn2binpad(value, bytes, (int)width) : BN_bn2bin(value, bytes);
	BN_free(value);
	return base64url(bytes, (size_t)length);
}

UNUSED static char *rsa_jwk(EVP_PKEY *pkey, const char *kid, const char *more) {
	AUTO_FREE char *n = number(pkey, OSSL_PKEY_PARAM_RSA_N, 0), *e = number(pkey, OSSL_PKEY_PARAM_RSA_E, 0);
	return mem_format("{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"%s}", kid, n, e, more);
}

UNUSED static char *ec_jwk(EVP_PKEY *pkey, const char *kid, const char *curve, size_t width) {
	AUTO_FREE char *x = number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, width), *y = number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, width);
	return mem_format(
		"{\"kty\":\"EC\",\"kid\":\"%s\",\"use\":\"sig\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}", kid, curve, x, y);
}

// DER to the two fixed-width numbers of RFC 7518 section 3.4.
UNUSED static size_t ec_raw(const unsigned char *der, size_t length, unsigned char *raw) {
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)length);
	BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + 32, 32);
	ECDSA_SIG_free(signature);
	return 64;
}

UNUSED static size_t sign(EVP_PKEY *pkey, const char *alg, const char *input, unsigned char *signature) {
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *options = NULL;
	unsigned char bytes[2048];
	size_t length = sizeof bytes;
	assert_true(EVP_DigestSignInit(context, &options, EVP_sha256(), NULL, pkey));
	if (strcmp(alg, "PS256") == 0) {
		EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
	}
	assert_true(EVP_DigestSign(context, bytes, &length, (const unsigned char *)input, strlen(input)));
	EVP_MD_CTX_free(context);
	if (strcmp(alg, "ES256") == 0) return ec_raw(bytes, length, signature);
	memcpy(signature, bytes, length);
	return length;
}

UNUSED static char *make(const char *header, const char *payload, EVP_PKEY *pkey, const char *alg) {
	AUTO_FREE char *first = base64url(header, strlen(header)), *second = base64url(payload, strlen(payload));
	AUTO_FREE char *input = mem_format("%s.%s", first, second);
	unsigned char signature[2048];
	size_t length = sign(pkey, alg, input, signature);
	AUTO_FREE char *third = base64url(signature, length);
	return mem_format("%s.%s", input, third);
}

// A payload whose members are all good but those given: "name":value pairs replace those of the same name.
struct payload {
	const char *iss, *aud, *typ, *sub, *name, *exp, *roles, *more;
};

UNUSED static char *payload_make(struct payload p) {
	return mem_format("{\"iss\":%s,\"aud\":%s%s%s%s%s,\"preferred_username\":%s%s%s,\"realm_access\":{\"roles\":%s}%s}",
		p.iss ? p.iss : "\"" ISSUER "\"", p.aud ? p.aud : "[\"account\",\"" AUDIENCE "\"]",
		p.typ && !*p.typ ? "" : ",\"typ\":", p.typ ? p.typ : "\"Bearer\"",
		p.sub && !*p.sub ? "" : ",\"sub\":", p.sub ? p.sub : "\"8d0e\"", p.name ? p.name : "\"user\"",
		p.exp && !*p.exp ? "" : ",\"exp\":", p.exp ? p.exp : "1700000300", p.roles ? p.roles : "[\"user\"]",
		p.more ? p.more : "");
}

UNUSED static enum token_verdict verify(const char *token, struct token_claims **claims, char **why) {
	struct error error AUTO_ERROR = {0};
	enum token_verdict verdict = token_verify(token, strlen(token), keys, &rules, NOW, claims, &error);
	if (verdict != TOKEN_FINE && !error.kind) fail_msg("no reason given");
	if (why) *why = mem_strdup(error_text(&error));
	return verdict;
}

UNUSED static void expect(const char *token, enum token_verdict verdict, const char *reason) {
	struct token_claims *claims = NULL;
	AUTO_FREE char *why = NULL;
	assert_int_equal(verify(token, &claims, &why), verdict);
	if (reason && !strstr(why, reason)) fail_msg("\"%s\" does not mention \"%s\"", why, reason);
	assert_int_equal(claims != NULL, verdict == TOKEN_FINE);
	token_claims_drop(claims);
}

UNUSED static void expect_payload(struct payload p, enum token_verdict verdict, const char *reason) {
	AUTO_FREE char *payload = payload_make(p), *token = make(HEADER, payload, rsa, "RS256");
	expect(token, verdict, reason);
}

UNUSED static void expect_header(
	const char *header, const char *alg, EVP_PKEY *pkey, enum token_verdict verdict, const char *reason) {
	AUTO_FREE char *payload = payload_make((struct payload){0}), *token = make(header, payload, pkey, alg);
	expect(token, verdict, reason);
}

UNUSED static int make_keys(void **state) {
	(void)state;
	rsa = EVP_RSA_gen(2048);
	stranger = EVP_RSA_gen(2048);
	small = EVP_RSA_gen(1024);
	ec = EVP_EC_gen("P-256");
	p384 = EVP_EC_gen("P-384");
	AUTO_FREE char *a = rsa_jwk(rsa, "rsa", ",\"use\":\"sig\",\"x5c\":[\"ignored\"]"),
		       *b = rsa_jwk(rsa, "rs-only", ",\"use\":\"sig\",\"alg\":\"RS256\""), *c = ec_jwk(ec, "ec", "P-256", 32),
		       *d = rsa_jwk(stranger, "enc", ",\"use\":\"enc\",\"alg\":\"RSA-OAEP\"");
	AUTO_FREE char *set = mem_format("{\"keys\":[%s,%s,%s,%s]}", d, a, b, c);
	return token_keys_read(set, strlen(set), &keys, NULL);
}

UNUSED static int free_keys(void **state) {
	(void)state;
	EVP_PKEY *const all[] = {rsa, stranger, small, ec, p384};
	for (size_t i = 0; i < COUNT_OF(all); i++) EVP_PKEY_free(all[i]);
	token_keys_free(keys);
	return 0;
}
