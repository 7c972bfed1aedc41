#include "lib/log.h"

#include "lib/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_tags[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

static struct {
	char daemon[32];
	enum log_level least;
	bool text;
} state = {.daemon = "trabajos", .least = LOG_LEVEL_INFO};

// Decodes one UTF-8 sequence (RFC 3629: no overlong forms, surrogates or values above 10FFFF); returns its length, 0 if bad.
static size_t utf8_decode(const unsigned char *text, uint32_t *point) {
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
	for (size_t more = 0; more < COUNT_OF(forms); more++) {
		if ((text[0] & forms[more].mask) != forms[more].lead) continue;
		*point = (uint32_t)(text[0] & ~forms[more].mask);
		for (size_t i = 1; i <= more; i++) {
			if ((text[i] & 0xc0) != 0x80) return 0;
			*point = *point << 6 | (text[i] & 0x3f);
		}
		bool fine = *point >= forms[more].least && *point <= 0x10ffff && (*point < 0xd800 || *point > 0xdfff);
		return fine ? more + 1 : 0;
	}
	return 0;
}

// Controls (C0, DEL, C1), line separators, and the marks that reorder what a reader sees.
static bool printable(uint32_t point) {
	if (point < 0x20 || (point >= 0x7f && point <= 0x9f)) return false;
	if (point >= 0x2028 && point <= 0x202e) return false;
	return !(point >= 0x2066 && point <= 0x2069) && point != 0x200e && point != 0x200f && point != 0xfeff;
}

// The inside of a JSON string (RFC 8259, section 7); the text format escapes in the same way.
static void put_escaped(FILE *out, const char *text) {
	const unsigned char *at = (const unsigned char *)text;
	while (*at) {
		uint32_t point = 0;
		size_t length = utf8_decode(at, &point);
		if (length == 0) {
			fputs("\\ufffd", out);
			length = 1;
		} else if (point == '"' || point == '\\') {
			fprintf(out, "\\%c", (char)point);
		} else if (point == '\n') {
			fputs("\\n", out);
		} else if (!printable(point)) {
			fprintf(out, "\\u%04" PRIx32, point);
		} else {
			fwrite(at, 1, length, out);
		}
		at += length;
	}
}

static void put_quoted(FILE *out, const char *text) {
	putc('"', out);
	put_escaped(out, text);
	putc('"', out);
}

static bool is_message(const struct log_field *field) {
	return field->text && strcmp(field->name, "msg") == 0;
}

static const char *message_of(const struct log_field *fields, size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (is_message(&fields[i])) return fields[i].text;
	}
	return "";
}

static void put_json(FILE *out, enum log_level level, const struct log_field *fields, size_t count) {
	struct timespec now;
	struct tm utc;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	char time[32];
	strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &utc);
	fprintf(out, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"daemon\":", time, now.tv_nsec / 1000000, level_names[level]);
	put_quoted(out, state.daemon);
	fputs(",\"msg\":", out);
	put_quoted(out, message_of(fields, count));
	for (size_t i = 0; i < count; i++) {
		if (is_message(&fields[i])) continue;
		putc(',', out);
		put_quoted(out, fields[i].name);
		putc(':', out);
		if (fields[i].text) {
			put_quoted(out, fields[i].text);
		} else {
			fprintf(out, "%" PRId64, fields[i].number);
		}
	}
	fputs("}\n", out);
}

static void put_text(FILE *out, enum log_level level, const struct log_field *fields, size_t count) {
	time_t now = time(NULL);
	struct tm local;
	localtime_r(&now, &local);
	char time[16];
	strftime(time, sizeof(time), "%H:%M:%S", &local);
	fprintf(out, "%s %s ", time, level_tags[level]);
	put_escaped(out, message_of(fields, count));
	for (size_t i = 0; i < count; i++) {
		if (is_message(&fields[i])) continue;
		fprintf(out, "  %s=", fields[i].name);
		const char *text = fields[i].text;
		if (!text) {
			fprintf(out, "%" PRId64, fields[i].number);
		} else if (*text == '\0' || strpbrk(text, " =\"\\")) {
			put_quoted(out, text);
		} else {
			put_escaped(out, text);
		}
	}
	putc('\n', out);
}

// Normally one write(2); a full pipe or disk loses the rest of the line rather than the daemon's time.
static void put_line(const char *line, size_t length) {
	while (length > 0) {
		ssize_t written = write(STDERR_FILENO, line, length);
		if (written < 0 && errno == EINTR) continue;
		if (written <= 0) return;
		line += written;
		length -= (size_t)written;
	}
}

void log_open(const char *daemon, enum log_level least, enum log_format format) {
	snprintf(state.daemon, sizeof(state.daemon), "%s", daemon);
	state.least = least;
	state.text = format == LOG_FORMAT_TEXT || (format == LOG_FORMAT_AUTO && isatty(STDERR_FILENO));
	tzset(); // localtime_r need not
}

int log_enabled(enum log_level level) {
	return level >= state.least;
}

void log_write(enum log_level level, const struct log_field *fields, size_t count) {
	int saved = errno;
	AUTO_FREE char *line = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&line, &length);
	if (!out) mem_die("out of memory");
	(state.text ? put_text : put_json)(out, level, fields, count);
	if (fclose(out) != 0) mem_die("out of memory");
	put_line(line, length);
	errno = saved;
}
