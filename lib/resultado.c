#include "lib/resultado.h"

#include "lib/mem.h"
#include "lib/uuid.h"

#include <inttypes.h>
#include <math.h>

static const char *const code_names[OUTCOME_CODES] = {
	[OUTCOME_OK] = "ok",
	[OUTCOME_EXIT] = "exit",
	[OUTCOME_SIGNAL] = "signal",
	[OUTCOME_TIMEOUT] = "timeout",
	[OUTCOME_MEMORY] = "memory",
	[OUTCOME_PROCESSES] = "processes",
	[OUTCOME_DISK] = "disk",
	[OUTCOME_FILES] = "files",
	[OUTCOME_OUTPUT] = "output",
	[OUTCOME_NO_PLAN] = "no_plan",
	[OUTCOME_NOT_FOUND] = "not_found",
	[OUTCOME_DENIED] = "denied",
	[OUTCOME_FETCH] = "fetch",
	[OUTCOME_SANDBOX] = "sandbox",
	[OUTCOME_LOST] = "lost",
	[OUTCOME_CANCELLED] = "cancelled",
};
static const char *const blame_names[] = {
	[BLAME_NONE] = NULL,
	[BLAME_USER] = "user",
	[BLAME_LIMIT] = "limit",
	[BLAME_PLATFORM] = "platform",
};

// ---- outcomes

void outcome_clear(struct outcome *outcome) {
	free(outcome->message);
	*outcome = (struct outcome){.exit_code = -1};
}

void outcome_set(struct outcome *outcome, enum outcome_code code, enum blame blame, const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	char *message = mem_format_list(format, arguments);
	va_end(arguments);
	outcome_clear(outcome);
	outcome->code = code;
	outcome->blame = blame;
	outcome->message = message;
}

const char *outcome_code_name(enum outcome_code code) {
	return code_names[code];
}

const char *blame_name(enum blame blame) {
	return blame_names[blame];
}

const char *outcome_status(const struct outcome *outcome) {
	if (outcome->code == OUTCOME_OK) return "Finished";
	return outcome->code == OUTCOME_CANCELLED ? "Cancelled" : "Failed";
}

static json_t *text_or_null(const char *text) {
	if (!text) return json_null();
	json_t *json = json_string(text);
	if (json) return json;
	// no UTF-8 (a job's doing): what is beyond ASCII goes
	AUTO_FREE char *plain = mem_strdup(text);
	for (char *at = plain; *at; at++)
		if ((unsigned char)*at >= 0x80) *at = '?';
	return json_string(plain);
}

json_t *outcome_json(const struct outcome *outcome) {
	json_t *json = json_object();
	json_object_set_new(json, "code", json_string(outcome_code_name(outcome->code)));
	json_object_set_new(json, "blame", text_or_null(blame_name(outcome->blame)));
	json_object_set_new(json, "exit_code", outcome->exit_code >= 0 ? json_integer(outcome->exit_code) : json_null());
	json_object_set_new(json, "signal", outcome->signal > 0 ? json_integer(outcome->signal) : json_null());
	json_object_set_new(json, "message", text_or_null(outcome->message));
	return json;
}

static int index_of(const char *const *names, size_t count, const char *name) {
	for (size_t i = 0; name && i < count; i++)
		if (names[i] && !strcmp(names[i], name)) return (int)i;
	return -1;
}

static int number_or_null(const json_t *json, const char *name, int64_t fallback, int *number, struct error *error) {
	int64_t value = fallback;
	*number = (int)fallback;
	if (json_is_null(json_object_get(json, name))) return 0;
	if (json_int(json, name, 0, 255, fallback, &value, error)) return -1;
	*number = (int)value;
	return 0;
}

int outcome_read(const json_t *json, struct outcome *outcome, struct error *error) {
	outcome_clear(outcome);
	if (!json_is_object(json)) return error_set(error, ERROR_INPUT, "an outcome must be an object");
	int code = index_of(code_names, COUNT_OF(code_names), json_text(json, "code"));
	if (code < 0) return error_set(error, ERROR_INPUT, "code is none of an outcome");
	const json_t *blame_json = json_object_get(json, "blame"), *message = json_object_get(json, "message");
	int blame = index_of(blame_names, COUNT_OF(blame_names), json_string_value(blame_json));
	if (blame < 0 && blame_json && !json_is_null(blame_json))
		return error_set(error, ERROR_INPUT, "blame must be user, limit, platform or null");
	if (message && !json_is_string(message) && !json_is_null(message))
		return error_set(error, ERROR_INPUT, "message must be a string or null");
	if (number_or_null(json, "exit_code", -1, &outcome->exit_code, error)) return -1;
	if (number_or_null(json, "signal", 0, &outcome->signal, error)) return -1;
	outcome->code = (enum outcome_code)code;
	outcome->blame = blame < 0 ? BLAME_NONE : (enum blame)blame;
	if (json_is_string(message)) outcome->message = mem_strdup(json_string_value(message));
	return 0;
}

// ---- the record

void resultado_clear(struct resultado *resultado) {
	free(resultado->usuario);
	free(resultado->worker);
	free(resultado->code);
	json_decref(resultado->outcome);
	*resultado = (struct resultado){0};
}

char *resultado_encode(const struct resultado *resultado) {
	AUTO_JSON json_t *json = json_object();
	json_object_set_new(json, "code", text_or_null(resultado->code));
	json_object_set_new(json, "timeJobPosted", json_integer(resultado->posted_ms));
	json_object_set_new(json, "timeExecution", json_integer(resultado->execution_ms));
	json_object_set_new(json, "attempt", json_integer(resultado->attempt));
	json_object_set_new(json, "usuario", text_or_null(resultado->usuario));
	json_object_set_new(json, "worker", text_or_null(resultado->worker));
	json_object_set_new(json, "outcome", resultado->outcome ? json_incref(resultado->outcome) : json_null());
	return json_write(json);
}

// JavaScript's numbers: whole up to 2^53, and a fraction is no reason to refuse.
static int milliseconds(const json_t *json, const char *name, int64_t *value, struct error *error) {
	const double most = 9007199254740992.0;
	const json_t *member = json_object_get(json, name);
	double number = json_number_value(member);
	if (!json_is_number(member) || number < -most || number > most)
		return error_set(error, ERROR_INPUT, "%s must be a number of milliseconds", name);
	*value = json_is_integer(member) ? json_integer_value(member) : (int64_t)llround(number);
	return 0;
}

static void lenient(const json_t *json, struct resultado *resultado) {
	const json_t *code = json_object_get(json, "code");
	if (json_is_string(code))
		resultado->code = mem_strdup(json_string_value(code));
	else if (json_is_integer(code))
		resultado->code = mem_format("%" PRId64, (int64_t)json_integer_value(code));
	else
		resultado->code = mem_strdup("");
	resultado->attempt = json_integer_value(json_object_get(json, "attempt"));
	const char *usuario = json_text(json, "usuario"), *worker = json_text(json, "worker");
	if (usuario) resultado->usuario = mem_strdup(usuario);
	if (worker) resultado->worker = mem_strdup(worker);
	json_t *outcome = json_object_get(json, "outcome");
	if (json_is_object(outcome)) resultado->outcome = json_incref(outcome);
}

int resultado_decode(const char *key, size_t key_length, const char *value, size_t length, struct resultado *resultado,
	struct error *error) {
	enum { MOST_BYTES = 1 << 20 };
	AUTO_JSON json_t *json = NULL;
	*resultado = (struct resultado){0};
	if (!value) return error_set(error, ERROR_INPUT, "resultado: no value");
	if (json_read(value, length, MOST_BYTES, &json, error)) return error_wrap(error, "resultado");
	if (!json_is_object(json)) return error_set(error, ERROR_INPUT, "resultado: not an object");
	if (milliseconds(json, "timeJobPosted", &resultado->posted_ms, error) ||
		milliseconds(json, "timeExecution", &resultado->execution_ms, error))
		return error_wrap(error, "resultado");
	AUTO_FREE char *text = key ? mem_strndup(key, key_length) : mem_strdup("");
	if (uuid_parse_text(text, resultado->key)) resultado->key[0] = '\0'; // others may use other keys
	lenient(json, resultado);
	return 0;
}

int64_t resultado_wait_ms(const struct resultado *resultado, int64_t timestamp_ms) {
	return timestamp_ms - resultado->posted_ms - resultado->execution_ms;
}
