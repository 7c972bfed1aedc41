// Conditional requests and ranges (RFC 9110 sections 13 and 14).
#include "lib/http.h"
#include "lib/mem.h"
#include "lib/range.h"

#include <inttypes.h>
#include <string.h>

bool http_none_match(const struct http_request *request, const char *etag) {
	const char *header = http_header(request, "If-None-Match");
	return header && (strcmp(header, "*") == 0 || range_lists(header, etag));
}

static int part(const struct http_request *request, const char *etag, uint64_t size, uint64_t *from, uint64_t *length) {
	const char *range = http_header(request, "Range"), *only_if = http_header(request, "If-Range");
	*from = 0;
	*length = size;
	if (!range || strcmp(http_method(request), "GET") != 0 || http_header_count(request, "Range") > 1) return 200;
	// A date is never ours, and a weak tag never equal (section 13.1.5).
	if (only_if && strcmp(only_if, etag) != 0) return 200;
	return range_read(range, size, from, length);
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
