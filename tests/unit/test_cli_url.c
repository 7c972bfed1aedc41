#include "cli/url.h"
#include "lib/mem.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static bool taken(const char *url, bool allow_http) {
	AUTO_ERROR struct error error = {0};
	int result = url_check(url, allow_http, &error);
	assert_int_equal(error.kind, result ? ERROR_USAGE : ERROR_NONE);
	return result == 0;
}

static void test_tokens_go_to_https_or_to_this_machine(void **state) {
	(void)state;
	static const char *const here[] = {"http://localhost:3000", "http://LOCALHOST/x", "http://a.localhost",
		"http://127.0.0.1:80/realms/x", "http://127.9.9.9", "http://[::1]:3000", "http://[::1]",
		"https://trabajos.example.org", "HTTPS://1.2.3.4:8443/x"};
	static const char *const elsewhere[] = {"http://trabajos.example.org", "http://localhost.example.org",
		"http://127.0.0.1.example.org", "http://127.example.org", "http://notlocalhost", "http://[::1].example.org",
		"http://[::2]", "http://128.0.0.1", "http://0.0.0.0", "http://localhost.", "http://::1"};
	for (size_t i = 0; i < COUNT_OF(here); i++)
		if (!taken(here[i], false)) fail_msg("%s was refused", here[i]);
	for (size_t i = 0; i < COUNT_OF(elsewhere); i++) {
		if (taken(elsewhere[i], false)) fail_msg("%s was taken", elsewhere[i]);
		if (!taken(elsewhere[i], true)) fail_msg("%s was refused, although http is allowed", elsewhere[i]);
	}
}

static void test_what_hides_its_host_is_no_url(void **state) {
	(void)state;
	static const char *const wrong[] = {"", "localhost:3000", "ftp://localhost", "http://", "https:///x",
		"https://user@example.org", "http://127.0.0.1:80@example.org", "https://example.org\\@localhost",
		"https://exa mple.org", "https://example.org/\n", "https://ex\303\241mple.org", "https://?x", "//localhost"};
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		if (taken(wrong[i], true)) fail_msg("%s was taken", wrong[i]);
}

static void test_a_server_has_one_name_and_no_path(void **state) {
	(void)state;
	static const char *const same[][2] = {{"HTTPS://Example.ORG:443/", "https://example.org"},
		{"http://localhost:80", "http://localhost"}, {"http://localhost:3000//", "http://localhost:3000"},
		{"http://[::1]:80", "http://[::1]"}};
	for (size_t i = 0; i < COUNT_OF(same); i++) {
		AUTO_FREE char *server = url_server(same[i][0], false, NULL);
		assert_string_equal(server, same[i][1]);
		assert_true(url_same_origin(same[i][0], same[i][1]));
	}
	assert_null(url_server("https://example.org/trabajos", false, NULL));
	assert_null(url_server("https://example.org?x", false, NULL));
	assert_false(url_same_origin("https://example.org", "https://example.org.evil"));
	assert_false(url_same_origin("http://localhost", "https://localhost"));
	assert_false(url_same_origin("http://localhost:3000", "http://localhost:3001"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens_go_to_https_or_to_this_machine),
		cmocka_unit_test(test_what_hides_its_host_is_no_url),
		cmocka_unit_test(test_a_server_has_one_name_and_no_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
