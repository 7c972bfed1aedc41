// Which names the patterns of artifacts fit; with the program inside of the box, which links nothing else, comes its source.
#include "worker/init/glob.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void patterns_fit_as_in_a_shell(void **state UNUSED) {
	static const struct {
		const char *pattern, *name;
		bool fits;
	} cases[] = {
		{"a", "a", true},
		{"a", "b", false},
		{"a", "ab", false},
		{"ab", "a", false},
		{"*", "anything", true},
		{"*", ".hidden", false},
		{".*", ".hidden", true},
		{"\\.h", ".h", true},
		{"?", ".", false},
		{"[.]a", ".a", false},
		{"*.txt", "a.txt", true},
		{"*.txt", ".txt", false},
		{"*.txt", "a.txtx", false},
		{"a*c*e", "abcde", true},
		{"a*c*e", "ace", true},
		{"a*c*e", "abde", false},
		{"**", "x", true},
		{"?b?", "abc", true},
		{"?", "", false},
		{"[a-c]x", "bx", true},
		{"[a-c]x", "dx", false},
		{"[!a-c]x", "dx", true},
		{"[^a-c]x", "ax", false},
		{"[]]", "]", true},
		{"[]a]", "a", true},
		{"[a-]", "-", true},
		{"[\\]]", "]", true},
		{"[", "[", true},
		{"[a", "[a", true},
		{"[a", "a", false},
		{"\\*", "*", true},
		{"\\*", "a", false},
		{"\\?", "?", true},
		{"\\?", "x", false},
		{"a\\", "a\\", true},
		{"*\xff*",
			"a\xff"
			"b",
			true},
		{"[\xf0-\xff]", "\xf1", true},
		{"*[!a]", "ba", false},
		{"", "", true},
		{"*", "", true},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		if (glob_fits(cases[i].pattern, cases[i].name) != cases[i].fits)
			fail_msg("%s on %s", cases[i].pattern, cases[i].name);
}

static void a_pattern_of_many_stars_takes_no_time(void **state UNUSED) {
	char pattern[501], name[256];
	memset(name, 'a', 255);
	name[255] = '\0';
	for (size_t i = 0; i < 500; i++) pattern[i] = "*a"[i % 2];
	pattern[499] = 'b';
	pattern[500] = '\0';
	// By the C library's own it would outlast this machine.
	assert_false(glob_fits(pattern, name));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_fit_as_in_a_shell),
		cmocka_unit_test(a_pattern_of_many_stars_takes_no_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
