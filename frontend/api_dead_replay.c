// POST /api/v1/dead/replay: many dead letters at once, by {"keys": […]} or {"filter": {…}, "limit": n}. Those that are not there, not
// dead any more or not the caller's are passed over.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "frontend/param.h"
#include "lib/mem.h"
#include "lib/moment.h"
#include "lib/resultado.h"

#include <inttypes.h>
#include <string.h>

#define MOST 1000 // of one call

struct wanted {
	const char *usuario, *code, *blame; // of the body; usuario NULL: the caller's own, others NULL: any
	char *keys;                         // an array's text; NULL: by the filter
	char *since, *until;                // ms; NULL: any
	char *limit;
};

static void wanted_clear(struct wanted *wanted) {
	free(wanted->keys);
	free(wanted->since);
	free(wanted->until);
	free(wanted->limit);
}

// ---- reading

static int keys_read(const json_t *keys, struct wanted *wanted, struct error *error) {
	size_t count = json_array_size(keys), length;
	if (!json_is_array(keys) || count == 0 || count > MOST)
		return error_set(error, ERROR_INPUT, "keys must be an array of 1 to %d keys", MOST);
	FILE *out = open_memstream(&wanted->keys, &length);
	if (!out) abort();
	size_t i;
	for (i = 0; i < count; i++) {
		char key[UUID_TEXT];
		const char *text = json_string_value(json_array_get(keys, i));
		if (!text || uuid_parse_text(text, key)) break;
		fprintf(out, "%c%s", i ? ',' : '{', key);
	}
	putc('}', out);
	if (fclose(out)) abort();
	return i == count ? 0 : error_set(error, ERROR_INPUT, "keys[%zu] must be a key, which is a UUID", i);
}

static bool is_code(const char *text) {
	for (enum outcome_code code = 0; code < OUTCOME_CODES; code++)
		if (strcmp(outcome_code_name(code), text) == 0) return true;
	return false;
}

static bool is_blame(const char *text) {
	for (enum blame blame = BLAME_USER; blame <= BLAME_PLATFORM; blame++)
		if (strcmp(blame_name(blame), text) == 0) return true;
	return false;
}

static int code_read(const char *text, struct wanted *wanted, struct error *error) {
	wanted->code = text;
	return is_code(text) ? 0 : error_set(error, ERROR_INPUT, "filter: code must be an outcome's code");
}

static int blame_read(const char *text, struct wanted *wanted, struct error *error) {
	wanted->blame = text;
	return is_blame(text) ? 0 : error_set(error, ERROR_INPUT, "filter: blame must be user, limit or platform");
}

static int moment_text(const char *text, const char *member, char **ms, struct error *error) {
	int64_t moment_ms;
	if (moment_read(text, &moment_ms))
		return error_set(
			error, ERROR_INPUT, "filter: %s must be a moment (RFC 3339, like 2026-11-21T12:00:00Z)", member);
	*ms = mem_format("%" PRId64, moment_ms);
	return 0;
}

static int after_read(const char *text, struct wanted *wanted, struct error *error) {
	return moment_text(text, "after", &wanted->since, error);
}

static int before_read(const char *text, struct wanted *wanted, struct error *error) {
	return moment_text(text, "before", &wanted->until, error);
}

static int usuario_read(const char *text, struct wanted *wanted, struct error *error) {
	wanted->usuario = text;
	return *text ? 0 : error_set(error, ERROR_INPUT, "filter: usuario must be a name");
}

static int filter_read(const json_t *filter, struct wanted *wanted, struct error *error) {
	static const struct {
		const char *name;
		int (*read)(const char *text, struct wanted *wanted, struct error *error);
	} members[] = {{"code", code_read}, {"blame", blame_read}, {"after", after_read}, {"before", before_read},
		{"usuario", usuario_read}};
	if (!json_is_object(filter)) return error_set(error, ERROR_INPUT, "filter must be an object");
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)filter, name, value) {
		size_t i = 0;
		while (i < COUNT_OF(members) && strcmp(members[i].name, name) != 0) i++;
		if (i == COUNT_OF(members))
			return error_set(error, ERROR_INPUT, "filter: known are code, blame, after, before, usuario");
		if (!json_is_string(value)) return error_set(error, ERROR_INPUT, "filter: %s must be a string", name);
		if (members[i].read(json_string_value(value), wanted, error)) return -1;
	}
	return 0;
}

static int wanted_read(const json_t *body, struct wanted *wanted, struct error *error) {
	const json_t *keys = json_object_get(body, "keys"), *filter = json_object_get(body, "filter");
	size_t known = json_object_get(body, "limit") ? 2 : 1;
	int64_t limit;
	if (!keys == !filter) return error_set(error, ERROR_INPUT, "there must be either keys or filter");
	if (json_object_size(body) != known) return error_set(error, ERROR_INPUT, "known are keys, filter, limit");
	if (json_int(body, "limit", 1, MOST, MOST, &limit, error)) return -1;
	wanted->limit = mem_format("%" PRId64, limit);
	return keys ? keys_read(keys, wanted, error) : filter_read(filter, wanted, error);
}

// ---- the way in

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	const struct frontend *frontend = arg;
	intake_tap(frontend->intake);
	api_answer_json(request, 200,
		json_pack(
			"{s:I, s:b}", "replayed", (json_int_t)db_get_int(result, 0, 0), "more", (int)db_get_int(result, 0, 1)));
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	AUTO_JSON json_t *body = NULL;
	struct wanted wanted = {0};
	struct error error AUTO_ERROR = {0};
	if (http_json(request, &body)) return;
	if (wanted_read(body, &wanted, &error)) {
		answer_problem(request, 400, 0, "The body was not accepted: %s.", error_text(&error));
	} else if (wanted.usuario && !(claims->roles & TOKEN_ROLE_ADMIN)) {
		answer_problem(request, 403, 0, "The filter's member usuario needs the realm role admin.");
	} else {
		// by keys an administrator reaches anybody's, by a filter only those that were asked for
		bool everybody = wanted.usuario && strcmp(wanted.usuario, "*") == 0;
		const char *owner = wanted.keys ? api_whose(claims) : wanted.usuario ? NULL : claims->sub;
		const struct api_query query = {.statement = &api_statement_dead_replay,
			.writes = true,
			.params = {owner, everybody ? NULL : wanted.usuario, wanted.keys, wanted.code, wanted.blame,
				wanted.since, wanted.until, wanted.limit},
			.count = 8,
			.answer = answer,
			.arg = arg};
		api_query(arg, request, &query);
	}
	wanted_clear(&wanted);
}

void api_dead_replay_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
