#include "tests/fuzz/signer.h"

#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

enum { NUMBER = 32, POINT = 1 + 2 * NUMBER };

const struct token_rules signer_rules = {.issuer = SIGNER_ISSUER, .audience = SIGNER_AUDIENCE};

static const char rsa_public[] =
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"
	"YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZl"
	"xvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

static char *base64url(const void *data, size_t length) {
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const unsigned char *bytes = data;
	char *text = mem_zalloc(length * 2 + 4), *to = text;
	uint32_t bits = 0;
	int held = 0;
	for (size_t i = 0; i < length; i++) {
		bits = (bits << 8 | bytes[i]) & 0xffff;
		for (held += 8; held >= 6;) {
			held -= 6;
			*to++ = alphabet[bits >> held & 63];
		}
	}
	if (held) *to++ = alphabet[bits << (6 - held) & 63];
	return text;
}

static void make_point(BIGNUM *secret, unsigned char point[POINT]) {
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *product = EC_POINT_new(group);
	HOLDS(EC_POINT_mul(group, product, secret, NULL, NULL, NULL));
	HOLDS(EC_POINT_point2oct(group, product, POINT_CONVERSION_UNCOMPRESSED, point, POINT, NULL) == POINT);
	EC_POINT_free(product);
	EC_GROUP_free(group);
}

static EVP_PKEY *key_make(BIGNUM *secret, const unsigned char point[POINT]) {
	EVP_PKEY *key = NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	HOLDS(OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0));
	HOLDS(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, secret));
	HOLDS(OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, POINT));
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	HOLDS(EVP_PKEY_fromdata_init(context) == 1 && EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params) == 1);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(context);
	return key;
}

static EVP_PKEY *secret_key; // lives as long as the process
static struct token_keys *public_keys;

static void make(void) {
	unsigned char bytes[NUMBER], point[POINT];
	for (int i = 0; i < NUMBER; i++) bytes[i] = (unsigned char)(i + 1);
	BIGNUM *secret = BN_bin2bn(bytes, NUMBER, NULL);
	make_point(secret, point);
	secret_key = key_make(secret, point);
	BN_free(secret);
	AUTO_FREE char *x = base64url(point + 1, NUMBER), *y = base64url(point + 1 + NUMBER, NUMBER);
	AUTO_FREE char *set = mem_format(
		"{\"keys\":[{\"kty\":\"EC\",\"kid\":\"ec\",\"use\":\"sig\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"},"
		"{\"kty\":\"RSA\",\"kid\":\"rsa\",\"use\":\"sig\",\"e\":\"AQAB\",\"n\":\"%s\"}]}",
		x, y, rsa_public);
	HOLDS(token_keys_read(set, strlen(set), &public_keys, NULL) == 0 && token_keys_count(public_keys) == 2);
}

const struct token_keys *signer_keys(void) {
	if (!public_keys) make();
	return public_keys;
}

char *signer_token(const void *header, size_t header_length, const void *payload, size_t payload_length) {
	if (!secret_key) make();
	AUTO_FREE char *first = base64url(header, header_length), *second = base64url(payload, payload_length);
	AUTO_FREE char *signed_text = mem_format("%s.%s", first, second);
	unsigned char der[128], raw[2 * NUMBER];
	size_t length = sizeof der;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	HOLDS(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, secret_key) == 1);
	HOLDS(EVP_DigestSign(context, der, &length, (const unsigned char *)signed_text, strlen(signed_text)) == 1);
	EVP_MD_CTX_free(context);
	const unsigned char *at = der;
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)length);
	BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, NUMBER);
	BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + NUMBER, NUMBER);
	ECDSA_SIG_free(signature);
	AUTO_FREE char *third = base64url(raw, sizeof raw);
	return mem_format("%s.%s", signed_text, third);
}
