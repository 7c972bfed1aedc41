#include "worker/reuse.h"

#include "lib/digest.h"
#include "lib/mem.h"

#include <string.h>

bool reuse_wanted(const json_t *spec) {
	return json_is_true(json_object_get(spec, "reuse"));
}

void reuse_print(const struct reuse_facts *facts, char text[65]) {
	AUTO_JSON json_t *json = json_object();
	json_object_set_new(json, "mirror", json_string(facts->mirror));
	json_object_set_new(json, "commit", json_string(facts->commit));
	json_object_set_new(json, "plan", plan_json(facts->plan));
	// An empty one is none.
	if (json_object_size(facts->env) > 0) json_object_set(json, "env", (json_t *)(uintptr_t)facts->env);
	json_object_set_new(json, "network", json_string(facts->egress ? "egress" : "none"));
	AUTO_FREE char *canonical = json_write(json);
	digest_sha256_hex(canonical, strlen(canonical), text);
}
