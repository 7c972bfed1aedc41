// Conditional requests and ranges (RFC 9110 sections 13 and 14).
#include "lib/http.h"
#include "lib/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

static bool lists(const char *list, const char *etag) {
	size_t length = strlen(etag);
	for (const char *place = list; (place = strstr(place, etag)); place += length) {
		// An entity tag has no quote inside, so that what is found with its quotes is one of the list, weak or strong.
		const char *before = place;
		while (before > list && (before[-1] == ' ' || before[-1] == '\t')) before--;
		bool weak = place - list >= 2 && strncmp(place - 2, "W/", 2) == 0;
		if (weak || before == list || before[-1] == ',') return true;
	}
	return false;
}

bool http_none_match(const struct http_request *request, const char *etag) {
	const char *header = http_header(request, "If-None-Match");
	return header && (strcmp(header, "*") == 0 || lists(header, etag));
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

// 206: [*from, *from + *length); 416: it lies behind the end; 200: no range that we know.
static int read_range(const char *text, uint64_t size, uint64_t *from, uint64_t *length) {
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

static int part(const struct http_request *request, const char *etag, uint64_t size, uint64_t *from, uint64_t *length) {
	const char *range = http_header(request, "Range"), *only_if = http_header(request, "If-Range");
	*from = 0;
	*length = size;
	if (!range || strcmp(http_method(request), "GET") != 0 || http_header_count(request, "Range") > 1) return 200;
	// A date is never ours, and a weak tag never equal (section 13.1.5).
	if (only_if && strcmp(only_if, etag) != 0) return 200;
	return read_range(range, size, from, length);
}

int http_part(struct http_request *request, const char *etag, uint64_t size, uint64_t *from, uint64_t *length) {
	http_answer_header(request, "ETag", etag);
	http_answer_header(request, "Accept-Ranges", "bytes");
	if (http_none_match(request, etag)) {
		http_answer(request, 304, NULL, NULL, 0);
		return 0;
	}
	int status = part(request, etag, size, from, length);
	if (status == 200) return status;
	AUTO_FREE char *place = status == 206
					? mem_format("bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, *from, *from + *length - 1, size)
					: mem_format("bytes */%" PRIu64, size);
	http_answer_header(request, "Content-Range", place);
	if (status == 206) return status;
	AUTO_FREE char *detail = mem_format("the range lies behind the end of %" PRIu64 " bytes", size);
	http_problem(request, &(struct http_problem){.status = 416, .detail = detail});
	return 0;
}
