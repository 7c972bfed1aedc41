// First line: a record's key. The rest: its value, from topic resultados.
#include "lib/mem.h"
#include "lib/resultado.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool same(const char *one, const char *other) {
	return one == other || (one && other && strcmp(one, other) == 0);
}

static void outcome_holds(const json_t *json) {
	struct outcome outcome = {0}, again = {0};
	AUTO_ERROR struct error error = {0};
	if (outcome_read(json, &outcome, &error) < 0) {
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
	} else {
		AUTO_JSON json_t *written = outcome_json(&outcome);
		HOLDS(outcome_read(written, &again, NULL) == 0);
		HOLDS(again.code == outcome.code && again.blame == outcome.blame && again.exit_code == outcome.exit_code);
		HOLDS(again.signal == outcome.signal && same(again.message, outcome.message));
	}
	outcome_clear(&outcome);
	outcome_clear(&again);
}

static void survives_the_topic(const char *key, const struct resultado *resultado) {
	struct resultado again;
	AUTO_FREE char *text = resultado_encode(resultado);
	HOLDS(resultado_decode(key, strlen(key), text, strlen(text), &again, NULL) == 0);
	HOLDS(strcmp(again.key, resultado->key) == 0 && same(again.usuario, resultado->usuario));
	HOLDS(same(again.worker, resultado->worker) && same(again.code, resultado->code));
	HOLDS(again.posted_ms == resultado->posted_ms && again.execution_ms == resultado->execution_ms);
	HOLDS(again.attempt == resultado->attempt);
	HOLDS(again.outcome == resultado->outcome || json_equal(again.outcome, resultado->outcome));
	HOLDS(resultado_wait_ms(&again, 1700000000123) == resultado_wait_ms(resultado, 1700000000123));
	resultado_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	AUTO_FREE char *key = fuzz_line(&input);
	size_t length;
	AUTO_FREE char *value = fuzz_rest(&input, &length);
	AUTO_ERROR struct error error = {0};
	struct resultado resultado;
	if (resultado_decode(key, strlen(key), value, length, &resultado, &error) < 0) {
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
	} else {
		survives_the_topic(key, &resultado);
		if (resultado.outcome) outcome_holds(resultado.outcome);
	}
	resultado_clear(&resultado);
	return 0;
}
