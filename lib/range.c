#include "lib/range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool range_lists(const char *list, const char *etag) {
	for (const char *place = list; (place = strstr(place, etag)); place++) {
		// An entity tag has no quote inside, so that what is found with its quotes is one of the list, weak or strong.
		const char *before = place;
		while (before > list && (before[-1] == ' ' || before[-1] == '\t')) before--;
		bool weak = place - list >= 2 && strncmp(place - 2, "W/", 2) == 0;
		if (weak || before == list || before[-1] == ',') return true;
	}
	return false;
}

static bool read_number(const char **text, uint64_t *number) {
	if (**text < '0' || **text > '9') return false;
	char *end = NULL;
	errno = 0;
	*number = strtoull(*text, &end, 10);
	*text = end;
	if (errno) *number = UINT64_MAX; // beyond every end
	return true;
}

int range_read(const char *text, uint64_t size, uint64_t *from, uint64_t *length) {
	uint64_t first = 0, last = 0;
	if (strncasecmp(text, "bytes=", 6) != 0) return 200;
	text += 6;
	bool has_first = read_number(&text, &first);
	if (*text++ != '-') return 200;
	bool has_last = read_number(&text, &last);
	if (*text || (!has_first && !has_last) || (has_first && has_last && last < first)) return 200;
	if (!has_first) { // the last so many
		first = last < size ? size - last : 0;
		if (last == 0) first = size;
		has_last = false;
	}
	if (first >= size) return 416;
	if (!has_last || last >= size) last = size - 1;
	*from = first;
	*length = last - first + 1;
	return 206;
}
