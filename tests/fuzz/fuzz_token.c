// A token as it stands in a request.
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/signer.h"

#include <string.h>

// RFC 7515, 7.1: three segments of base64url and nothing else; only this spelling is taken.
static void is_the_only_spelling(const char *token, size_t length) {
	AUTO_FREE char *longer = mem_zalloc(length + 2);
	struct token_claims *claims = NULL;
	size_t dots = 0;
	memcpy(longer, token, length);
	for (size_t i = 0; i < length; i++) {
		dots += token[i] == '.';
		HOLDS(token[i] == '.' || token[i] == '-' || token[i] == '_' || (token[i] >= '0' && token[i] <= '9') ||
			(token[i] >= 'A' && token[i] <= 'Z') || (token[i] >= 'a' && token[i] <= 'z'));
	}
	HOLDS(dots == 2 && length <= TOKEN_BYTES_MAX);
	for (const char *more = "=A. \n"; *more; more++) {
		longer[length] = *more;
		HOLDS(token_verify(longer, length + 1, signer_keys(), &signer_rules, SIGNER_NOW, &claims, NULL) != TOKEN_FINE);
	}
	HOLDS(token_verify(longer, length - 1, signer_keys(), &signer_rules, SIGNER_NOW, &claims, NULL) != TOKEN_FINE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct token_claims *claims = NULL;
	AUTO_ERROR struct error error = {0};
	enum token_verdict verdict =
		token_verify((const char *)data, size, signer_keys(), &signer_rules, SIGNER_NOW, &claims, &error);
	HOLDS((claims != NULL) == (verdict == TOKEN_FINE));
	if (verdict == TOKEN_FINE)
		is_the_only_spelling((const char *)data, size);
	else
		fuzz_refused(&error, ERROR_INPUT, ERROR_DENIED);
	token_claims_drop(claims);
	return 0;
}
