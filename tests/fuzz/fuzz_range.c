// First line: an entity tag. Second: the size. Third: If-None-Match. The rest: Range.
#include "lib/mem.h"
#include "lib/range.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void range_holds(const char *text, uint64_t size) {
	uint64_t from = 7, length = 7;
	int status = range_read(text, size, &from, &length);
	HOLDS(status == 200 || status == 206 || status == 416);
	if (status == 206)
		HOLDS(length > 0 && from < size && length <= size - from);
	else
		HOLDS(from == 7 && length == 7);
	HOLDS(size > 0 || status != 206);
}

// A quote, a space or a control character stands in no tag.
static bool is_tag(const char *word) {
	for (; *word; word++)
		if ((unsigned char)*word <= ' ' || *word == '"' || *word == 0x7f) return false;
	return true;
}

static void tags_hold(const char *word, const char *list) {
	AUTO_FREE char *etag = mem_format("\"%s\"", word);
	AUTO_FREE char *weak = mem_format("W/%s", etag), *behind = mem_format("\"other\" , %s", etag),
		       *inside = mem_format("x%s", etag);
	HOLDS(range_lists(etag, etag) && range_lists(weak, etag) && range_lists(behind, etag));
	HOLDS(!range_lists(inside, etag));
	HOLDS(!range_lists(list, etag) || strstr(list, etag));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	AUTO_FREE char *word = fuzz_line(&input), *number = fuzz_line(&input), *list = fuzz_line(&input);
	size_t length;
	AUTO_FREE char *range = fuzz_rest(&input, &length);
	range_holds(range, strtoull(number, NULL, 10));
	if (is_tag(word)) tags_hold(word, list);
	return 0;
}
