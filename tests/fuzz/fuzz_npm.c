// A package.json.
#include "lib/json.h"
#include "tests/fuzz/fuzz.h"
#include "worker/plan_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_ERROR struct error error = {0};
	int has = plan_npm_has_main((const char *)data, size, &error);
	HOLDS(has >= -1 && has <= 1);
	if (has < 0) fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
	AUTO_JSON json_t *json = NULL;
	if (json_read((const char *)data, size, 1 << 20, &json, NULL) < 0) return 0;
	HOLDS(json_is_object(json) ? has >= 0 : has < 0);
	const char *script = json_text(json_object_get(json, "scripts"), "main");
	HOLDS((has == 1) == (script && *script));
	return 0;
}
