// Access tokens: JWS compact serialization (RFC 7515) with the claims of RFC 7519 and RFC 9068, as Keycloak issues them.
//
// cjose verifies the signature; everything around it is here and strict. The order is: form, header, claims, key, signature;
// nothing is believed until the last has passed. No other file includes cjose.
#pragma once

#include "lib/digest.h"
#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_BYTES_MAX 8192
#define TOKEN_SKEW_S    30 // between Keycloak's clock and ours

#define TOKEN_ROLE_USER  1u
#define TOKEN_ROLE_ADMIN 2u

struct token_rules {
	const char *issuer;   // exact iss
	const char *audience; // must be in aud
};

// Counted: who keeps it holds it. One thread.
struct token_claims {
	char *sub;     // owner of jobs
	char *usuario; // preferred_username; sub where it is absent
	unsigned roles;
	int64_t exp_s;
	char key_id[DIGEST_TEXT]; // of the key that signed it
	unsigned holders;
};

struct token_claims *token_claims_hold(struct token_claims *claims);
void token_claims_drop(struct token_claims *claims); // NULL is fine
bool token_claims_expired(const struct token_claims *claims, int64_t now_s);

// ---- keys: a JSON Web Key Set (RFC 7517)

struct token_keys;
// Takes the keys that can verify our algorithms: use "sig", with a kid, RSA of 2048 to 8192 bits or EC on P-256. Others are
// passed over; ERROR_INPUT where none is left.
int token_keys_read(const char *text, size_t length, struct token_keys **keys, struct error *error) MUST_USE;
void token_keys_free(struct token_keys *keys); // NULL is fine
size_t token_keys_count(const struct token_keys *keys);
// key_id is made of kid and the public numbers: the same kid with other numbers is another key.
bool token_keys_hold(const struct token_keys *keys, const char *key_id);

// ---- tokens

enum token_verdict {
	TOKEN_FINE,
	TOKEN_BAD,         // 401
	TOKEN_RESERVED,    // 403: a true token that names itself TRABAJO_NOBODY
	TOKEN_KEY_UNKNOWN, // no key of that kid: the set may be older than the token
};

// error says what is wrong in words fit for an error_description. *claims is set on TOKEN_FINE only; drop it.
enum token_verdict token_verify(const char *token, size_t length, const struct token_keys *keys,
	const struct token_rules *rules, int64_t now_s, struct token_claims **claims, struct error *error) MUST_USE;
