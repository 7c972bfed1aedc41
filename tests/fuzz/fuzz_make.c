// A Makefile.
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"
#include "worker/plan_part.h"

#include <string.h>

static bool has_main_between(const char *before, const uint8_t *data, size_t size, const char *behind) {
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	fputs(before, out);
	fwrite(data, 1, size, out);
	fputs(behind, out);
	fclose(out);
	bool has = plan_make_has_main(text, length);
	free(text);
	return has;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	bool has = plan_make_has_main((const char *)data, size);
	// Other rules and comments around it change nothing.
	HOLDS(has_main_between("all: x\n\ttrue\n# main:\n", data, size, "") == has);
	HOLDS(!has || has_main_between("", data, size, "\n\n\ttrue\nclean:\n"));
	HOLDS(has_main_between("main: x\n", data, size, ""));
	HOLDS(!has || memmem(data, size, "main", 4));
	return 0;
}
