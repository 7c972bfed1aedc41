// A trabajo.yaml.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/plan_promises.h"
#include "worker/plan_part.h"

#include <string.h>

// YAML 1.1 breaks lines at CR, LF, NEL, LS and PS.
static size_t lines_of(const uint8_t *data, size_t size) {
	size_t lines = 1;
	for (size_t i = 0; i < size; i++) {
		bool nel = i + 1 < size && data[i] == 0xc2 && data[i + 1] == 0x85;
		bool separator = i + 2 < size && data[i] == 0xe2 && data[i + 1] == 0x80 && (data[i + 2] & 0xfe) == 0xa8;
		lines += data[i] == '\n' || data[i] == '\r' || nel || separator;
	}
	return lines;
}

static void names_a_line(const char *message, size_t lines) {
	static const char head[] = "trabajo.yaml: line ";
	HOLDS(strncmp(message, head, sizeof head - 1) == 0);
	char *end = NULL;
	unsigned long line = strtoul(message + sizeof head - 1, &end, 10);
	HOLDS(end && strncmp(end, ": ", 2) == 0 && end[2]);
	HOLDS(line >= 1 && line <= lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct plan plan = {.timeout_s = -1, .memory_mb = -1};
	AUTO_ERROR struct error error = {0};
	if (plan_yaml_read((const char *)data, size, &plan, &error) == 0) {
		plan_promises(&plan);
	} else {
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
		names_a_line(error_text(&error), lines_of(data, size));
	}
	plan_clear(&plan);
	return 0;
}
