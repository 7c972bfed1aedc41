// A line of trabajos-fetch, which has read hostile bytes: its answer, and the plan in it.
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/plan_promises.h"
#include "worker/fetch_result.h"

#include <string.h>

static void result_holds(const json_t *answer) {
	struct fetch_result result;
	AUTO_ERROR struct error error = {0};
	if (fetch_result_read(answer, &result, &error) < 0) {
		HOLDS(!result.commit && !result.plan.kind);
		fuzz_refused(&error, ERROR_INTERNAL, ERROR_INPUT);
		return;
	}
	AUTO_FREE char *tree = mem_format("trees/%s/%s", result.mirror, result.commit);
	HOLDS(strlen(result.commit) == 40 && strspn(result.commit, "0123456789abcdef") == 40);
	HOLDS(strlen(result.mirror) == 64 && strspn(result.mirror, "0123456789abcdef") == 64);
	HOLDS(strcmp(result.tree, tree) == 0 && result.bytes >= 0 && result.files >= 0);
	HOLDS(result.plan.kind || result.looked_for || result.plan_error);
	if (result.plan.kind) plan_promises(&result.plan);
	fetch_result_clear(&result);
}

static void failure_holds(const json_t *answer) {
	struct outcome outcome = {0};
	if (fetch_failure_read(answer, &outcome) == 0) {
		HOLDS(outcome.code != OUTCOME_OK && outcome.blame != BLAME_NONE && outcome.message);
		HOLDS(strcmp(outcome_status(&outcome), "Failed") == 0);
	} else {
		HOLDS(!outcome.message);
	}
	outcome_clear(&outcome);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_JSON json_t *json = NULL;
	struct plan plan;
	if (json_read((const char *)data, size, 65536, &json, NULL) < 0) return 0;
	result_holds(json);
	failure_holds(json);
	if (plan_read(json, &plan, NULL) == 0) plan_promises(&plan);
	plan_clear(&plan);
	return 0;
}
