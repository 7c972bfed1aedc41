#include "lib/giturl.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static struct giturl_rules *rules_of(const char *text) {
	struct giturl_rules *rules = NULL;
	AUTO_ERROR struct error error = {0};
	if (giturl_rules_parse(text, &rules, &error) < 0) fail_msg("%s: %s", text, error_text(&error));
	return rules;
}

static void expect_text(const char *text, const char *rules_text, const char *normal) {
	AUTO_ERROR struct error error = {0};
	struct giturl_rules *rules = rules_of(rules_text);
	struct giturl url, again;
	if (giturl_check(text, rules, &url, &error) < 0) fail_msg("%s: %s", text, error_text(&error));
	if (strcmp(url.text, normal) != 0) fail_msg("%s became %s, not %s", text, url.text, normal);
	if (giturl_check(url.text, rules, &again, &error) < 0) fail_msg("%s: again: %s", text, error_text(&error));
	assert_string_equal(again.text, url.text);
	assert_int_equal(again.allowed, url.allowed);
	giturl_clear(&again);
	giturl_clear(&url);
	giturl_rules_free(rules);
}

static void expect_kind(const char *text, const char *rules_text, enum error_kind kind, const char *word) {
	AUTO_ERROR struct error error = {0};
	struct giturl_rules *rules = rules_of(rules_text);
	struct giturl url;
	if (giturl_check(text, rules, &url, &error) == 0) fail_msg("%s is accepted as %s", text, url.text);
	if (error.kind != kind) fail_msg("%s: kind %d: %s", text, (int)error.kind, error_text(&error));
	if (word && !strstr(error_text(&error), word))
		fail_msg("%s: message without \"%s\": %s", text, word, error_text(&error));
	assert_null(url.text);
	giturl_rules_free(rules);
}

static void public_https_is_taken_and_normalised(void **state) {
	(void)state;
	expect_text("https://example.org/a/b.git", "", "https://example.org/a/b.git");
	expect_text("HTTPS://Example.ORG:443/A", "", "https://example.org/A");
	expect_text("https://example.org", "", "https://example.org/");
	expect_text("https://example.org:/x", "", "https://example.org/x");
	expect_text("https://example.org.:8443/x", "", "https://example.org:8443/x");
	expect_text("https://example.org:00443/x", "", "https://example.org/x");
	expect_text("https://8.8.8.8/x", "", "https://8.8.8.8/x");
	expect_text("https://0x08080808/x", "", "https://8.8.8.8/x");
	expect_text("https://[2606:4700:0:0::1111]:9000/x", "", "https://[2606:4700::1111]:9000/x");
	expect_text("https://xn--bcher-kva.example/x", "", "https://xn--bcher-kva.example/x");
	expect_text("https://git_server.example/~user/x+y/@v1", "", "https://git_server.example/~user/x+y/@v1");
}

static void paths_lose_dot_segments_and_needless_escapes(void **state) {
	(void)state;
	expect_text("https://h.org/a/./b/../c", "", "https://h.org/a/c");
	expect_text("https://h.org/../../x", "", "https://h.org/x");
	expect_text("https://h.org/a/b/..", "", "https://h.org/a/");
	expect_text("https://h.org/a/.", "", "https://h.org/a/");
	expect_text("https://h.org/a/%2e%2E/b", "", "https://h.org/b");
	expect_text("https://h.org/%7euser/%41%c3%a4%20x", "", "https://h.org/~user/A%C3%A4%20x");
	expect_text("https://h.org//a//../b", "", "https://h.org//a/b");
	expect_text("https://h.org/a;b/...;/.git;x", "", "https://h.org/a;b/...;/.git;x");
	expect_text("https://h.org/...", "", "https://h.org/...");
	expect_text("https://h.org/a..b/.c/", "", "https://h.org/a..b/.c/");
}

static void http_is_upgraded_where_it_can_be(void **state) {
	(void)state;
	expect_text("http://example.org/x", "", "https://example.org/x");
	expect_text("http://example.org:80/x", "", "https://example.org/x");
	expect_kind("http://example.org:8080/x", "", ERROR_DENIED, "upgraded");
	expect_kind("http://example.org:443/x", "", ERROR_DENIED, "upgraded");
	expect_text("http://example.org/x", "http://example.org/", "http://example.org/x");
	expect_text("http://example.org/x", "https://example.org/", "https://example.org/x");
}

static void what_is_no_url_is_bad_input(void **state) {
	(void)state;
	const char *const texts[] = {"", " ", "x", "/", "example.org/x", "https:", "https:/", "https://", "https:///x",
		"https://:443/x", "://h.org/", "1https://h.org/", "https//h.org", "https://h.org/a b", "https://h.org/\n",
		"https://h.org/\x01", "https://h.org/\x7f", " https://h.org/", "https://h.org/ ", "https://h\\.org/",
		"https://h.org\\x", "https://h.org/a?b", "https://h.org/a#b", "https://h.org?x", "https://h.org#x",
		"https://h.org/%", "https://h.org/%2", "https://h.org/%zz", "https://h.org/%00", "https://h.org/%0a",
		"https://h.org/a%2fb", "https://h.org/a%5Cb", "https://h%2eorg/", "https://%6c.org/", "https://h.org:0/",
		"https://h.org:65536/", "https://h.org:x/", "https://h.org:-1/", "https://h.org:1:2/", "https://[::1/",
		"https://[::1]x/", "https://[]/", "https://[127.0.0.1]/", "https://[v1.x]/", "https://[fe80::1%25eth0]/",
		"https://::1/", "https://a..b/", "https://.a.b/", "https://a.b../", "https://-a.b/", "https://a-.b/",
		"https://a.256/", "https://1.2.3.4.5/", "https://256.1.1.1/", "https://a.0x1/", "https://a!b.org/",
		"https://a,b.org/",
		"https://b\xc3\xbc"
		"cher.example/",
		"https://h.org/\xc3\xa4", "https://h.org/[x]", "https://h.org/{x}", "https://h.org/a|b",
		"https://h.org/a/..;/b", "https://h.org/a/..;x=y/b", "https://h.org/a/%2e%2E;/b", "https://h.org/a/..%3b/b",
		"https://h.org/.;/b", "https://h.org/a/..;", NULL};
	for (const char *const *text = texts; *text; text++) expect_kind(*text, "", ERROR_INPUT, NULL);
}

static void too_long_urls_hosts_and_labels_are_bad_input(void **state) {
	(void)state;
	char text[9001];
	memset(text, 'a', sizeof text);
	memcpy(text, "https://h.org/", 14);
	text[9000] = '\0';
	expect_kind(text, "", ERROR_INPUT, "longer than 2000");
	text[2001] = '\0';
	expect_kind(text, "", ERROR_INPUT, "longer than 2000");
	text[2000] = '\0';
	expect_text(text, "", text);
	memcpy(text, "http://h.org/a", 14);
	expect_kind(text, "", ERROR_INPUT, "longer than 2000"); // it would be one longer as https
	memset(text + 8, 'a', 64);
	memcpy(text, "https://", 8);
	memcpy(text + 72, ".org/", 6);
	expect_kind(text, "", ERROR_INPUT, "longer than 63");
	for (size_t i = 8; i < 300; i++) text[i] = i % 50 == 0 ? '.' : 'a';
	memcpy(text + 300, ".org/", 6);
	expect_kind(text, "", ERROR_INPUT, "longer than 253");
}

static void credentials_are_refused_and_not_repeated(void **state) {
	(void)state;
	const char *const texts[] = {"https://user:hunter2@h.org/x", "https://hunter2@h.org/x", "https://@h.org/",
		"https://h.org@127.0.0.1/x", "https://a:b@c@h.org/", NULL};
	for (const char *const *text = texts; *text; text++) {
		AUTO_ERROR struct error error = {0};
		struct giturl url;
		assert_int_equal(giturl_check(*text, NULL, &url, &error), -1);
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_non_null(strstr(error_text(&error), "credentials"));
		assert_null(strstr(error_text(&error), "hunter2"));
	}
}

static void other_schemes_are_denied_by_name(void **state) {
	(void)state;
	expect_kind("file:///etc/passwd", "", ERROR_DENIED, "file");
	expect_kind("FILE://localhost/etc", "", ERROR_DENIED, "file");
	expect_kind("file:/etc/passwd", "", ERROR_DENIED, "file");
	expect_kind("ssh://git@h.org/x", "", ERROR_DENIED, "ssh");
	expect_kind("git+ssh://h.org/x", "", ERROR_DENIED, "git+ssh");
	expect_kind("git://h.org/x", "", ERROR_DENIED, "git");
	expect_kind("ftp://h.org/x", "", ERROR_DENIED, "ftp");
	expect_kind("ext::sh -c id", "", ERROR_INPUT, NULL); // the space
	expect_kind("ext::sh", "", ERROR_DENIED, "remote helpers");
	expect_kind("https::https://h.org/", "", ERROR_DENIED, "remote helpers");
	expect_kind("git@h.org:user/x.git", "", ERROR_INPUT, "ssh");
	expect_kind("h.org:user/x.git", "", ERROR_INPUT, "ssh");
	expect_kind("--upload-pack=x", "", ERROR_INPUT, NULL);
}

static void non_public_literals_are_denied_in_every_notation(void **state) {
	(void)state;
	const char *const hosts[] = {"127.0.0.1", "2130706433", "0x7f.1", "017700000001", "127.1", "127.0.0.1.", "0", "0.0.0.0",
		"10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0xa9fea9fe", "100.64.0.1", "224.0.0.1",
		"255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
		"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00::1]", "[ff02::1]", "[fec0::1]", NULL};
	for (const char *const *host = hosts; *host; host++) {
		char text[100];
		snprintf(text, sizeof text, "https://%s/x", *host);
		expect_kind(text, "", ERROR_DENIED, "not public");
		snprintf(text, sizeof text, "http://%s:8080/x", *host);
		expect_kind(text, "", ERROR_DENIED, "not public");
	}
}

static void local_names_are_denied(void **state) {
	(void)state;
	const char *const hosts[] = {"localhost", "LOCALHOST", "localhost.", "a.localhost", "a.localdomain", "printer.local",
		"db.internal", "metadata.google.internal", "nas.home.arpa", "home.arpa", "git-server", "kafka", NULL};
	for (const char *const *host = hosts; *host; host++) {
		char text[100];
		snprintf(text, sizeof text, "https://%s/x", *host);
		expect_kind(text, "", ERROR_DENIED, "local");
	}
	expect_text("https://notlocalhost.org/", "", "https://notlocalhost.org/");
	expect_text("https://localhost.org/", "", "https://localhost.org/");
}

static void rules_allow_what_they_name(void **state) {
	(void)state;
	const char *rules = "http://127.0.0.1:3010/git/, https://git-server/team";
	expect_text("http://127.0.0.1:3010/git/x.git", rules, "http://127.0.0.1:3010/git/x.git");
	expect_text("http://127.1:3010/git/x.git", rules, "http://127.0.0.1:3010/git/x.git");
	expect_text("http://127.0.0.1:3010/git/a/../x.git", rules, "http://127.0.0.1:3010/git/x.git");
	expect_text("http://127.0.0.1:3010/%67it/x", rules, "http://127.0.0.1:3010/git/x");
	expect_text("https://GIT-SERVER/team/x", rules, "https://git-server/team/x");
	expect_text("https://git-server/team", rules, "https://git-server/team");
	expect_text("http://git-server/team/x", "http://git-server", "http://git-server/team/x");
	expect_text("https://[::1]/x", "https://[0:0::1]:443/", "https://[::1]/x");
}

static void rules_allow_nothing_else(void **state) {
	(void)state;
	const char *rules = "http://127.0.0.1:3010/git/,https://git-server/team";
	const char *const texts[] = {"http://127.0.0.1:3011/git/x", "https://127.0.0.1:3010/git/x", "http://127.0.0.1/git/x",
		"http://127.0.0.2:3010/git/x", "http://127.0.0.1:3010/", "http://127.0.0.1:3010/gitx/y",
		"http://127.0.0.1:3010/git/../x", "http://127.0.0.1:3010/git/%2e%2e/x", "http://127.0.0.1:3010/git/a/../../x",
		"http://127.0.0.1:3010//git/x", "http://127.0.0.1:3010/GIT/x", "https://git-server/teams/x",
		"https://git-server/tea", "http://localhost:3010/git/x", "https://git-server:444/team/x", NULL};
	for (const char *const *text = texts; *text; text++) expect_kind(*text, rules, ERROR_DENIED, NULL);
	expect_kind("http://127.0.0.1:3010/git/..%2fx", rules, ERROR_INPUT, "separator");
	expect_kind("http://127.0.0.1:3010/git/%2e%2e%2fx", rules, ERROR_INPUT, "separator");
}

static void allowed_says_whether_a_rule_named_it(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	struct giturl_rules *rules = rules_of("https://git.example.org/team/");
	struct giturl url;
	assert_int_equal(giturl_check("https://git.example.org/team/x", rules, &url, &error), 0);
	assert_true(url.allowed);
	assert_string_equal(url.scheme, "https");
	assert_string_equal(url.host, "git.example.org");
	assert_int_equal(url.port, 443);
	assert_string_equal(url.path, "/team/x");
	giturl_clear(&url);
	assert_int_equal(giturl_check("https://git.example.org/other/x", rules, &url, &error), 0);
	assert_false(url.allowed);
	giturl_clear(&url);
	assert_int_equal(giturl_check("https://[2606:4700::1]/x", NULL, &url, &error), 0);
	assert_string_equal(url.host, "2606:4700::1");
	giturl_clear(&url);
	giturl_rules_free(rules);
}

static void bad_rules_are_refused_with_their_number(void **state) {
	(void)state;
	const char *const texts[] = {
		"file:///srv/git/", "https://a.org/,nonsense", "https://u:p@a.org/", "https://a.org/?x", "*", NULL};
	for (const char *const *text = texts; *text; text++) {
		AUTO_ERROR struct error error = {0};
		struct giturl_rules *rules;
		assert_int_equal(giturl_rules_parse(*text, &rules, &error), -1);
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_non_null(strstr(error_text(&error), strstr(*text, "nonsense") ? "rule 2: " : "rule 1: "));
	}
}

static void empty_rules_are_fine(void **state) {
	(void)state;
	const char *const texts[] = {"", ",", " , ", "https://a.org/,", NULL};
	for (const char *const *text = texts; *text; text++) giturl_rules_free(rules_of(*text));
	giturl_rules_free(rules_of(NULL));
	giturl_rules_free(NULL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(public_https_is_taken_and_normalised),
		cmocka_unit_test(paths_lose_dot_segments_and_needless_escapes),
		cmocka_unit_test(http_is_upgraded_where_it_can_be),
		cmocka_unit_test(what_is_no_url_is_bad_input),
		cmocka_unit_test(too_long_urls_hosts_and_labels_are_bad_input),
		cmocka_unit_test(credentials_are_refused_and_not_repeated),
		cmocka_unit_test(other_schemes_are_denied_by_name),
		cmocka_unit_test(non_public_literals_are_denied_in_every_notation),
		cmocka_unit_test(local_names_are_denied),
		cmocka_unit_test(rules_allow_what_they_name),
		cmocka_unit_test(rules_allow_nothing_else),
		cmocka_unit_test(allowed_says_whether_a_rule_named_it),
		cmocka_unit_test(bad_rules_are_refused_with_their_number),
		cmocka_unit_test(empty_rules_are_fine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
