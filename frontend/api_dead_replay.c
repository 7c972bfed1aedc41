// POST /api/v1/dead/replay: many dead letters at once, by {"keys": […]} or {"filter": {…}, "limit": n, "after": cursor}. Those that are not
// there, not dead any more or not the caller's are passed over. It goes by batches, each a transaction of its own, so that neither locks
// nor statements are long; where so many letters have to be looked at that time runs out, it says where to go on.
#include "frontend/api.h"
#include "frontend/api_statements.h"
#include "frontend/param.h"
#include "lib/mem.h"
#include "lib/moment.h"
#include "lib/resultado.h"

#include <inttypes.h>
#include <string.h>

#define MOST      1000 // of one call
#define BATCH     100
#define ENOUGH_MS 4000

struct wanted {
	const struct frontend *frontend;
	char *owner;                  // NULL: anybody's
	char *usuario, *code, *blame; // of the body; usuario NULL: the caller's own, others NULL: any
	char *keys;                   // an array's text; NULL: by the filter
	char *since, *until;          // ms; NULL: any
	struct param_cursor after;    // key "": from the start
	int64_t limit, replayed, until_ms;
	unsigned batches; // that have it
};

static void wanted_free(struct wanted *wanted) {
	free(wanted->owner);
	free(wanted->usuario);
	free(wanted->code);
	free(wanted->blame);
	free(wanted->keys);
	free(wanted->since);
	free(wanted->until);
	free(wanted);
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
	wanted->code = mem_strdup(text);
	return is_code(text) ? 0 : error_set(error, ERROR_INPUT, "filter: code must be an outcome's code");
}

static int blame_read(const char *text, struct wanted *wanted, struct error *error) {
	wanted->blame = mem_strdup(text);
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
	wanted->usuario = mem_strdup(text);
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

static int after_cursor_read(const json_t *after, struct wanted *wanted, struct error *error) {
	const char *text = json_string_value(after);
	if (!after || (text && param_cursor_read(text, &wanted->after) == 0 && *wanted->after.us)) return 0;
	return error_set(error, ERROR_INPUT, "after must be what next of an answer was");
}

static int wanted_read(const json_t *body, struct wanted *wanted, struct error *error) {
	const json_t *keys = json_object_get(body, "keys"), *filter = json_object_get(body, "filter"),
		     *after = json_object_get(body, "after");
	size_t known = 1U + (json_object_get(body, "limit") != NULL) + (after != NULL);
	if (!keys == !filter) return error_set(error, ERROR_INPUT, "there must be either keys or filter");
	if (json_object_size(body) != known || (keys && after))
		return error_set(error, ERROR_INPUT, "known are keys, filter, limit and, with a filter, after");
	if (json_int(body, "limit", 1, MOST, MOST, &wanted->limit, error) || after_cursor_read(after, wanted, error)) return -1;
	return keys ? keys_read(keys, wanted, error) : filter_read(filter, wanted, error);
}

// ---- batch by batch

static void ask(struct http_request *request, struct wanted *wanted);

static void drop(void *arg) {
	struct wanted *wanted = arg;
	if (--wanted->batches == 0) wanted_free(wanted);
}

static void tell(struct http_request *request, const struct wanted *wanted, bool more, const char *next) {
	api_answer_json(request, 200,
		json_pack("{s:I, s:b, s:s?}", "replayed", (json_int_t)wanted->replayed, "more", (int)more, "next", next));
}

static void answer(struct http_request *request, const struct db_result *result, void *arg) {
	struct wanted *wanted = arg;
	const char *next = db_get(result, 0, 2);
	wanted->replayed += db_get_int(result, 0, 0);
	intake_tap(wanted->frontend->intake);
	bool more = db_get_int(result, 0, 1) != 0;
	if (more && next && wanted->replayed < wanted->limit && loop_now_ms() < wanted->until_ms &&
		param_cursor_read(next, &wanted->after) == 0)
		ask(request, wanted);
	else
		tell(request, wanted, more, next);
}

// The batches before this one are done: their answer says where to go on.
static bool failed(struct http_request *request, void *arg) {
	const struct wanted *wanted = arg;
	if (wanted->replayed == 0) return false;
	AUTO_FREE char *next = mem_format("%s.%s", wanted->after.us, wanted->after.key);
	tell(request, wanted, true, next);
	return true;
}

static void ask(struct http_request *request, struct wanted *wanted) {
	int64_t left = wanted->limit - wanted->replayed, most = wanted->keys || left < BATCH ? left : BATCH;
	AUTO_FREE char *most_text = mem_format("%" PRId64, most);
	bool everybody = wanted->usuario && strcmp(wanted->usuario, "*") == 0, further = *wanted->after.key != '\0';
	const struct api_query query = {.statement = &api_statement_dead_replay,
		.writes = true,
		.params = {wanted->owner, everybody ? NULL : wanted->usuario, wanted->keys, wanted->code, wanted->blame,
			wanted->since, wanted->until, most_text, further ? wanted->after.key : NULL,
			further ? wanted->after.us : NULL},
		.count = 10,
		.answer = answer,
		.failed = failed,
		.drop = drop,
		.arg = wanted};
	wanted->batches++;
	api_query(wanted->frontend, request, &query);
}

// ---- the way in

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	AUTO_JSON json_t *body = NULL;
	struct error error AUTO_ERROR = {0};
	if (http_json(request, &body)) return;
	struct wanted *wanted = mem_zalloc(sizeof *wanted);
	wanted->frontend = arg;
	wanted->until_ms = loop_now_ms() + ENOUGH_MS;
	if (wanted_read(body, wanted, &error)) {
		answer_problem(request, 400, 0, "The body was not accepted: %s.", error_text(&error));
		wanted_free(wanted);
	} else if (wanted->usuario && !(claims->roles & TOKEN_ROLE_ADMIN)) {
		answer_problem(request, 403, 0, "The filter's member usuario needs the realm role admin.");
		wanted_free(wanted);
	} else {
		// by keys an administrator reaches anybody's, by a filter only those that were asked for
		wanted->owner = mem_strdup(wanted->keys ? api_whose(claims) : wanted->usuario ? NULL : claims->sub);
		ask(request, wanted);
	}
}

void api_dead_replay_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
