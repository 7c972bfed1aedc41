// One character after the other is read and judged; nothing passes that was not understood. An escape sequence is held until it is
// known to be SGR (ESC [ digits ; : m), or not: then its ESC is shown as ^[ and the rest as the text that it is.
#include "cli/text.h"

#include "lib/mem.h"

#include <locale.h>
#include <string.h>
#include <wchar.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define RESET       "\033[0m"
#define SGR_MOST    64

// ---- characters

// Bytes of the character at `at`; 0: it is cut off at the end; -1: no UTF-8 (RFC 3629: shortest form, no surrogates).
static int decode(const unsigned char *at, size_t left, uint32_t *code) {
	if (*at < 0x80) {
		*code = *at;
		return 1;
	}
	int length = *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : 2;
	if (*at < 0xc2 || *at > 0xf4) return -1;
	*code = *at & (0x7fU >> length);
	for (int i = 1; i < length; i++) {
		if ((size_t)i == left) return 0;
		if ((at[i] & 0xc0) != 0x80) return -1;
		*code = *code << 6 | (at[i] & 0x3f);
	}
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	bool fine = *code >= least[length] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
	return fine ? length : -1;
}

// Beside ASCII's: C1, what turns the direction, what has no width and hides, line separators, tags.
static bool is_treacherous(uint32_t code) {
	static const uint32_t ranges[][2] = {{0x7f, 0x9f}, {0xad, 0xad}, {0x61c, 0x61c}, {0x180e, 0x180e}, {0x200b, 0x200b},
		{0x200e, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
	for (size_t i = 0; i < COUNT_OF(ranges); i++)
		if (code >= ranges[i][0] && code <= ranges[i][1]) return true;
	return false;
}

// `length`: of the character, -1 where the one byte at `at` is none.
static void show(const char *at, int length, uint32_t code, FILE *out) {
	if (length < 0)
		fputs(REPLACEMENT, out);
	else if (code < 0x20 || code == 0x7f)
		fprintf(out, "^%c", (int)(code ^ 0x40));
	else if (is_treacherous(code))
		fprintf(out, "<U+%04X>", code);
	else
		fwrite(at, 1, (size_t)length, out);
}

char *text_safe(const char *text) {
	if (!text) return NULL;
	char *safe = NULL;
	size_t size, left = strlen(text);
	FILE *out = open_memstream(&safe, &size);
	if (!out) mem_die("out of memory");
	while (left) {
		uint32_t code = 0;
		int length = decode((const unsigned char *)text, left, &code);
		if (length == 0) length = -1;
		show(text, length, code, out);
		size_t taken = length < 0 ? 1 : (size_t)length;
		text += taken;
		left -= taken;
	}
	if (fclose(out)) mem_die("out of memory");
	return safe;
}

static size_t columns_of(uint32_t code) {
	static locale_t locale;
	if (code < 0x7f) return 1;
	if (!locale) locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	if (!locale) return 1;
	locale_t before = uselocale(locale);
	int columns = wcwidth((wchar_t)code);
	uselocale(before);
	return columns < 0 ? 1 : (size_t)columns;
}

size_t text_fit(const char *text, size_t columns) {
	const char *at = text;
	for (size_t left = strlen(text), used = 0; left;) {
		uint32_t code = '?';
		int length = decode((const unsigned char *)at, left, &code);
		size_t bytes = length < 1 ? 1 : (size_t)length;
		used += columns_of(code);
		if (used > columns) break;
		at += bytes;
		left -= bytes;
	}
	return (size_t)(at - text);
}

size_t text_width(const char *text) {
	size_t columns = 0;
	for (size_t left = strlen(text); left;) {
		uint32_t code = '?';
		int length = decode((const unsigned char *)text, left, &code);
		size_t bytes = length < 1 ? 1 : (size_t)length;
		columns += columns_of(code);
		text += bytes;
		left -= bytes;
	}
	return columns;
}

// ---- a job's output

static void begin_line(struct text_filter *filter) {
	if (filter->mark && (!filter->in_line || filter->paused)) fputs(filter->mark, filter->out);
	filter->in_line = true;
	filter->paused = false;
}

static void end_line(struct text_filter *filter) {
	if (filter->in_line && filter->mark && !filter->paused) fputs(RESET, filter->out);
	putc('\n', filter->out);
	filter->in_line = filter->paused = false;
}

// A carriage return in front of anything but a newline: the line is not overwritten, the next one begins.
static void settle(struct text_filter *filter) {
	if (filter->returned && filter->in_line) end_line(filter);
	filter->returned = false;
}

static void put(struct text_filter *filter, const char *at, int length, uint32_t code) {
	if (length == 1 && code == '\r') {
		filter->returned = true;
	} else if (length == 1 && code == '\n') {
		filter->returned = false;
		end_line(filter);
	} else {
		settle(filter);
		begin_line(filter);
		if (length == 1 && code == '\t')
			putc('\t', filter->out);
		else
			show(at, length, code, filter->out);
	}
}

// How much of what begins with ESC is SGR: its length; 0: cannot be told yet; -1: it is none.
static int sgr(const char *at, size_t length) {
	if (length > 1 && at[1] != '[') return -1;
	for (size_t i = 2; i < length; i++) {
		if (i >= SGR_MOST) return -1;
		if (at[i] == 'm') return (int)i + 1;
		if (!strchr("0123456789;:", at[i]) || !at[i]) return -1;
	}
	return 0;
}

// The next character or sequence; false: more is needed to know it.
static bool step(struct text_filter *filter, const char *at, size_t left, bool last, size_t *taken) {
	uint32_t code = 0;
	if (*at == '\033') {
		int length = sgr(at, left);
		if (length == 0 && !last) return false;
		*taken = length > 0 ? (size_t)length : 1;
		if (length > 0 && filter->colours) {
			settle(filter);
			begin_line(filter);
			fwrite(at, 1, *taken, filter->out);
			filter->coloured = true;
		} else if (length <= 0) {
			put(filter, at, 1, '\033');
		}
		return true;
	}
	int length = decode((const unsigned char *)at, left, &code);
	if (length == 0 && !last) return false;
	if (length == 0) length = -1;
	*taken = length < 0 ? 1 : (size_t)length;
	put(filter, at, length, code);
	return true;
}

static size_t run(struct text_filter *filter, const char *data, size_t length, bool last) {
	size_t done = 0, taken;
	while (done < length && step(filter, data + done, length - done, last, &taken)) done += taken;
	return done;
}

void text_filter_take(struct text_filter *filter, const char *data, size_t length) {
	// byte by byte while something is held: at most a sequence's length
	while (filter->held_length && length) {
		filter->held[filter->held_length++] = *data++;
		length--;
		size_t done = run(filter, filter->held, filter->held_length, filter->held_length == sizeof filter->held);
		filter->held_length -= done;
		memmove(filter->held, filter->held + done, filter->held_length);
	}
	size_t done = run(filter, data, length, false);
	filter->held_length += length - done;
	if (length > done) memcpy(filter->held, data + done, length - done);
	// what the other stream prints meanwhile is not marked
	if (filter->mark && filter->in_line && !filter->paused) {
		fputs(RESET, filter->out);
		filter->paused = true;
	}
	fflush(filter->out);
}

void text_filter_end(struct text_filter *filter) {
	run(filter, filter->held, filter->held_length, true);
	filter->held_length = 0;
	if (filter->coloured) fputs(RESET, filter->out);
	if (filter->in_line) end_line(filter);
	filter->coloured = filter->returned = false;
	fflush(filter->out);
}
