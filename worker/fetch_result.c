// Reading the child's answers: strictly, since the child has read hostile bytes.
#include "worker/fetch_result.h"

#include "lib/mem.h"

#include <stdbool.h>
#include <string.h>

#define TEXT_MAX 4000

void fetch_result_clear(struct fetch_result *result) {
	free(result->commit);
	free(result->tree);
	free(result->mirror);
	free(result->looked_for);
	free(result->plan_error);
	plan_clear(&result->plan);
	*result = (struct fetch_result){.plan = {.timeout_s = -1, .memory_mb = -1}};
}

static int bad(struct error *error, const char *what) {
	return error_set(error, ERROR_INTERNAL, "trabajos-fetch's answer: %s", what);
}

static char *hex(const json_t *answer, const char *name, size_t length) {
	const char *text = json_text(answer, name);
	bool fine = text && strlen(text) == length && strspn(text, "0123456789abcdef") == length;
	return fine ? mem_strdup(text) : NULL;
}

static int read_text(const json_t *answer, const char *name, char **text, struct error *error) {
	const json_t *value = json_object_get(answer, name);
	if (!value || json_is_null(value)) return 0;
	if (!json_is_string(value) || json_string_length(value) > TEXT_MAX) return bad(error, name);
	*text = mem_strdup(json_string_value(value));
	return 0;
}

static int read_result(const json_t *answer, struct fetch_result *result, struct error *error) {
	result->commit = hex(answer, "commit", 40);
	result->mirror = hex(answer, "mirror", 64);
	if (!result->commit || !result->mirror) return bad(error, "commit or mirror");
	// Said by the child, but ours to make: a path is never taken from it.
	result->tree = mem_format("trees/%s/%s", result->mirror, result->commit);
	const json_t *plan = json_object_get(answer, "plan");
	if (!plan || (!json_is_null(plan) && plan_read(plan, &result->plan, error) < 0)) return bad(error, "plan");
	if (read_text(answer, "looked_for", &result->looked_for, error) < 0) return -1;
	if (read_text(answer, "plan_error", &result->plan_error, error) < 0) return -1;
	if (!result->plan.kind && !result->looked_for && !result->plan_error) return bad(error, "neither plan nor reason");
	if (json_int(answer, "bytes", 0, INT64_MAX / 4, 0, &result->bytes, error) < 0) return -1;
	if (json_int(answer, "files", 0, INT64_MAX / 4, 0, &result->files, error) < 0) return -1;
	result->remote = json_is_true(json_object_get(answer, "remote"));
	return 0;
}

int fetch_result_read(const json_t *answer, struct fetch_result *result, struct error *error) {
	*result = (struct fetch_result){.plan = {.timeout_s = -1, .memory_mb = -1}};
	if (!json_is_true(json_object_get(answer, "ok"))) return bad(error, "not ok");
	if (read_result(answer, result, error) == 0) return 0;
	fetch_result_clear(result);
	return -1;
}

int fetch_failure_read(const json_t *answer, struct outcome *outcome) {
	static const enum outcome_code codes[] = {OUTCOME_NOT_FOUND, OUTCOME_DENIED, OUTCOME_FETCH, OUTCOME_DISK};
	static const enum blame blames[] = {BLAME_USER, BLAME_LIMIT, BLAME_PLATFORM};
	const char *code = json_text(answer, "code"), *blame = json_text(answer, "blame"),
		   *message = json_text(answer, "message");
	if (!json_is_false(json_object_get(answer, "ok")) || !code || !blame || !message || strlen(message) > TEXT_MAX)
		return -1;
	for (size_t i = 0; i < COUNT_OF(codes); i++)
		for (size_t j = 0; j < COUNT_OF(blames); j++)
			if (strcmp(code, outcome_code_name(codes[i])) == 0 && strcmp(blame, blame_name(blames[j])) == 0) {
				outcome_set(outcome, codes[i], blames[j], "%s", message);
				return 0;
			}
	return -1;
}
