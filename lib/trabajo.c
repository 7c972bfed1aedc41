#include "lib/trabajo.h"

#include "lib/digest.h"
#include "lib/giturl.h"
#include "lib/mem.h"
#include "lib/moment.h"
#include "lib/uuid.h"
#include "lib/webhook.h"

#include <ctype.h>
#include <stdbool.h>

enum { TEXT_MOST = 200, LABELS_MOST = 32, ENV_BYTES_MOST = 32768, CONCURRENCY_MOST = 1000, DELAY_MOST_S = 366 * 86400 };

// ---- text

static bool is_utf8(const void *data, size_t length) {
	json_t *json = json_stringn(data, length); // checks it
	json_decref(json);
	return json != NULL;
}

static bool has_control(const char *text, size_t length) {
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) return true;
	return false;
}

// What came, in a form that can be stored and shown: as it is, or cut and with what is not ASCII or not printable gone.
static char *printable(const void *data, size_t length, size_t most) {
	const char *from = data;
	if (!from) return mem_strdup("");
	if (length <= most && is_utf8(from, length) && !has_control(from, length)) return mem_strndup(from, length);
	if (length > most) length = most;
	char *text = mem_zalloc(length + 1);
	for (size_t i = 0; i < length; i++) text[i] = from[i] >= ' ' && from[i] < 0x7f ? from[i] : '?';
	return text;
}

// ---- refs (git-check-ref-format)

static bool component_is_bad(const char *from, size_t length) {
	static const char lock[] = ".lock";
	const size_t tail = sizeof(lock) - 1;
	return !length || from[0] == '.' || (length >= tail && !memcmp(from + length - tail, lock, tail));
}

int trabajo_ref_check(const char *ref, struct error *error) {
	size_t length = strlen(ref);
	if (!length || length > TRABAJO_REF_MAX)
		return error_set(error, ERROR_INPUT, "ref must have 1 to %d bytes", TRABAJO_REF_MAX);
	bool bad = ref[0] == '-' || ref[length - 1] == '.' || !strcmp(ref, "@") || strstr(ref, "..") || strstr(ref, "@{") ||
		   strpbrk(ref, " ~^:?*[\\") || has_control(ref, length) || !is_utf8(ref, length);
	for (const char *at = ref; !bad;) {
		size_t part = strcspn(at, "/");
		bad = component_is_bad(at, part);
		if (!at[part]) break;
		at += part + 1;
	}
	if (!bad) return 0;
	return error_set(
		error, ERROR_INPUT, "ref must be the name of a branch or tag, or a commit id (see git-check-ref-format)");
}

// ---- what a user may ask for

static int read_ref(const json_t *value, struct trabajo_spec *spec, struct error *error) {
	if (!json_is_string(value)) return error_set(error, ERROR_INPUT, "ref must be a string");
	if (trabajo_ref_check(json_string_value(value), error)) return -1;
	spec->ref = mem_strdup(json_string_value(value));
	return 0;
}

static bool short_text(const json_t *value) {
	size_t length = json_string_length(value);
	return json_is_string(value) && length <= TEXT_MOST && !has_control(json_string_value(value), length);
}

static int read_run_after(const json_t *value, struct trabajo_spec *spec, struct error *error) {
	int64_t delay_s = json_is_integer(value) ? json_integer_value(value) : -1;
	if (delay_s >= 0 && delay_s <= DELAY_MOST_S) {
		spec->run_after_s = delay_s;
		return 0;
	}
	if (json_is_string(value) && moment_read(json_string_value(value), &spec->run_after_ms) == 0) return 0;
	return error_set(error, ERROR_INPUT,
		"run_after must be a moment (RFC 3339, like 2026-11-21T12:00:00Z) or a delay of 0 to %d seconds", DELAY_MOST_S);
}

static int read_concurrency_key(const json_t *value, struct trabajo_spec *spec, struct error *error) {
	if (!short_text(value) || !json_string_length(value))
		return error_set(error, ERROR_INPUT, "concurrency_key must be a string of 1 to %d bytes", TEXT_MOST);
	spec->concurrency_key = mem_strdup(json_string_value(value));
	return 0;
}

static int read_concurrency_policy(const json_t *value, struct trabajo_spec *spec, struct error *error) {
	const char *policy = json_is_string(value) ? json_string_value(value) : "";
	spec->concurrency_replace = strcmp(policy, "replace") == 0;
	if (spec->concurrency_replace || strcmp(policy, "queue") == 0) return 0;
	return error_set(error, ERROR_INPUT, "concurrency_policy must be \"queue\" or \"replace\"");
}

static int read_labels(const json_t *value, struct trabajo_spec *spec UNUSED, struct error *error) {
	const char *name;
	json_t *label, *labels = (json_t *)(uintptr_t)value;
	if (!json_is_object(value) || json_object_size(value) > LABELS_MOST)
		return error_set(error, ERROR_INPUT, "labels must be an object of at most %d strings", LABELS_MOST);
	json_object_foreach(labels, name, label) {
		size_t length = strlen(name);
		if (!length || length > TEXT_MOST || has_control(name, length) || !short_text(label))
			return error_set(
				error, ERROR_INPUT, "labels must have names and strings of at most %d bytes", TEXT_MOST);
	}
	return 0;
}

static bool env_name_allowed(const char *name) {
	static const char *const ours[] = {"HOME", "PATH", "LANG", "CI"};
	if (!isalpha((unsigned char)name[0]) && name[0] != '_') return false;
	for (const char *at = name; *at; at++)
		if (!isalnum((unsigned char)*at) && *at != '_') return false;
	for (size_t i = 0; i < COUNT_OF(ours); i++)
		if (!strcmp(name, ours[i])) return false;
	return strncmp(name, "TRABAJO_", strlen("TRABAJO_")) != 0;
}

static int read_env(const json_t *value, struct trabajo_spec *spec UNUSED, struct error *error) {
	const char *name;
	json_t *setting, *env = (json_t *)(uintptr_t)value;
	size_t bytes = 0;
	if (!json_is_object(value)) return error_set(error, ERROR_INPUT, "env must be an object of strings");
	json_object_foreach(env, name, setting) {
		// values are secrets: messages name nothing but the member
		if (!env_name_allowed(name))
			return error_set(error, ERROR_INPUT,
				"env: names are letters, digits and _, and never HOME, PATH, LANG, CI or TRABAJO_…");
		if (!json_is_string(setting)) return error_set(error, ERROR_INPUT, "env: %s must be a string", name);
		bytes += strlen(name) + json_string_length(setting) + 2;
	}
	if (bytes > ENV_BYTES_MOST)
		return error_set(error, ERROR_INPUT, "env must have at most %d bytes in all", ENV_BYTES_MOST);
	return 0;
}

static int read_reuse(const json_t *value, struct trabajo_spec *spec UNUSED, struct error *error) {
	return json_is_boolean(value) ? 0 : error_set(error, ERROR_INPUT, "reuse must be true or false");
}

static int read_on_done(const json_t *value, struct trabajo_spec *spec UNUSED, struct error *error) {
	return webhook_check(value, error);
}

static int read_number(const json_t *json, const char *name, int64_t min, int64_t max, int64_t *number, struct error *error) {
	if (json_is_null(json_object_get(json, name))) return 0;
	return json_int(json, name, min, max, *number, number, error);
}

static int read_members(const json_t *json, struct trabajo_spec *spec, struct error *error) {
	static const struct {
		const char *name;
		int (*read)(const json_t *value, struct trabajo_spec *spec, struct error *error); // NULL: a number
	} members[] = {
		{"ref", read_ref},
		{"priority", NULL},
		{"timeout_s", NULL},
		{"retries", NULL},
		{"run_after", read_run_after},
		{"concurrency_key", read_concurrency_key},
		{"concurrency_limit", NULL},
		{"concurrency_policy", read_concurrency_policy},
		{"labels", read_labels},
		{"env", read_env},
		{"reuse", read_reuse},
		{"on_done", read_on_done},
	};
	const char *name;
	json_t *value, *object = (json_t *)(uintptr_t)json;
	json_object_foreach(object, name, value) {
		size_t i = 0;
		while (i < COUNT_OF(members) && strcmp(members[i].name, name) != 0) i++;
		if (i == COUNT_OF(members)) {
			AUTO_FREE char *shown = printable(name, strlen(name), 50);
			return error_set(error, ERROR_INPUT,
				"unknown member %s; known are ref, priority, timeout_s, retries, run_after, concurrency_key, "
				"concurrency_limit, concurrency_policy, labels, env, reuse, on_done",
				shown);
		}
		if (json_is_null(value)) continue; // as if it were not there
		if (members[i].read && members[i].read(value, spec, error)) return -1;
		json_object_set(spec->json, name, value);
	}
	return 0;
}

#define NOTHING_ASKED .timeout_s = -1, .retries = -1, .run_after_s = -1, .run_after_ms = -1, .concurrency_limit = 1

int trabajo_spec_read(const json_t *json, struct trabajo_spec *spec, struct error *error) {
	*spec = (struct trabajo_spec){NOTHING_ASKED, .json = json_object()};
	if (!json) return 0;
	if (!json_is_object(json)) {
		error_set(error, ERROR_INPUT, "spec must be an object");
	} else if (!read_members(json, spec, error) && !read_number(json, "priority", -100, 100, &spec->priority, error) &&
		   !read_number(json, "timeout_s", 1, 86400, &spec->timeout_s, error) &&
		   !read_number(json, "retries", 0, 100, &spec->retries, error) &&
		   !read_number(json, "concurrency_limit", 1, CONCURRENCY_MOST, &spec->concurrency_limit, error)) {
		return 0;
	}
	trabajo_spec_clear(spec);
	return -1;
}

void trabajo_spec_clear(struct trabajo_spec *spec) {
	free(spec->ref);
	free(spec->concurrency_key);
	json_decref(spec->json);
	*spec = (struct trabajo_spec){NOTHING_ASKED};
}

void trabajo_clear(struct trabajo *trabajo) {
	free(trabajo->owner);
	free(trabajo->usuario);
	free(trabajo->url);
	trabajo_spec_clear(&trabajo->spec);
	*trabajo = (struct trabajo){0};
}

// Which JSON writes as it is.
static bool is_plain(const char *text) {
	for (; *text; text++)
		if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\') return false;
	return true;
}

// {"spec":…,"url":…}
static char *canonical_json(const struct trabajo *trabajo) {
	if (is_plain(trabajo->url)) {
		AUTO_FREE char *spec = trabajo->spec.json ? json_write(trabajo->spec.json) : mem_strdup("{}");
		return mem_format("{\"spec\":%s,\"url\":\"%s\"}", spec, trabajo->url);
	}
	AUTO_JSON json_t *json = json_object();
	// a URL that is no UTF-8 can only come from a caller's mistake; json_write would end the process
	json_object_set_new(json, "url", is_utf8(trabajo->url, strlen(trabajo->url)) ? json_string(trabajo->url) : json_null());
	json_object_set_new(json, "spec", trabajo->spec.json ? json_incref(trabajo->spec.json) : json_object());
	return json_write(json);
}

void trabajo_fingerprint(const struct trabajo *trabajo, char text[65]) {
	AUTO_FREE char *canonical = canonical_json(trabajo);
	digest_sha256_hex(canonical, strlen(canonical), text);
}

// ---- the record

#define ADMIN "admin"

static int decode_key(const struct kafka_message *message, struct trabajo *trabajo, struct error *error) {
	char text[UUID_TEXT] = "";
	if (message->key && message->key_length == UUID_TEXT - 1) memcpy(text, message->key, UUID_TEXT - 1);
	if (*text && !uuid_parse_text(text, trabajo->key)) return 0;
	return error_set(error, ERROR_INPUT, "the key is no UUID");
}

static bool name_fits(const void *name, size_t length) {
	return length && length <= TRABAJO_USUARIO_MAX && is_utf8(name, length) && !has_control(name, length);
}

static int decode_owner(const struct kafka_message *message, struct trabajo *trabajo, struct error *error) {
	size_t sub_length, usuario_length;
	const void *sub = kafka_message_header(message, "sub", &sub_length);
	const void *usuario = kafka_message_header(message, "usuario", &usuario_length);
	bool nobody = !sub || !sub_length;
	if (nobody || !name_fits(sub, sub_length)) {
		trabajo->owner = mem_strdup(TRABAJO_NOBODY);
		trabajo->usuario = mem_strdup(TRABAJO_NOBODY);
		return nobody ? 0 : error_set(error, ERROR_INPUT, "header sub cannot be used");
	}
	trabajo->owner = mem_strndup(sub, sub_length);
	bool named = usuario && usuario_length;
	if (!strcmp(trabajo->owner, TRABAJO_NOBODY))
		trabajo->usuario = mem_strdup(TRABAJO_NOBODY);
	else if (named)
		trabajo->usuario = printable(usuario, usuario_length, TRABAJO_USUARIO_MAX);
	else
		trabajo->usuario = mem_strdup(trabajo->owner);
	if (named && !name_fits(usuario, usuario_length)) return error_set(error, ERROR_INPUT, "header usuario cannot be used");
	size_t role_length;
	const void *role = kafka_message_header(message, "role", &role_length);
	bool somebody = strcmp(trabajo->owner, TRABAJO_NOBODY) != 0;
	trabajo->admin = somebody && role && role_length == strlen(ADMIN) && memcmp(role, ADMIN, role_length) == 0;
	return 0;
}

static int decode_spec(const struct kafka_message *message, struct trabajo *trabajo, struct error *error) {
	size_t length;
	AUTO_JSON json_t *json = NULL;
	const void *text = kafka_message_header(message, "spec", &length);
	if (text && length && json_read(text, length, TRABAJO_SPEC_MAX, &json, error)) return error_wrap(error, "header spec");
	return trabajo_spec_read(json, &trabajo->spec, error) ? error_wrap(error, "header spec") : 0;
}

static int decode_url(const struct kafka_message *message, const struct giturl_rules *git_allow, struct trabajo *trabajo,
	struct error *error) {
	const char *value = message->value;
	size_t length = message->value_length;
	trabajo->url = printable(value, length, TRABAJO_URL_MAX);
	if (!value || !length) return error_set(error, ERROR_INPUT, "the record has no URL");
	if (length > TRABAJO_URL_MAX) return error_set(error, ERROR_INPUT, "the URL has more than %d bytes", TRABAJO_URL_MAX);
	if (memchr(value, 0, length) || !is_utf8(value, length))
		return error_set(error, ERROR_INPUT, "the URL is no text in UTF-8");
	AUTO_FREE char *text = mem_strndup(value, length);
	struct giturl url = {0};
	int result = giturl_check(text, git_allow, &url, error);
	if (!result) {
		free(trabajo->url);
		trabajo->url = STEAL(url.text);
	}
	giturl_clear(&url);
	return result;
}

enum trabajo_verdict trabajo_decode(const struct kafka_message *message, const struct giturl_rules *git_allow,
	struct trabajo *trabajo, struct error *error) {
	*trabajo = (struct trabajo){.spec = {NOTHING_ASKED}};
	if (decode_key(message, trabajo, error)) return TRABAJO_USELESS;
	trabajo->posted_ms = message->timestamp_ms >= 0 ? message->timestamp_ms : loop_wall_ms();
	int url = decode_url(message, git_allow, trabajo, error);
	int owner = decode_owner(message, trabajo, url ? NULL : error);
	int spec = decode_spec(message, trabajo, url || owner ? NULL : error);
	return url || owner || spec ? TRABAJO_BAD : TRABAJO_FINE;
}

int64_t trabajo_eligible_ms(const struct trabajo *trabajo) {
	const struct trabajo_spec *spec = &trabajo->spec;
	if (spec->run_after_s > 0) return trabajo->posted_ms + spec->run_after_s * 1000;
	return spec->run_after_ms > trabajo->posted_ms ? spec->run_after_ms : trabajo->posted_ms;
}

size_t trabajo_headers(const struct trabajo *trabajo, const char *spec_text, struct kafka_header headers[TRABAJO_HEADERS]) {
	size_t count = 0;
	if (trabajo->owner && strcmp(trabajo->owner, TRABAJO_NOBODY) != 0) {
		headers[count++] = (struct kafka_header){"sub", trabajo->owner, strlen(trabajo->owner)};
		if (trabajo->usuario)
			headers[count++] = (struct kafka_header){"usuario", trabajo->usuario, strlen(trabajo->usuario)};
		if (trabajo->admin) headers[count++] = (struct kafka_header){"role", ADMIN, strlen(ADMIN)};
	}
	if (spec_text && strcmp(spec_text, "{}") != 0)
		headers[count++] = (struct kafka_header){"spec", spec_text, strlen(spec_text)};
	return count;
}
