// A job's output on its way to a terminal, cut in two anywhere; and the events that bring it.
#include "cli/sse.h"
#include "cli/text.h"
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static char *filtered(const char *bytes, size_t length, size_t cut, size_t *size) {
	char *text = NULL;
	struct text_filter filter = {.out = open_memstream(&text, size), .colours = true};
	HOLDS(filter.out != NULL);
	text_filter_take(&filter, bytes, cut);
	text_filter_take(&filter, bytes + cut, length - cut);
	text_filter_end(&filter);
	HOLDS(fclose(filter.out) == 0);
	return text;
}

// The length of the SGR sequence at `at`, or 0.
static size_t sgr(const char *at, const char *end) {
	const char *mark = at + 2;
	if (end - at < 3 || at[1] != '[') return 0;
	while (mark < end && strchr("0123456789;:", *mark) && *mark) mark++;
	return mark < end && *mark == 'm' ? (size_t)(mark - at) + 1 : 0;
}

static void is_harmless(const char *text, size_t size) {
	AUTO_FREE char *rest = mem_zalloc(size + 1);
	size_t length = 0;
	for (const char *at = text, *end = text + size; at < end; at++) {
		if (*at == '\033') {
			size_t skip = sgr(at, end);
			HOLDS(skip > 0);
			at += skip - 1;
		} else if (*at != '\n' && *at != '\t') {
			rest[length++] = *at;
		}
	}
	HOLDS(strlen(rest) == length);
	HOLDS(fuzz_is_printable(rest));
}

static void on_event(const char *name, const char *data, size_t length, void *arg) {
	size_t *events = arg;
	++*events;
	HOLDS(name && *name);
	HOLDS(length == 0 || data);
	HOLDS(length <= SSE_MOST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size == 0) return 0;
	const char *bytes = (const char *)data + 1;
	size_t length = size - 1, cut = length ? *data % (length + 1) : 0, whole_size, cut_size, events = 0;
	AUTO_FREE char *whole = filtered(bytes, length, length, &whole_size), *pieces = filtered(bytes, length, cut, &cut_size);
	HOLDS(whole_size == cut_size && memcmp(whole, pieces, whole_size) == 0);
	is_harmless(whole, whole_size);
	AUTO_FREE char *line = mem_strndup(bytes, length), *safe = text_safe(line);
	HOLDS(fuzz_is_printable(safe));
	HOLDS(text_fit(safe, 10) <= strlen(safe));
	struct sse sse = {.event = on_event, .arg = &events};
	sse_take(&sse, bytes, cut);
	sse_take(&sse, bytes + cut, length - cut);
	sse_clear(&sse);
	return 0;
}
