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

// ---- arrays in binary form (PostgreSQL's array_recv, and each type's own recv function)

// By the numbers of PostgreSQL's pg_type.dat, which never change.
static const struct {
	uint32_t oid;
	size_t width; // 0: as long as the value
} types[] = {
	[DB_BOOL] = {16, 1},
	[DB_INT2] = {21, 2},
	[DB_INT4] = {23, 4},
	[DB_INT8] = {20, 8},
	[DB_TEXT] = {25, 0},
	[DB_UUID] = {2950, 16},
	[DB_JSONB] = {3802, 0},
};

static void text_number(struct text *text, int64_t value, size_t width) {
	char *place = text_reserve(text, width);
	for (size_t i = 0; i < width; i++) place[i] = (char)(value >> (8 * (width - 1 - i)));
	text->used += width;
}

static void text_array_head(struct text *text, enum db_type type, bool nulls, size_t count) {
	text_number(text, count ? 1 : 0, 4); // dimensions
	text_number(text, nulls, 4);
	text_number(text, types[type].oid, 4);
	if (!count) return;
	text_number(text, (int64_t)count, 4);
	text_number(text, 1, 4); // the first one's index
}

static int nibble(char c) {
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// RFC 9562, section 4.
static bool uuid_bytes(const char *value, char bytes[16]) {
	if (strlen(value) != 36) return false;
	for (size_t i = 0, byte = 0; i < 36;) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (value[i++] != '-') return false;
			continue;
		}
		int high = nibble(value[i]), low = nibble(value[i + 1]);
		if (high < 0 || low < 0) return false;
		bytes[byte++] = (char)(high << 4 | low);
		i += 2;
	}
	return true;
}

static void text_element(struct text *text, enum db_type type, const char *value) {
	static const char too_long[17]; // what is no UUID: the server refuses it as bad data (22P03)
	char bytes[16];
	size_t length = strlen(value);
	switch (type) {
	case DB_UUID:
		length = uuid_bytes(value, bytes) ? sizeof(bytes) : sizeof(too_long);
		text_number(text, (int64_t)length, 4);
		text_append(text, length == sizeof(bytes) ? bytes : too_long, length);
		break;
	case DB_JSONB:
		text_number(text, (int64_t)length + 1, 4);
		text_number(text, 1, 1); // the format's version
		text_append(text, value, length);
		break;
	default:
		text_number(text, (int64_t)length, 4);
		text_append(text, value, length);
		break;
	}
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

void db_texts(struct db_params *params, enum db_type type, const char *const *values, size_t count) {
	struct text text = {0};
	bool nulls = false;
	for (size_t i = 0; i < count; i++) nulls = nulls || !values[i];
	text_array_head(&text, type, nulls, count);
	for (size_t i = 0; i < count; i++) {
		if (values[i])
			text_element(&text, type, values[i]);
		else
			text_number(&text, -1, 4);
	}
	add(params, text.data, text.used, FORMAT_BINARY);
}

void db_ints(struct db_params *params, enum db_type type, const int64_t *values, size_t count) {
	struct text text = {0};
	text_array_head(&text, type, false, count);
	for (size_t i = 0; i < count; i++) {
		text_number(&text, (int64_t)types[type].width, 4);
		text_number(&text, values[i], types[type].width);
	}
	add(params, text.data, text.used, FORMAT_BINARY);
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
