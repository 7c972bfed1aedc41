// A record of topic trabajos: lines key, sub, usuario, role, spec ("-": there is none), and the value behind them.
#include "lib/giturl.h"
#include "lib/mem.h"
#include "lib/trabajo.h"
#include "lib/uuid.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/headers.h"

#include <string.h>

static void add_header(const char *name, const char *value) {
	if (strcmp(value, "-") != 0) fuzz_headers[fuzz_headers_count++] = (struct kafka_header){name, value, strlen(value)};
}

static void name_holds(const char *name) {
	HOLDS(name && *name && strlen(name) <= TRABAJO_USUARIO_MAX && fuzz_is_printable(name));
}

static void can_be_kept(const struct trabajo *trabajo) {
	char normal[UUID_TEXT];
	HOLDS(uuid_parse_text(trabajo->key, normal) == 0 && strcmp(normal, trabajo->key) == 0);
	name_holds(trabajo->owner);
	name_holds(trabajo->usuario);
	HOLDS(strcmp(trabajo->owner, TRABAJO_NOBODY) != 0 || strcmp(trabajo->usuario, TRABAJO_NOBODY) == 0);
	HOLDS(strcmp(trabajo->owner, TRABAJO_NOBODY) != 0 || !trabajo->admin);
	HOLDS(trabajo->url && strlen(trabajo->url) <= TRABAJO_URL_MAX && fuzz_is_printable(trabajo->url));
	HOLDS(trabajo->posted_ms == 1700000000123);
}

// What was taken is encoded and taken again, unchanged.
static void survives_the_topic(const struct trabajo *trabajo, const struct giturl_rules *rules) {
	struct trabajo again;
	AUTO_FREE char *spec = json_write(trabajo->spec.json);
	char before[65], after[65];
	fuzz_headers_count = trabajo_headers(trabajo, spec, fuzz_headers);
	struct kafka_message message = {.key = trabajo->key,
		.key_length = strlen(trabajo->key),
		.value = trabajo->url,
		.value_length = strlen(trabajo->url),
		.timestamp_ms = trabajo->posted_ms};
	HOLDS(trabajo_decode(&message, rules, &again, NULL) == TRABAJO_FINE);
	HOLDS(strcmp(again.key, trabajo->key) == 0 && strcmp(again.owner, trabajo->owner) == 0);
	HOLDS(strcmp(again.usuario, trabajo->usuario) == 0 && strcmp(again.url, trabajo->url) == 0);
	HOLDS(again.admin == trabajo->admin && json_equal(again.spec.json, trabajo->spec.json));
	HOLDS(trabajo_eligible_ms(&again) == trabajo_eligible_ms(trabajo));
	HOLDS(trabajo_eligible_ms(trabajo) >= trabajo->posted_ms);
	trabajo_fingerprint(trabajo, before);
	trabajo_fingerprint(&again, after);
	HOLDS(strcmp(before, after) == 0);
	trabajo_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	AUTO_FREE char *key = fuzz_line(&input), *sub = fuzz_line(&input), *usuario = fuzz_line(&input),
		       *role = fuzz_line(&input), *spec = fuzz_line(&input);
	size_t length;
	AUTO_FREE char *value = fuzz_rest(&input, &length);
	fuzz_headers_count = 0;
	add_header("sub", sub);
	add_header("usuario", usuario);
	add_header("role", role);
	add_header("spec", spec);
	struct kafka_message message = {.key = strcmp(key, "-") == 0 ? NULL : key,
		.key_length = strlen(key),
		.value = value,
		.value_length = length,
		.timestamp_ms = 1700000000123};
	struct giturl_rules *rules = NULL;
	struct trabajo trabajo;
	AUTO_ERROR struct error error = {0};
	HOLDS(giturl_rules_parse("http://localhost:8080/git/", &rules, NULL) == 0);
	enum trabajo_verdict verdict = trabajo_decode(&message, rules, &trabajo, &error);
	if (verdict != TRABAJO_FINE) fuzz_refused(&error, ERROR_INPUT, ERROR_DENIED);
	if (verdict != TRABAJO_USELESS) can_be_kept(&trabajo);
	if (verdict == TRABAJO_FINE) survives_the_topic(&trabajo, rules);
	trabajo_clear(&trabajo);
	giturl_rules_free(rules);
	return 0;
}
