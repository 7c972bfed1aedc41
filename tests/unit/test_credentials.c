#include "lib/mem.h"
#include "worker/credentials.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define ANA   "0001"
#define ENTRY "{\"url\":\"https://git.example.org/team/\",\"username\":\"bot\",\"password\":\"hunter2\",\"users\":[\"ana\"]}"

struct rig {
	char *path;
	struct credentials *credentials;
};

static int up(void **state) {
	struct rig *rig = mem_zalloc(sizeof *rig);
	rig->path = mem_strdup("/tmp/test_credentials.XXXXXX");
	int fd = mkstemp(rig->path);
	*state = rig;
	return fd < 0 ? -1 : close(fd);
}

static int down(void **state) {
	struct rig *rig = *state;
	credentials_free(rig->credentials);
	unlink(rig->path);
	free(rig->path);
	free(rig);
	return 0;
}

// A new file each time, as who replaces it in one step does.
static void put(const struct rig *rig, const char *text, mode_t mode) {
	AUTO_FREE char *fresh = mem_format("%s.new", rig->path);
	AUTO_CLOSE int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(rename(fresh, rig->path), 0);
}

static void expect_refused(struct rig *rig, const char *text, mode_t mode, const char *words) {
	AUTO_ERROR struct error error = {0};
	put(rig, text, mode);
	assert_int_equal(credentials_open(rig->path, &rig->credentials, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	if (!strstr(error_text(&error), words)) fail_msg("%s: not in: %s", words, error_text(&error));
	if (strstr(error_text(&error), "hunter2")) fail_msg("tells: %s", error_text(&error));
}

static void open_with(struct rig *rig, const char *text) {
	AUTO_ERROR struct error error = {0};
	put(rig, text, 0600);
	if (credentials_open(rig->path, &rig->credentials, &error) < 0) fail_msg("%s", error_text(&error));
}

static const struct credential *find(const struct rig *rig, const char *text, const char *owner, const char *usuario) {
	struct giturl_rules *rules = NULL;
	struct giturl url;
	assert_int_equal(giturl_rules_parse(text, &rules, NULL), 0);
	assert_int_equal(giturl_check(text, rules, &url, NULL), 0);
	const struct credential *found = credentials_find(rig->credentials, &url, owner, usuario);
	giturl_clear(&url);
	giturl_rules_free(rules);
	return found;
}

// ---- what must hold

static void an_entry_serves_its_url_and_what_lies_below(void **state) {
	struct rig *rig = *state;
	static const char *const inside[] = {"https://git.example.org/team/a.git", "https://GIT.example.org:443/team/x/y",
		"https://git.example.org/team", "https://git.example.org/x/../team/a", NULL};
	static const char *const outside[] = {"https://git.example.org/teams/a.git", "https://git.example.org/",
		"https://git.example.org/tea", "https://git.example.org/team/../other/a",
		"https://git.example.org:8443/team/a.git", "http://git.example.org/team/a.git",
		"https://example.org/team/a.git", "https://git.example.org.evil.org/team/a.git",
		"https://git.example.org/Team/a", NULL};
	open_with(rig, "[" ENTRY "]");
	for (const char *const *url = inside; *url; url++)
		if (!find(rig, *url, ANA, "ana")) fail_msg("not served: %s", *url);
	for (const char *const *url = outside; *url; url++)
		if (find(rig, *url, ANA, "ana")) fail_msg("served: %s", *url);
}

static void an_entry_serves_the_users_that_it_names_and_nobody_else(void **state) {
	struct rig *rig = *state;
	const char *url = "https://git.example.org/team/a";
	open_with(rig, "[" ENTRY "]");
	assert_string_equal(find(rig, url, ANA, "ana")->password, "hunter2");
	assert_null(find(rig, url, "0002", "eva"));
	assert_null(find(rig, url, "ana", "eva")); // a sub is no name
	assert_null(find(rig, url, "0002", "Ana"));
}

static void users_are_named_by_sub_too_and_nobodys_jobs_are_not_everybodys(void **state) {
	struct rig *rig = *state;
	open_with(rig, "[{\"url\":\"https://a.org/\",\"username\":\"x\",\"password\":\"y\",\"subs\":[\"0001\"]},"
		       "{\"url\":\"https://b.org/\",\"username\":\"x\",\"password\":\"y\",\"users\":[\"*\"]}]");
	assert_non_null(find(rig, "https://a.org/r", ANA, "ana"));
	assert_null(find(rig, "https://a.org/r", "0002", "0001")); // a name is no sub
	assert_non_null(find(rig, "https://b.org/r", "0002", "eva"));
	assert_null(find(rig, "https://b.org/r", "kafka", "kafka"));
}

static void the_longest_path_that_the_user_may_use_counts(void **state) {
	struct rig *rig = *state;
	open_with(rig, "[{\"url\":\"https://a.org/\",\"username\":\"all\",\"password\":\"y\",\"users\":[\"*\"]},"
		       "{\"url\":\"https://a.org/t/r.git\",\"username\":\"one\",\"password\":\"y\",\"users\":[\"ana\"]},"
		       "{\"url\":\"https://a.org/t/\",\"username\":\"team\",\"password\":\"y\",\"users\":[\"ana\",\"eva\"]}]");
	assert_string_equal(find(rig, "https://a.org/t/r.git", ANA, "ana")->username, "one");
	assert_string_equal(find(rig, "https://a.org/t/s.git", ANA, "ana")->username, "team");
	assert_string_equal(find(rig, "https://a.org/t/r.git", "0002", "eva")->username, "team");
	assert_string_equal(find(rig, "https://a.org/t/r.git", "0003", "leo")->username, "all");
}

static void a_new_password_keeps_the_id_and_other_users_change_it(void **state) {
	struct rig *rig = *state;
	AUTO_ERROR struct error error = {0};
	const char *url = "https://git.example.org/team/a";
	open_with(rig, "[" ENTRY "]");
	AUTO_FREE char *id = mem_strdup(find(rig, url, ANA, "ana")->id);
	assert_int_equal(credentials_refresh(rig->credentials, &error), 0);
	put(rig, "[{\"url\":\"https://git.example.org/team\",\"username\":\"bot\",\"password\":\"new\",\"users\":[\"ana\"]}]",
		0600);
	assert_int_equal(credentials_refresh(rig->credentials, &error), 1);
	assert_string_equal(find(rig, url, ANA, "ana")->password, "new");
	put(rig,
		"[{\"url\":\"https://git.example.org/team/\",\"username\":\"bot\",\"password\":\"new\",\"users\":[\"ana\",\"eva\"]}]",
		0600);
	assert_int_equal(credentials_refresh(rig->credentials, &error), 1);
	assert_string_not_equal(find(rig, url, ANA, "ana")->id, id);
}

static void a_file_that_becomes_bad_changes_nothing_and_is_told_of_once(void **state) {
	struct rig *rig = *state;
	AUTO_ERROR struct error error = {0};
	open_with(rig, "[" ENTRY "]");
	put(rig, "[{\"url\"", 0600);
	assert_int_equal(credentials_refresh(rig->credentials, &error), -1);
	assert_int_equal(credentials_refresh(rig->credentials, &error), 0);
	assert_int_equal(unlink(rig->path), 0);
	assert_int_equal(credentials_refresh(rig->credentials, &error), -1);
	assert_int_equal(credentials_refresh(rig->credentials, &error), 0);
	assert_non_null(find(rig, "https://git.example.org/team/a", ANA, "ana"));
	put(rig, "[]", 0600);
	assert_int_equal(credentials_refresh(rig->credentials, &error), 1);
	assert_null(find(rig, "https://git.example.org/team/a", ANA, "ana"));
}

static void a_file_that_others_can_read_or_change_is_refused(void **state) {
	struct rig *rig = *state;
	static const mode_t modes[] = {0604, 0602, 0601, 0620, 0644, 0666, 0777};
	for (size_t i = 0; i < COUNT_OF(modes); i++) expect_refused(rig, "[" ENTRY "]", modes[i], "chmod 600");
	open_with(rig, "[" ENTRY "]");
	credentials_free(STEAL(rig->credentials));
	if (geteuid() != 0) return; // only root can give files away
	put(rig, "[" ENTRY "]", 0600);
	assert_int_equal(chown(rig->path, 12345, (gid_t)-1), 0);
	AUTO_ERROR struct error error = {0};
	assert_int_equal(credentials_open(rig->path, &rig->credentials, &error), -1);
	assert_non_null(strstr(error_text(&error), "belongs to uid 12345"));
}

static void what_is_no_file_is_refused(void **state) {
	struct rig *rig = *state;
	AUTO_ERROR struct error error = {0};
	assert_int_equal(credentials_open("/nowhere/credentials", &rig->credentials, &error), -1);
	assert_non_null(strstr(error_text(&error), "/nowhere/credentials"));
	assert_int_equal(credentials_open("/dev/zero", &rig->credentials, &error), -1);
	assert_int_equal(credentials_open("", &rig->credentials, &error), 0);
	assert_null(find(rig, "https://git.example.org/team/a", ANA, "ana"));
}

#define WITH(url, rest) "[{\"url\":\"" url "\",\"username\":\"bot\",\"password\":\"hunter2\"," rest "}]"

static void bad_entries_are_refused_by_their_number_without_their_password(void **state) {
	struct rig *rig = *state;
	static const char *const texts[][2] = {
		{"", "JSON"},
		{"hunter2", "JSON"},
		{"[\"hunter2]", "JSON"},
		{"{}", "array"},
		{"[7]", "entry 1"},
		{"[" ENTRY ",{\"url\":\"https://a.org/\"}]", "entry 2: username"},
		{"[" ENTRY "," ENTRY "]", "entries 1 and 2"},
		{"[{\"username\":\"bot\",\"password\":\"hunter2\",\"users\":[\"*\"]}]", "url is missing"},
		{"[{\"url\":\"https://a.org/\",\"username\":\"bot\",\"users\":[\"*\"]}]", "password"},
		{"[{\"url\":\"https://a.org/\",\"username\":\"b:t\",\"password\":\"hunter2\",\"users\":[\"*\"]}]", "colon"},
		{"[{\"url\":\"https://a.org/\",\"username\":\"bot\",\"password\":\"hunter2\\n\",\"users\":[\"*\"]}]",
			"one line"},
		{WITH("https://a.org/", "\"users\":[]"), "names nobody"},
		{WITH("https://a.org/", "\"users\":\"ana\""), "array of names"},
		{WITH("https://a.org/", "\"users\":[7]"), "users must hold"},
		{WITH("https://a.org/", "\"users\":[\"a\\nb\"]"), "users must hold"},
		{WITH("https://a.org/", "\"users\":[\"*\"],\"hunter2\":1"), "not known"},
		{WITH("https://bot:hunter2@a.org/", "\"users\":[\"*\"]"), "entry 1: url"},
		{WITH("ssh://a.org/", "\"users\":[\"*\"]"), "scheme"},
		{WITH("https://a.org/,https://b.org/", "\"users\":[\"*\"]"), "comma"},
	};
	for (size_t i = 0; i < COUNT_OF(texts); i++) expect_refused(rig, texts[i][0], 0600, texts[i][1]);
}

int main(void) {
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, up, down)
	const struct CMUnitTest tests[] = {
		WITH_RIG(an_entry_serves_its_url_and_what_lies_below),
		WITH_RIG(an_entry_serves_the_users_that_it_names_and_nobody_else),
		WITH_RIG(users_are_named_by_sub_too_and_nobodys_jobs_are_not_everybodys),
		WITH_RIG(the_longest_path_that_the_user_may_use_counts),
		WITH_RIG(a_new_password_keeps_the_id_and_other_users_change_it),
		WITH_RIG(a_file_that_becomes_bad_changes_nothing_and_is_told_of_once),
		WITH_RIG(a_file_that_others_can_read_or_change_is_refused),
		WITH_RIG(what_is_no_file_is_refused),
		WITH_RIG(bad_entries_are_refused_by_their_number_without_their_password),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
