// The body of POST /api/v1/trabajos, less its url. libgit2 is the second reader of the ref.
#include "lib/mem.h"
#include "lib/trabajo.h"
#include "lib/webhook.h"
#include "tests/fuzz/fuzz.h"
#include "worker/environment.h"
#include "worker/fetch/git.h"

#include <string.h>

static void ref_holds(const char *ref) {
	static bool started;
	if (!started) started = git_libgit2_init() > 0;
	AUTO_FREE char *branch = mem_format("refs/heads/%s", ref);
	int valid = 0;
	HOLDS(git_reference_name_is_valid(&valid, branch) == 0 && valid == 1);
	HOLDS(ref[0] != '-' && strlen(ref) <= TRABAJO_REF_MAX && fuzz_is_printable(ref));
}

static void keeps_its_promises(const struct trabajo_spec *spec) {
	if (spec->ref) ref_holds(spec->ref);
	HOLDS(spec->priority >= -100 && spec->priority <= 100);
	HOLDS(spec->timeout_s == -1 || (spec->timeout_s >= 1 && spec->timeout_s <= 86400));
	HOLDS(spec->retries >= -1 && spec->retries <= 100);
	HOLDS(spec->concurrency_limit >= 1 && spec->concurrency_limit <= 1000);
	HOLDS(!spec->concurrency_key || (*spec->concurrency_key && fuzz_is_printable(spec->concurrency_key)));
	HOLDS(spec->run_after_s >= -1 && (spec->run_after_s == -1 || spec->run_after_ms == -1));
	const char *name;
	json_t *value;
	json_object_foreach(spec->json, name, value) HOLDS(!json_is_null(value));
}

// Without a rule it goes by https alone, and shows no secret.
static void tells_nobody_else(const struct trabajo_spec *spec) {
	const json_t *on_done = json_object_get(spec->json, "on_done");
	AUTO_FREE char *url = NULL;
	bool listed = true;
	if (!on_done) return;
	AUTO_JSON json_t *shown = webhook_shown(on_done);
	HOLDS(!json_text(shown, "secret"));
	const char *text = json_is_string(on_done) ? json_string_value(on_done) : json_text(on_done, "url");
	HOLDS(text && strlen(text) <= WEBHOOK_URL_MAX && fuzz_is_printable(text));
	if (webhook_url(text, NULL, &url, &listed, NULL) != 0) return;
	HOLDS(!listed && strncmp(url, "https://", 8) == 0 && fuzz_is_printable(url) && !strchr(url, ' '));
}

static void survives_the_ledger(const struct trabajo_spec *spec) {
	AUTO_FREE char *text = json_write(spec->json);
	AUTO_JSON json_t *json = NULL;
	struct trabajo_spec again;
	HOLDS(strlen(text) <= TRABAJO_SPEC_MAX && json_read(text, strlen(text), TRABAJO_SPEC_MAX, &json, NULL) == 0);
	HOLDS(trabajo_spec_read(json, &again, NULL) == 0 && json_equal(again.json, spec->json));
	HOLDS(again.priority == spec->priority && again.timeout_s == spec->timeout_s && again.retries == spec->retries);
	HOLDS(again.run_after_s == spec->run_after_s && again.run_after_ms == spec->run_after_ms);
	HOLDS(again.concurrency_limit == spec->concurrency_limit && again.concurrency_replace == spec->concurrency_replace);
	HOLDS((again.ref == NULL) == (spec->ref == NULL) && (!spec->ref || strcmp(again.ref, spec->ref) == 0));
	AUTO_FREE char *twice = json_write(again.json);
	HOLDS(strcmp(text, twice) == 0);
	trabajo_spec_clear(&again);
}

static void sets_nothing_of_ours(const struct trabajo_spec *spec) {
	char **environment = environment_new("KEY", 1, "COMMIT", NULL, spec->json);
	size_t ours = 0;
	for (char **at = environment; *at; at++) {
		HOLDS(strncmp(*at, "HOME=", 5) != 0 && strncmp(*at, "PATH=", 5) != 0);
		ours += strcmp(*at, "LANG=C.UTF-8") == 0 || strcmp(*at, "CI=true") == 0 ||
			strcmp(*at, "TRABAJO_KEY=KEY") == 0 || strcmp(*at, "TRABAJO_ATTEMPT=1") == 0 ||
			strcmp(*at, "TRABAJO_COMMIT=COMMIT") == 0;
	}
	HOLDS(ours == 5);
	environment_free(environment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	AUTO_ERROR struct error error = {0};
	AUTO_JSON json_t *json = NULL;
	struct trabajo_spec spec;
	if (json_read((const char *)data, size, TRABAJO_SPEC_MAX, &json, &error) < 0) {
		HOLDS(!json);
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
	} else if (trabajo_spec_read(json, &spec, &error) < 0) {
		HOLDS(!spec.json && !spec.ref);
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
	} else {
		keeps_its_promises(&spec);
		tells_nobody_else(&spec);
		survives_the_ledger(&spec);
		sets_nothing_of_ours(&spec);
		trabajo_spec_clear(&spec);
	}
	return 0;
}
