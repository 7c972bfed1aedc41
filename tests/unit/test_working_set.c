#include "lib/json.h"
#include "lib/mem.h"
#include "lib/working_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// KiB of files' pages that this process has in memory.
static long files_kib(void) {
	char line[256];
	long kib = -1;
	FILE *file = fopen("/proc/self/status", "re");
	assert_non_null(file);
	while (kib < 0 && fgets(line, sizeof(line), file)) (void)sscanf(line, "RssFile: %ld", &kib);
	fclose(file);
	return kib;
}

static void pages_of_the_start_are_given_back(void **state UNUSED) {
	long before = files_kib();
	working_set_trim();
	assert_in_range(files_kib(), 1, before - 1);
}

static void what_is_needed_again_is_read_again(void **state UNUSED) {
	for (int i = 0; i < 3; i++) {
		AUTO_FREE char *text = mem_format("{\"round\": %d, \"rest\": %f}", i, 0.5);
		working_set_trim();
		AUTO_JSON json_t *json = json_loads(text, 0, NULL);
		assert_int_equal(json_integer_value(json_object_get(json, "round")), i);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_of_the_start_are_given_back),
		cmocka_unit_test(what_is_needed_again_is_read_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
