#include "tests/fuzz/headers.h"

#include <string.h>

struct kafka_header fuzz_headers[TRABAJO_HEADERS];
size_t fuzz_headers_count;

const void *kafka_message_header(const struct kafka_message *message UNUSED, const char *name, size_t *length) {
	for (size_t i = 0; i < fuzz_headers_count; i++) {
		if (strcmp(fuzz_headers[i].name, name) != 0) continue;
		*length = fuzz_headers[i].length;
		return fuzz_headers[i].value;
	}
	*length = 0;
	return NULL;
}
