// An issuer's key set.
#include "frontend/token.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct token_keys *keys = NULL, *again = NULL;
	AUTO_ERROR struct error error = {0};
	if (token_keys_read((const char *)data, size, &keys, &error) < 0) {
		HOLDS(!keys);
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
		return 0;
	}
	HOLDS(token_keys_count(keys) >= 1 && token_keys_count(keys) <= 64 && !token_keys_hold(keys, ""));
	HOLDS(token_keys_read((const char *)data, size, &again, NULL) == 0);
	HOLDS(token_keys_count(again) == token_keys_count(keys));
	token_keys_free(keys);
	token_keys_free(again);
	return 0;
}
