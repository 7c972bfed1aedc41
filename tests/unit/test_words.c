#include "cli/cli.h"
#include "cli/words_spanish.h"
#include "lib/mem.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static const char *spanish_of(const char *english) {
	for (size_t i = 0; i < words_spanish_count; i++)
		if (strcmp(words_spanish[i].english, english) == 0) return words_spanish[i].spanish;
	return NULL;
}

// The conversions of a format, one behind the other. Owned by the caller.
static char *conversions(const char *format) {
	char *found = mem_strdup("");
	for (const char *at = format; (at = strchr(at, '%'));) {
		size_t length = 1 + strcspn(at + 1, "diuscfxX%");
		char *longer = mem_format("%s%.*s", found, (int)length + 1, at);
		free(found);
		found = longer;
		at += length + 1;
	}
	return found;
}

static void test_spanish_takes_the_same_arguments_in_the_same_order(void **state) {
	(void)state;
	for (size_t i = 0; i < words_spanish_count; i++) {
		AUTO_FREE char *english = conversions(words_spanish[i].english),
			       *spanish = conversions(words_spanish[i].spanish);
		assert_string_equal(english, spanish);
	}
}

static void has_spanish(const char *english) {
	if (english && strncmp(english, "trabajos ", 9) != 0 && strncmp(english, "curl ", 5) != 0 &&
		strncmp(english, "source ", 7) != 0 && !spanish_of(english))
		fail_msg("no Spanish for \"%s\"", english);
}

static void test_every_verb_and_option_is_told_in_spanish(void **state) {
	(void)state;
	for (size_t i = 0; i < cli_verb_count; i++) {
		has_spanish(cli_verbs[i]->help);
		has_spanish(cli_verbs[i]->more);
		for (size_t j = 0; j < cli_verbs[i]->option_count; j++) has_spanish(cli_verbs[i]->options[j].help);
	}
	for (size_t j = 0; j < cli_common.count; j++) has_spanish(cli_common.options[j].help);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spanish_takes_the_same_arguments_in_the_same_order),
		cmocka_unit_test(test_every_verb_and_option_is_told_in_spanish),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
