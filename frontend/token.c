#include "frontend/token.h"

#include "lib/json.h"
#include "lib/mem.h"
#include "lib/trabajo.h"

#include <cjose/cjose.h>
#include <math.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>

#define KEYS_MOST        64
#define KEYS_BYTES_MAX   262144
#define KID_BYTES_MAX    255
#define NAME_BYTES_MAX   255
#define RSA_BITS_MIN     2048
#define RSA_BITS_MAX     8192
#define P256_BYTES       32
#define DATE_MAX         253402300799 // the year 9999
#define ALGORITHMS_KNOWN "RS256, PS256, ES256"

enum key_type { KEY_RSA, KEY_EC };

struct token_key {
	enum key_type type;
	char *kid;
	char *alg; // NULL: any that fits the type
	size_t signature_bytes;
	char id[DIGEST_TEXT];
	cjose_jwk_t *jwk;
};

struct token_keys {
	size_t count;
	struct token_key list[KEYS_MOST];
};

static const struct algorithm {
	const char *name;
	enum key_type type;
} algorithms[] = {{"RS256", KEY_RSA}, {"PS256", KEY_RSA}, {"ES256", KEY_EC}};

struct segment {
	const char *text;
	size_t length;
};

// A value of the token's or of a key, for a message: the beginning, without what a header or a terminal would not like.
static char *shown(const char *text) {
	char *copy = text ? mem_strndup(text, 100) : mem_strdup("(none)");
	for (char *at = copy; *at; at++)
		if (*at < 0x20 || *at > 0x7e) *at = '?';
	return copy;
}

// ---- base64url (RFC 4648 section 5) without padding, in its one canonical form: a second spelling of the same token would
//      have a digest of its own

static int base64url_value(char c) {
	if (c >= 'A' && c <= 'Z') return c - 'A';
	if (c >= 'a' && c <= 'z') return c - 'a' + 26;
	if (c >= '0' && c <= '9') return c - '0' + 52;
	if (c == '-') return 62;
	return c == '_' ? 63 : -1;
}

// Owned by the caller, NUL-terminated; NULL if it is not canonical.
static char *base64url_decode(struct segment segment, size_t *length) {
	if (segment.length % 4 == 1) return NULL;
	AUTO_FREE unsigned char *bytes = mem_zalloc(segment.length / 4 * 3 + 4);
	uint32_t bits = 0;
	unsigned held = 0;
	size_t count = 0;
	for (size_t i = 0; i < segment.length; i++) {
		int value = base64url_value(segment.text[i]);
		if (value < 0) return NULL;
		bits = bits << 6 | (uint32_t)value;
		held += 6;
		if (held < 8) continue;
		held -= 8;
		bytes[count++] = (unsigned char)(bits >> held);
	}
	if (bits & ((1u << held) - 1)) return NULL;
	*length = count;
	return (char *)STEAL(bytes);
}

// ---- keys

static void key_clear(struct token_key *key) {
	free(key->kid);
	free(key->alg);
	if (key->jwk) cjose_jwk_release(key->jwk);
	*key = (struct token_key){0};
}

// The length in bytes of a base64url number; its first byte must not be zero where `minimal` (RFC 7518 section 6.3.1).
static int number_read(const json_t *jwk, const char *name, bool minimal, unsigned char **bytes, size_t *length) {
	const char *text = json_text(jwk, name);
	if (!text) return -1;
	*bytes = (unsigned char *)base64url_decode((struct segment){text, strlen(text)}, length);
	if (!*bytes || !*length || (minimal && !(*bytes)[0])) return -1;
	return 0;
}

static size_t bit_length(const unsigned char *bytes, size_t length) {
	size_t bits = length * 8;
	for (unsigned char first = bytes[0]; !(first & 0x80) && bits; first = (unsigned char)(first << 1)) bits--;
	return bits;
}

static int rsa_check(const json_t *jwk, struct token_key *key, struct error *error) {
	AUTO_FREE unsigned char *n = NULL, *e = NULL;
	size_t n_length = 0, e_length = 0;
	if (number_read(jwk, "n", true, &n, &n_length) || number_read(jwk, "e", true, &e, &e_length))
		return error_set(error, ERROR_INPUT, "n or e is no number");
	size_t bits = bit_length(n, n_length);
	if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
		return error_set(error, ERROR_INPUT, "RSA of %zu bits, not %d to %d", bits, RSA_BITS_MIN, RSA_BITS_MAX);
	// An even exponent is no key, and with 1 every signature is its own proof.
	if (e_length > 8 || !(e[e_length - 1] & 1) || (e_length == 1 && e[0] == 1))
		return error_set(error, ERROR_INPUT, "not an RSA exponent");
	key->type = KEY_RSA;
	key->signature_bytes = n_length;
	return 0;
}

static int ec_check(const json_t *jwk, struct token_key *key, struct error *error) {
	const char *curve = json_text(jwk, "crv");
	if (!curve || strcmp(curve, "P-256") != 0) return error_set(error, ERROR_INPUT, "the curve is not P-256");
	AUTO_FREE unsigned char *x = NULL, *y = NULL;
	size_t x_length = 0, y_length = 0;
	if (number_read(jwk, "x", false, &x, &x_length) || number_read(jwk, "y", false, &y, &y_length) ||
		x_length != P256_BYTES || y_length != P256_BYTES)
		return error_set(error, ERROR_INPUT, "not a point of P-256");
	key->type = KEY_EC;
	key->signature_bytes = (size_t)2 * P256_BYTES;
	return 0;
}

// Only the public members are handed to cjose: whatever else the set holds is none of our business.
static int key_import(const json_t *jwk, struct token_key *key, struct error *error) {
	static const char *const members[] = {"kty", "kid", "n", "e", "crv", "x", "y"};
	AUTO_JSON json_t *public = json_object();
	for (size_t i = 0; i < COUNT_OF(members); i++) {
		json_t *member = json_object_get(jwk, members[i]);
		if (member) json_object_set(public, members[i], member);
	}
	AUTO_FREE char *text = json_write(public);
	digest_sha256_hex(text, strlen(text), key->id);
	key->jwk = cjose_jwk_import(text, strlen(text), NULL);
	ERR_clear_error();
	return key->jwk ? 0 : error_set(error, ERROR_INPUT, "cannot be used");
}

static int key_fill(const json_t *jwk, struct token_key *key, struct error *error) {
	const char *use = json_text(jwk, "use"), *type = json_text(jwk, "kty");
	const json_t *alg = json_object_get(jwk, "alg");
	if (!use || strcmp(use, "sig") != 0) return error_set(error, ERROR_INPUT, "use is not sig");
	if (alg && !json_is_string(alg)) return error_set(error, ERROR_INPUT, "alg is no string");
	key->alg = alg ? mem_strdup(json_string_value(alg)) : NULL;
	if (type && strcmp(type, "RSA") == 0) {
		if (rsa_check(jwk, key, error)) return -1;
	} else if (type && strcmp(type, "EC") == 0) {
		if (ec_check(jwk, key, error)) return -1;
	} else {
		return error_set(error, ERROR_INPUT, "kty is neither RSA nor EC");
	}
	return key_import(jwk, key, error);
}

static int key_read(const json_t *jwk, struct token_key *key, struct error *error) {
	const char *kid = json_text(jwk, "kid");
	if (!kid || !*kid || strlen(kid) > KID_BYTES_MAX) return error_set(error, ERROR_INPUT, "a key without kid");
	key->kid = mem_strdup(kid);
	if (key_fill(jwk, key, error) == 0) return 0;
	AUTO_FREE char *kid_shown = shown(kid);
	return error_wrap(error, "key %s", kid_shown);
}

static const struct token_key *key_find(const struct token_keys *keys, const char *kid) {
	for (size_t i = 0; i < keys->count; i++)
		if (strcmp(keys->list[i].kid, kid) == 0) return &keys->list[i];
	return NULL;
}

int token_keys_read(const char *text, size_t length, struct token_keys **keys, struct error *error) {
	AUTO_JSON json_t *json = NULL;
	if (json_read(text, length, KEYS_BYTES_MAX, &json, error)) return -1;
	const json_t *list = json_object_get(json, "keys");
	if (!json_is_array(list)) return error_set(error, ERROR_INPUT, "no key set: it has no array \"keys\"");

	struct token_keys *read = mem_zalloc(sizeof *read);
	struct error why AUTO_ERROR = {0};
	for (size_t i = 0; i < json_array_size(list) && read->count < KEYS_MOST; i++) {
		struct token_key *key = &read->list[read->count];
		if (key_read(json_array_get(list, i), key, &why) || key_find(read, key->kid))
			key_clear(key);
		else
			read->count++;
	}
	if (!read->count) {
		error_set(error, ERROR_INPUT, "none of %zu keys can be used%s%s", json_array_size(list), why.kind ? ": " : "",
			why.kind ? error_text(&why) : "");
		token_keys_free(read);
		return -1;
	}
	*keys = read;
	return 0;
}

void token_keys_free(struct token_keys *keys) {
	if (!keys) return;
	for (size_t i = 0; i < keys->count; i++) key_clear(&keys->list[i]);
	free(keys);
}

size_t token_keys_count(const struct token_keys *keys) {
	return keys->count;
}

bool token_keys_hold(const struct token_keys *keys, const char *key_id) {
	for (size_t i = 0; i < keys->count; i++)
		if (strcmp(keys->list[i].id, key_id) == 0) return true;
	return false;
}

// ---- form

static int token_split(const char *token, size_t length, struct segment segments[3], struct error *error) {
	if (length > TOKEN_BYTES_MAX)
		return error_set(error, ERROR_INPUT, "the token is larger than %d bytes", TOKEN_BYTES_MAX);
	size_t found = 0;
	const char *from = token;
	for (const char *at = token; at <= token + length; at++) {
		if (at < token + length && *at != '.') continue;
		if (found < 3) segments[found] = (struct segment){from, (size_t)(at - from)};
		found++;
		from = at + 1;
	}
	if (found != 3) return error_set(error, ERROR_INPUT, "the token has %zu segments, a signed one has 3", found);
	return 0;
}

static int object_decode(struct segment segment, const char *name, json_t **object, struct error *error) {
	size_t length = 0;
	AUTO_FREE char *text = base64url_decode(segment, &length);
	if (!text) return error_set(error, ERROR_INPUT, "the token's %s is not canonical base64url", name);
	if (json_read(text, length, TOKEN_BYTES_MAX, object, error)) return error_wrap(error, "the token's %s", name);
	if (!json_is_object(*object)) return error_set(error, ERROR_INPUT, "the token's %s is not a JSON object", name);
	return 0;
}

// ---- header

static int header_check(const json_t *header, const struct algorithm **algorithm, const char **kid, struct error *error) {
	static const char *const refused[] = {"crit", "b64", "zip"};
	for (size_t i = 0; i < COUNT_OF(refused); i++)
		if (json_object_get(header, refused[i]))
			return error_set(error, ERROR_INPUT, "the header member %s is not accepted", refused[i]);

	const char *alg = json_text(header, "alg");
	*algorithm = NULL;
	for (size_t i = 0; alg && i < COUNT_OF(algorithms); i++)
		if (strcmp(alg, algorithms[i].name) == 0) *algorithm = &algorithms[i];
	if (!*algorithm) {
		AUTO_FREE char *alg_shown = shown(alg);
		return error_set(error, ERROR_INPUT, "the algorithm %.16s is not accepted, only " ALGORITHMS_KNOWN, alg_shown);
	}

	*kid = json_text(header, "kid");
	if (!*kid || !**kid || strlen(*kid) > KID_BYTES_MAX)
		return error_set(error, ERROR_INPUT, "the header has no usable kid");
	return 0;
}

// ID, refresh and logout tokens are signed by the same keys and are no access tokens.
static int type_check(const json_t *header, const json_t *payload, struct error *error) {
	const json_t *header_type = json_object_get(header, "typ"), *claim = json_object_get(payload, "typ");
	const char *media = json_string_value(header_type), *type = json_string_value(claim);
	bool access = media && (strcasecmp(media, "at+jwt") == 0 || strcasecmp(media, "application/at+jwt") == 0);
	AUTO_FREE char *media_shown = shown(media), *type_shown = shown(type);
	if (header_type && !access && (!media || strcasecmp(media, "JWT") != 0))
		return error_set(error, ERROR_INPUT, "a token of type %s is no access token", media_shown);
	if (claim ? !type || strcmp(type, "Bearer") != 0 : !access)
		return error_set(
			error, ERROR_INPUT, "a token of type %s is no access token, send the access_token", type_shown);
	if (json_object_get(payload, "cnf"))
		return error_set(error, ERROR_INPUT, "the token is bound to a key (cnf), a bearer token is needed");
	return 0;
}

// ---- claims

// A NumericDate (RFC 7519 section 2) may have a fraction. 1: there, 0: absent, -1: no date.
static int date_read(const json_t *payload, const char *name, int64_t *value, struct error *error) {
	const json_t *json = json_object_get(payload, name);
	if (!json) return 0;
	double number = json_number_value(json);
	if (!json_is_number(json) || !isfinite(number) || number < 1 || number > (double)DATE_MAX)
		return error_set(error, ERROR_INPUT, "the claim %s is no date", name);
	*value = json_is_integer(json) ? json_integer_value(json) : (int64_t)number;
	return 1;
}

static int dates_check(const json_t *payload, int64_t now_s, int64_t *exp, struct error *error) {
	int64_t nbf = 0, iat = 0;
	int has_exp = date_read(payload, "exp", exp, error), has_nbf = date_read(payload, "nbf", &nbf, error),
	    has_iat = date_read(payload, "iat", &iat, error);
	if (has_exp < 0 || has_nbf < 0 || has_iat < 0) return -1;
	if (!has_exp) return error_set(error, ERROR_INPUT, "the token has no exp");
	if (*exp + TOKEN_SKEW_S <= now_s)
		return error_set(error, ERROR_INPUT, "the token expired %lld s ago, get a new one", (long long)(now_s - *exp));
	if (has_nbf && nbf - TOKEN_SKEW_S > now_s)
		return error_set(error, ERROR_INPUT, "the token is not valid before %lld s from now", (long long)(nbf - now_s));
	if (has_iat && iat - TOKEN_SKEW_S > now_s)
		return error_set(error, ERROR_INPUT, "the token was issued %lld s in the future, compare the clocks",
			(long long)(iat - now_s));
	if (has_iat && iat > *exp) return error_set(error, ERROR_INPUT, "the token expired before it was issued");
	return 0;
}

static bool audience_has(const json_t *aud, const char *wanted) {
	if (json_is_string(aud)) return strcmp(json_string_value(aud), wanted) == 0;
	bool found = false;
	for (size_t i = 0; i < json_array_size(aud); i++) {
		const json_t *one = json_array_get(aud, i);
		if (!json_is_string(one)) return false;
		if (strcmp(json_string_value(one), wanted) == 0) found = true;
	}
	return found;
}

static int origin_check(const json_t *payload, const struct token_rules *rules, struct error *error) {
	const char *issuer = json_text(payload, "iss");
	AUTO_FREE char *issuer_shown = shown(issuer);
	if (!issuer || strcmp(issuer, rules->issuer) != 0)
		return error_set(error, ERROR_INPUT, "the issuer is %s, not %s", issuer_shown, rules->issuer);
	if (!audience_has(json_object_get(payload, "aud"), rules->audience))
		return error_set(error, ERROR_INPUT, "the audience does not contain %s", rules->audience);
	return 0;
}

// Names end up in the ledger, in headers of Kafka records and on terminals.
static int name_check(const char *claim, const char *name, struct error *error) {
	size_t length = strlen(name);
	if (!length || length > NAME_BYTES_MAX)
		return error_set(error, ERROR_INPUT, "the claim %s is empty or longer than %d bytes", claim, NAME_BYTES_MAX);
	for (const unsigned char *at = (const unsigned char *)name; *at; at++)
		if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0))
			return error_set(error, ERROR_INPUT, "the claim %s has control characters", claim);
	return 0;
}

static int names_read(const json_t *payload, struct token_claims *claims, struct error *error) {
	const char *sub = json_text(payload, "sub");
	const json_t *preferred = json_object_get(payload, "preferred_username");
	if (!sub) return error_set(error, ERROR_INPUT, "the token has no sub");
	if (name_check("sub", sub, error)) return -1;
	if (preferred && !json_is_string(preferred))
		return error_set(error, ERROR_INPUT, "the claim preferred_username is no string");
	const char *usuario = preferred ? json_string_value(preferred) : sub;
	if (name_check("preferred_username", usuario, error)) return -1;
	claims->sub = mem_strdup(sub);
	claims->usuario = mem_strdup(usuario);
	return 0;
}

static unsigned roles_read(const json_t *payload) {
	const json_t *list = json_object_get(json_object_get(payload, "realm_access"), "roles");
	unsigned roles = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *role = json_string_value(json_array_get(list, i));
		if (role && strcmp(role, "user") == 0) roles |= TOKEN_ROLE_USER;
		if (role && strcmp(role, "admin") == 0) roles |= TOKEN_ROLE_ADMIN;
	}
	return roles;
}

// ---- signature

static enum token_verdict signature_check(const char *token, size_t length, struct segment signature, const char *kid,
	const struct algorithm *algorithm, const struct token_keys *keys, const struct token_key **signer,
	struct error *error) {
	const struct token_key *key = *signer = key_find(keys, kid);
	if (!key) {
		error_set(error, ERROR_INPUT, "the token is signed with a key (kid) that is not among the issuer's");
		return TOKEN_KEY_UNKNOWN;
	}
	if (key->type != algorithm->type || (key->alg && strcmp(key->alg, algorithm->name) != 0)) {
		error_set(error, ERROR_INPUT, "the algorithm %s does not fit the key", algorithm->name);
		return TOKEN_BAD;
	}
	// cjose takes ECDSA signatures of any even length.
	size_t signature_length = 0;
	AUTO_FREE char *bytes = base64url_decode(signature, &signature_length);
	bool verified = false;
	if (bytes && signature_length == key->signature_bytes) {
		cjose_jws_t *jws = cjose_jws_import(token, length, NULL);
		verified = jws && cjose_jws_verify(jws, key->jwk, NULL);
		cjose_jws_release(jws);
		ERR_clear_error();
	}
	if (verified) return TOKEN_FINE;
	error_set(error, ERROR_INPUT, "the signature does not fit the token");
	return TOKEN_BAD;
}

struct token_claims *token_claims_hold(struct token_claims *claims) {
	claims->holders++;
	return claims;
}

void token_claims_drop(struct token_claims *claims) {
	if (!claims || --claims->holders) return;
	free(claims->sub);
	free(claims->usuario);
	free(claims);
}

static void claims_cleanup(struct token_claims **claims) {
	token_claims_drop(*claims);
}

bool token_claims_expired(const struct token_claims *claims, int64_t now_s) {
	return claims->exp_s + TOKEN_SKEW_S <= now_s;
}

enum token_verdict token_verify(const char *token, size_t length, const struct token_keys *keys,
	const struct token_rules *rules, int64_t now_s, struct token_claims **claims, struct error *error) {
	struct segment segments[3] = {0};
	AUTO_JSON json_t *header = NULL, *payload = NULL;
	const struct algorithm *algorithm = algorithms;
	const char *kid = "";
	if (token_split(token, length, segments, error) || object_decode(segments[0], "header", &header, error) ||
		object_decode(segments[1], "payload", &payload, error) || header_check(header, &algorithm, &kid, error))
		return TOKEN_BAD;

	__attribute__((cleanup(claims_cleanup))) struct token_claims *read = mem_zalloc(sizeof *read);
	read->holders = 1;
	if (type_check(header, payload, error) || origin_check(payload, rules, error) ||
		dates_check(payload, now_s, &read->exp_s, error) || names_read(payload, read, error))
		return TOKEN_BAD;
	read->roles = roles_read(payload);

	const struct token_key *key = NULL;
	enum token_verdict verdict = signature_check(token, length, segments[2], kid, algorithm, keys, &key, error);
	if (verdict != TOKEN_FINE) return verdict;
	memcpy(read->key_id, key->id, sizeof read->key_id);
	if (strcmp(read->sub, TRABAJO_NOBODY) == 0 || strcmp(read->usuario, TRABAJO_NOBODY) == 0) {
		error_set(error, ERROR_DENIED, "the name %s is reserved for jobs that came through Kafka", TRABAJO_NOBODY);
		return TOKEN_RESERVED;
	}
	*claims = STEAL(read);
	return TOKEN_FINE;
}
