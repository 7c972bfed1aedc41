// The record of topic resultados, and an outcome: what happened and whose fault it was.
#pragma once

#include "lib/error.h"
#include "lib/json.h"

#include <stdint.h>

enum outcome_code {
	OUTCOME_OK,
	OUTCOME_EXIT,
	OUTCOME_SIGNAL,
	OUTCOME_TIMEOUT,
	OUTCOME_MEMORY,
	OUTCOME_PROCESSES,
	OUTCOME_DISK,
	OUTCOME_FILES,
	OUTCOME_OUTPUT,
	OUTCOME_NO_PLAN,
	OUTCOME_NOT_FOUND,
	OUTCOME_DENIED,
	OUTCOME_FETCH,
	OUTCOME_SANDBOX,
	OUTCOME_LOST,
	OUTCOME_CANCELLED,
	OUTCOME_CODES
};
enum blame { BLAME_NONE, BLAME_USER, BLAME_LIMIT, BLAME_PLATFORM };

struct outcome {
	enum outcome_code code;
	enum blame blame;
	int exit_code; // -1: none
	int signal;    // 0: none
	char *message; // owned; for people
};

void outcome_clear(struct outcome *outcome);
void outcome_set(struct outcome *outcome, enum outcome_code code, enum blame blame, const char *format, ...) PRINTF(4, 5);
const char *outcome_code_name(enum outcome_code code); // "ok", "exit", …
const char *blame_name(enum blame blame);              // NULL for BLAME_NONE (JSON null)
// "Finished", "Failed", "Cancelled".
const char *outcome_status(const struct outcome *outcome);
// {"code":"exit","blame":"user","exit_code":3,"signal":null,"message":"…"}; new reference.
json_t *outcome_json(const struct outcome *outcome) MUST_USE;
int outcome_read(const json_t *json, struct outcome *outcome, struct error *error) MUST_USE;

struct resultado {
	char key[37];
	char *usuario;
	char *worker;
	int64_t posted_ms;    // timeJobPosted
	int64_t execution_ms; // timeExecution: fetch and run of this attempt
	int64_t attempt;
	char *code;      // Finished, Failed, Cancelled
	json_t *outcome; // as above; may be NULL when read from a foreign record
};

void resultado_clear(struct resultado *resultado);
char *resultado_encode(const struct resultado *resultado) MUST_USE; // the record's value; owned by the caller
// Lenient about what others wrote (the original's records have only code and the two times), strict about the two numbers.
int resultado_decode(const char *key, size_t key_length, const char *value, size_t length, struct resultado *resultado,
	struct error *error) MUST_USE;
// timestamp − timeJobPosted − timeExecution, milliseconds.
int64_t resultado_wait_ms(const struct resultado *resultado, int64_t timestamp_ms);
