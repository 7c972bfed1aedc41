// trabajo.yaml, read event by event against its schema: what is not expected at a place ends the reading at once, so that
// neither depth nor aliases can grow anything. The file is at most 64 KiB (plan.c).
#include "lib/mem.h"
#include "worker/plan_part.h"

#include <stdarg.h>
#include <string.h>
#include <yaml.h>

struct reader {
	const char *text;
	size_t length;
	yaml_parser_t parser;
	yaml_event_t event; // the current one
	struct plan *plan;
	struct error *error;
};

// Line breaks (YAML 1.1, 5.4: LF, CR, CRLF, NEL, LS, PS) in the text's first `most` bytes.
static size_t breaks_before(const struct reader *reader, size_t most) {
	static const char *const others[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
	const char *end = reader->text + (most < reader->length ? most : reader->length);
	size_t breaks = 0;
	for (const char *at = reader->text; at < end; at++) {
		breaks += *at == '\n' || (*at == '\r' && !(at + 1 < end && at[1] == '\n'));
		for (size_t i = 0; i < COUNT_OF(others); i++) {
			size_t length = strlen(others[i]);
			breaks += (size_t)(end - at) >= length && memcmp(at, others[i], length) == 0;
		}
	}
	return breaks;
}

static int fail_at(struct reader *reader, size_t line, const char *format, ...) PRINTF(3, 4);
static int fail_at(struct reader *reader, size_t line, const char *format, ...) {
	AUTO_FREE char *text = NULL;
	va_list arguments;
	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0) abort();
	va_end(arguments);
	size_t last = breaks_before(reader, reader->length);
	if (line > last) line = last; // libyaml begins a new line at the end of a text that has no newline there
	return error_set(reader->error, ERROR_INPUT, "trabajo.yaml: line %zu: %s", line + 1, text);
}

// As fail_at, whose -1 the analyser cannot see.
#define FAIL(reader, ...) (fail_at(reader, (reader)->event.start_mark.line, __VA_ARGS__), -1)

// What is no UTF-8 or no character of YAML has an offset, but no mark.
static size_t problem_line(const struct reader *reader) {
	if (reader->parser.error != YAML_READER_ERROR) return reader->parser.problem_mark.line;
	return breaks_before(reader, reader->parser.problem_offset);
}

static int next(struct reader *reader) {
	yaml_event_delete(&reader->event);
	if (!yaml_parser_parse(&reader->parser, &reader->event)) {
		const char *problem = reader->parser.problem ? reader->parser.problem : "not readable";
		return fail_at(reader, problem_line(reader), "no YAML: %s", problem);
	}
	if (reader->event.type == YAML_ALIAS_EVENT) return FAIL(reader, "aliases (*name) are not allowed");
	return 0;
}

// A stranger's text, made fit for a message.
static char *shown(const char *text) {
	char *copy = mem_strndup(text, 40);
	for (char *at = copy; *at; at++) {
		unsigned char c = (unsigned char)*at;
		if (c < ' ' || c >= 0x7f) *at = '?';
	}
	return copy;
}

// The current event must be a scalar; its text, without NULs, stays valid until the next event.
static int scalar(struct reader *reader, const char *what, const char **text) {
	if (reader->event.type != YAML_SCALAR_EVENT) return FAIL(reader, "%s must be a single value", what);
	if (!reader->event.data.scalar.plain_implicit && !reader->event.data.scalar.quoted_implicit)
		return FAIL(reader, "tags (!name) are not allowed");
	*text = (const char *)reader->event.data.scalar.value;
	if (strlen(*text) != reader->event.data.scalar.length) return FAIL(reader, "%s has a NUL character", what);
	return 0;
}

static char **append(char **list, size_t count, char *text) {
	list = mem_resize(list, count + 2, sizeof *list);
	list[count] = text;
	list[count + 1] = NULL;
	return list;
}

// ---- members

static char *first_line(const char *text) {
	text += strspn(text, " \t\r\n");
	size_t length = strcspn(text, "\r\n"), rest = strspn(text + length, " \t\r\n");
	bool cut = text[length + rest] != '\0';
	if (length > 100) {
		cut = true;
		length = 100;
		while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) length--; // not within a character
	}
	char *line = mem_format("%.*s%s", (int)length, text, cut ? " …" : "");
	// It is shown on terminals: escape sequences, which "\e" in a quoted text makes, do not get there.
	for (char *at = line; *at; at++)
		if (plan_is_control(*at)) *at = ' ';
	return line;
}

static int read_run(struct reader *reader) {
	const char *text;
	if (scalar(reader, "run", &text) < 0) return -1;
	if (text[strspn(text, " \t\r\n")] == '\0') return FAIL(reader, "run is empty");
	if (strlen(text) > PLAN_RUN_MAX) return FAIL(reader, "run is longer than %d bytes", PLAN_RUN_MAX);
	char **argv = append(NULL, 0, mem_strdup("/bin/sh"));
	argv = append(argv, 1, mem_strdup("-c"));
	reader->plan->argv = append(argv, 2, mem_strdup(text));
	reader->plan->command = first_line(text);
	return 0;
}

struct unit {
	const char *suffix;
	int64_t factor;
};

// A whole number with an optional unit, 1 to most (in the first unit).
static int read_amount(
	struct reader *reader, const char *what, const struct unit *units, const char *form, int64_t most, int64_t *amount) {
	const char *text;
	if (scalar(reader, what, &text) < 0) return -1;
	size_t digits = strspn(text, "0123456789");
	int64_t number = 0;
	for (size_t i = 0; i < digits && number <= most; i++) number = number * 10 + (text[i] - '0');
	while (units->suffix && strcmp(units->suffix, text + digits) != 0) units++;
	if (digits == 0 || !units->suffix) return FAIL(reader, "%s must be %s", what, form);
	if (number < 1 || number > most / units->factor)
		return FAIL(reader, "%s must be from 1 to %lld%s", what, (long long)most,
			strcmp(what, "memory") == 0 ? " MB" : " seconds");
	*amount = number * units->factor;
	return 0;
}

static int read_timeout(struct reader *reader) {
	static const struct unit units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {NULL, 0}};
	return read_amount(
		reader, "timeout", units, "whole seconds, or 30s, 10m, 1h", PLAN_TIMEOUT_S_MAX, &reader->plan->timeout_s);
}

static int read_memory(struct reader *reader) {
	static const struct unit units[] = {
		{"", 1}, {"M", 1}, {"MB", 1}, {"MiB", 1}, {"G", 1024}, {"GB", 1024}, {"GiB", 1024}, {NULL, 0}};
	return read_amount(reader, "memory", units, "whole MB, or 512M, 2G", PLAN_MEMORY_MB_MAX, &reader->plan->memory_mb);
}

static bool is_named(char *const *env, const char *name) {
	size_t length = strlen(name);
	for (; env && *env; env++)
		if (strncmp(*env, name, length) == 0 && (*env)[length] == '=') return true;
	return false;
}

static int read_env(struct reader *reader) {
	if (reader->event.type != YAML_MAPPING_START_EVENT) return FAIL(reader, "env must be a list of NAME: value");
	for (size_t count = 0;; count++) {
		const char *text;
		if (next(reader) < 0) return -1;
		if (reader->event.type == YAML_MAPPING_END_EVENT) return 0;
		if (scalar(reader, "a name in env", &text) < 0) return -1;
		if (count == PLAN_ENV_MAX) return FAIL(reader, "env has more than %d names", PLAN_ENV_MAX);
		AUTO_FREE char *name = mem_strdup(text);
		AUTO_FREE char *fit = shown(name);
		const char *fault = plan_env_fault(name, strlen(name));
		if (fault) return FAIL(reader, "env: %s: %s", fit, fault);
		if (is_named(reader->plan->env, name)) return FAIL(reader, "env: %s stands twice", fit);
		if (next(reader) < 0 || scalar(reader, "a value in env", &text) < 0) return -1;
		reader->plan->env = append(reader->plan->env, count, mem_format("%s=%s", name, text));
	}
}

static int read_artifacts(struct reader *reader) {
	if (reader->event.type != YAML_SEQUENCE_START_EVENT) return FAIL(reader, "artifacts must be a list of paths");
	for (size_t count = 0;; count++) {
		const char *text;
		if (next(reader) < 0) return -1;
		if (reader->event.type == YAML_SEQUENCE_END_EVENT) return 0;
		if (scalar(reader, "a path in artifacts", &text) < 0) return -1;
		if (count == PLAN_ARTIFACTS_MAX) return FAIL(reader, "artifacts has more than %d paths", PLAN_ARTIFACTS_MAX);
		AUTO_FREE char *fit = shown(text);
		const char *fault = plan_glob_fault(text);
		if (fault) return FAIL(reader, "artifacts: %s: %s", fit, fault);
		reader->plan->artifacts = append(reader->plan->artifacts, count, mem_strdup(text));
	}
}

// ---- the document

struct member {
	const char *name;
	int (*read)(struct reader *reader);
};

static const struct member members[] = {
	{"run", read_run},
	{"timeout", read_timeout},
	{"memory", read_memory},
	{"env", read_env},
	{"artifacts", read_artifacts},
};

static int read_member(struct reader *reader, unsigned *seen) {
	const char *name;
	if (scalar(reader, "a member's name", &name) < 0) return -1;
	AUTO_FREE char *fit = shown(name);
	for (size_t i = 0; i < COUNT_OF(members); i++) {
		if (strcmp(members[i].name, name) != 0) continue;
		if (*seen & 1U << i) return FAIL(reader, "%s stands twice", members[i].name);
		*seen |= 1U << i;
		return next(reader) < 0 ? -1 : members[i].read(reader);
	}
	return FAIL(reader, "unknown member %s (known: run, timeout, memory, env, artifacts)", fit);
}

static int read_document(struct reader *reader) {
	unsigned seen = 0;
	if (next(reader) < 0) return -1; // the stream's start
	if (next(reader) < 0) return -1;
	if (reader->event.type == YAML_STREAM_END_EVENT) return FAIL(reader, "the file is empty: run is missing");
	if (next(reader) < 0) return -1; // the document's start
	if (reader->event.type != YAML_MAPPING_START_EVENT)
		return FAIL(reader, "the file must be a list of members: \"run: command\"");
	size_t start = reader->event.start_mark.line;
	for (;;) {
		if (next(reader) < 0) return -1;
		if (reader->event.type == YAML_MAPPING_END_EVENT) break;
		if (read_member(reader, &seen) < 0) return -1;
	}
	if (!reader->plan->argv) return fail_at(reader, start, "run is missing");
	if (next(reader) < 0) return -1; // the document's end
	if (next(reader) < 0) return -1; // the stream's
	return reader->event.type == YAML_STREAM_END_EVENT ? 0 : FAIL(reader, "a second document is not allowed");
}

int plan_yaml_read(const char *text, size_t length, struct plan *plan, struct error *error) {
	struct reader reader = {.text = text, .length = length, .plan = plan, .error = error};
	if (!yaml_parser_initialize(&reader.parser)) return error_set(error, ERROR_INTERNAL, "libyaml does not start");
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, length);
	int done = read_document(&reader);
	yaml_event_delete(&reader.event);
	yaml_parser_delete(&reader.parser);
	if (done == 0) plan->kind = mem_strdup("trabajo.yaml");
	return done;
}
