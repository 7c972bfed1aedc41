#include "lib/db_internal.h"
#include "lib/mem.h"

#include <inttypes.h>

enum { FORMAT_TEXT, FORMAT_BINARY };

// ---- a text that grows

struct text {
	char *data;
	size_t used, room;
};

static char *text_reserve(struct text *text, size_t bytes) {
	if (text->used + bytes > text->room) {
		text->room = text->room ? text->room : 64;
		while (text->used + bytes > text->room) text->room *= 2;
		text->data = mem_resize(text->data, text->room, 1);
	}
	return text->data + text->used;
}

static void text_add(struct text *text, char c) {
	*text_reserve(text, 1) = c;
	text->used++;
}

static void text_append(struct text *text, const char *from, size_t length) {
	memcpy(text_reserve(text, length), from, length);
	text->used += length;
}

// PostgreSQL manual, 8.15.2: within double quotes only the quote itself and the backslash are escaped.
static void text_quoted(struct text *text, const char *value) {
	text_add(text, '"');
	for (;;) {
		size_t plain = strcspn(value, "\"\\");
		text_append(text, value, plain);
		value += plain;
		if (!*value) break;
		text_add(text, '\\');
		text_add(text, *value++);
	}
	text_add(text, '"');
}

// bytea's hex form (PostgreSQL manual, 8.4.1), its backslash escaped.
static void text_hex(struct text *text, const unsigned char *bytes, size_t length) {
	static const char digits[] = "0123456789abcdef";
	text_append(text, "\"\\\\x", 4);
	char *place = text_reserve(text, 2 * length);
	for (size_t i = 0; i < length; i++) {
		place[2 * i] = digits[bytes[i] >> 4];
		place[2 * i + 1] = digits[bytes[i] & 15];
	}
	text->used += 2 * length;
	text_add(text, '"');
}

// ---- parameters

static void add(struct db_params *params, char *value, size_t length, int format) {
	if (params->count == params->room) {
		params->room = params->room ? 2 * params->room : 8;
		size_t room = (size_t)params->room;
		params->values = mem_resize(params->values, room, sizeof(params->values[0]));
		params->lengths = mem_resize(params->lengths, room, sizeof(params->lengths[0]));
		params->formats = mem_resize(params->formats, room, sizeof(params->formats[0]));
	}
	params->values[params->count] = value;
	params->lengths[params->count] = (int)length;
	params->formats[params->count] = format;
	params->count++;
}

static void add_array(struct db_params *params, struct text *text) {
	text_append(text, "}", 2); // with the NUL
	add(params, text->data, text->used - 1, FORMAT_TEXT);
}

void db_bytes_array(struct db_params *params, const void *const *values, const size_t *lengths, size_t count) {
	struct text text = {0};
	text_add(&text, '{');
	for (size_t i = 0; i < count; i++) {
		if (i) text_add(&text, ',');
		if (values[i])
			text_hex(&text, values[i], lengths[i]);
		else
			text_append(&text, "NULL", 4);
	}
	add_array(params, &text);
}

void db_int_array(struct db_params *params, const int64_t *values, size_t count) {
	struct text text = {0};
	text_add(&text, '{');
	for (size_t i = 0; i < count; i++) {
		char number[24];
		int length = snprintf(number, sizeof(number), "%s%" PRId64, i ? "," : "", values[i]);
		text_append(&text, number, (size_t)length);
	}
	add_array(params, &text);
}

void db_text_array(struct db_params *params, const char *const *values, size_t count) {
	struct text text = {0};
	text_add(&text, '{');
	for (size_t i = 0; i < count; i++) {
		if (i) text_add(&text, ',');
		if (values[i])
			text_quoted(&text, values[i]);
		else
			text_append(&text, "NULL", 4);
	}
	add_array(params, &text);
}

void db_bytes(struct db_params *params, const void *value, size_t length) {
	// an empty value is not SQL NULL: libpq needs a pointer
	add(params, length ? mem_dup(value, length) : mem_strdup(""), length, FORMAT_BINARY);
}

void db_int(struct db_params *params, int64_t value) {
	add(params, mem_format("%" PRId64, value), 0, FORMAT_TEXT);
}

void db_text(struct db_params *params, const char *value) {
	add(params, value ? mem_strdup(value) : NULL, 0, FORMAT_TEXT);
}

void db_params_free(struct db_params *params) {
	if (!params) return;
	for (int i = 0; i < params->count; i++) free(params->values[i]);
	free(params->values);
	free(params->lengths);
	free(params->formats);
	free(params);
}

struct db_params *db_params_new(void) {
	return mem_zalloc(sizeof(struct db_params));
}
