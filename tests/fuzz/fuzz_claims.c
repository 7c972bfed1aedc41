// First line: a token's header. The rest: its payload. They are signed here, so that the search gets behind the signature.
#include "lib/json.h"
#include "lib/mem.h"
#include "lib/trabajo.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/signer.h"

#include <string.h>

static void name_holds(const char *name) {
	HOLDS(*name && strlen(name) <= 255 && fuzz_is_printable(name) && strcmp(name, TRABAJO_NOBODY) != 0);
}

static bool lists_role(const json_t *payload, const char *role) {
	const json_t *roles = json_object_get(json_object_get(payload, "realm_access"), "roles");
	for (size_t i = 0; i < json_array_size(roles); i++) {
		const char *one = json_string_value(json_array_get(roles, i));
		if (one && strcmp(one, role) == 0) return true;
	}
	return false;
}

static void claims_hold(const char *header_text, const char *payload_text, size_t length, const struct token_claims *claims) {
	AUTO_JSON json_t *header = NULL, *payload = NULL;
	HOLDS(json_read(header_text, strlen(header_text), TOKEN_BYTES_MAX, &header, NULL) == 0);
	HOLDS(json_read(payload_text, length, TOKEN_BYTES_MAX, &payload, NULL) == 0);
	HOLDS(strcmp(json_text(header, "alg"), "ES256") == 0 && strcmp(json_text(header, "kid"), "ec") == 0);
	HOLDS(!json_object_get(header, "crit") && !json_object_get(header, "b64") && !json_object_get(header, "zip"));
	HOLDS(strcmp(json_text(payload, "iss"), SIGNER_ISSUER) == 0 && strcmp(json_text(payload, "sub"), claims->sub) == 0);
	HOLDS(json_object_get(payload, "exp") && json_object_get(payload, "aud"));
	HOLDS(((claims->roles & TOKEN_ROLE_USER) != 0) == lists_role(payload, "user"));
	HOLDS(((claims->roles & TOKEN_ROLE_ADMIN) != 0) == lists_role(payload, "admin"));
	HOLDS(token_keys_hold(signer_keys(), claims->key_id));
	name_holds(claims->sub);
	name_holds(claims->usuario);
}

static enum token_verdict verify(const char *token, int64_t now_s, struct token_claims **claims, struct error *error) {
	return token_verify(token, strlen(token), signer_keys(), &signer_rules, now_s, claims, error);
}

// Not after its time, and not with any other byte.
static void is_bound(char *token, int64_t exp_s, size_t salt) {
	struct token_claims *claims = NULL;
	HOLDS(exp_s + TOKEN_SKEW_S > SIGNER_NOW);
	HOLDS(verify(token, exp_s + TOKEN_SKEW_S, &claims, NULL) == TOKEN_BAD);
	size_t at = salt % strlen(token);
	token[at] = token[at] == 'A' ? 'B' : 'A';
	HOLDS(verify(token, SIGNER_NOW, &claims, NULL) != TOKEN_FINE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	AUTO_FREE char *header = fuzz_line(&input);
	size_t length;
	AUTO_FREE char *payload = fuzz_rest(&input, &length);
	AUTO_FREE char *token = signer_token(header, strlen(header), payload, length);
	struct token_claims *claims = NULL;
	AUTO_ERROR struct error error = {0};
	enum token_verdict verdict = verify(token, SIGNER_NOW, &claims, &error);
	HOLDS((claims != NULL) == (verdict == TOKEN_FINE));
	if (verdict == TOKEN_FINE) {
		claims_hold(header, payload, length, claims);
		is_bound(token, claims->exp_s, size * 31);
	} else {
		fuzz_refused(&error, ERROR_INPUT, ERROR_DENIED);
	}
	token_claims_drop(claims);
	return 0;
}
