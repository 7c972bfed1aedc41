#include "frontend/web.h"
#include "lib/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void assert_origin(const char *url, const char *origin) {
	AUTO_FREE char *found = web_origin(url);
	if (origin)
		assert_string_equal(found, origin);
	else
		assert_null(found);
}

static void the_origin_of_an_issuer_is_its_scheme_host_and_port(void **state) {
	(void)state;
	assert_origin("http://localhost:8082/realms/cloudcomputing", "http://localhost:8082");
	assert_origin("https://id.example.org", "https://id.example.org");
	assert_origin("https://id.example.org?a", "https://id.example.org");
	assert_origin("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443");
}

static void what_could_add_to_a_policy_is_no_origin(void **state) {
	(void)state;
	assert_origin("https://a; script-src *", NULL);
	assert_origin("https://a'none'", NULL);
	assert_origin("https://a b/", NULL);
	assert_origin("https://user@a/", NULL);
	assert_origin("https:///x", NULL);
	assert_origin("ftp://a/", NULL);
	assert_origin("", NULL);
}

static void the_page_is_embedded_and_names_its_version(void **state) {
	(void)state;
	bool page = false;
	for (size_t i = 0; i < web_file_count; i++) {
		assert_true(web_files[i].plain_size > 0 && web_files[i].gzip_size > 0);
		assert_int_equal(web_files[i].gzip[0], 0x1f);
		assert_int_equal(strncmp(web_files[i].etag, "W/\"", 3), 0);
		if (strcmp(web_files[i].path, "index.html") != 0) continue;
		page = true;
		assert_non_null(memmem(web_files[i].plain, web_files[i].plain_size, web_version, strlen(web_version)));
		assert_null(memmem(web_files[i].plain, web_files[i].plain_size, "@VERSION@", 9));
	}
	assert_true(page);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_origin_of_an_issuer_is_its_scheme_host_and_port),
		cmocka_unit_test(what_could_add_to_a_policy_is_no_origin),
		cmocka_unit_test(the_page_is_embedded_and_names_its_version),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
