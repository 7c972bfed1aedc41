// Trees made by hand, object by object, as no git would make them.
#include "lib/mem.h"
#include "worker/fetch/checkout.h"
#include "worker/fetch/folder.h"
#include "worker/fetch/mirror.h"
#include "worker/fetch/path.h"
#include "worker/fetch/refs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

struct rig {
	char *dir;
	int fd;
	git_repository *repository;
	git_odb *odb;
};

static int up(void **state) {
	struct rig *rig = mem_zalloc(sizeof *rig);
	rig->dir = mem_strdup("/tmp/test_checkout.XXXXXX");
	if (!mkdtemp(rig->dir)) return -1;
	rig->fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FREE char *path = mem_format("%s/r.git", rig->dir);
	if (git_repository_init(&rig->repository, path, 1) < 0 || git_repository_odb(&rig->odb, rig->repository) < 0) return -1;
	*state = rig;
	return 0;
}

static int down(void **state) {
	struct rig *rig = *state;
	git_odb_free(rig->odb);
	git_repository_free(rig->repository);
	const char *name = strrchr(rig->dir, '/') + 1;
	AUTO_CLOSE int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int done = folder_remove(tmp, name);
	close(rig->fd);
	free(rig->dir);
	free(rig);
	return done;
}

// ---- objects

static git_oid put(struct rig *rig, git_object_t type, const void *data, size_t length) {
	git_oid id;
	assert_int_equal(git_odb_write(&id, rig->odb, data, length, type), 0);
	return id;
}

static git_oid blob(struct rig *rig, const char *text) {
	return put(rig, GIT_OBJECT_BLOB, text, strlen(text));
}

struct entry {
	const char *mode, *name;
	git_oid id;
};

static git_oid tree(struct rig *rig, const struct entry *entries, size_t count) {
	char *data = NULL;
	size_t length;
	FILE *out = open_memstream(&data, &length);
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "%s %s%c", entries[i].mode, entries[i].name, '\0');
		fwrite(entries[i].id.id, 20, 1, out);
	}
	fclose(out);
	git_oid id = put(rig, GIT_OBJECT_TREE, data, length);
	free(data);
	return id;
}

static git_oid commit(struct rig *rig, git_oid root) {
	char hex[41] = "";
	git_oid_fmt(hex, &root);
	AUTO_FREE char *text = mem_format("tree %s\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n", hex);
	return put(rig, GIT_OBJECT_COMMIT, text, strlen(text));
}

static int checkout(struct rig *rig, git_oid root, struct checkout_sum *sum, bool *damaged, struct outcome *outcome) {
	const struct checkout_limits limits = {.bytes = 8 << 20, .files = 1000};
	git_oid id = commit(rig, root);
	*damaged = false;
	return checkout_write(rig->repository, &id, rig->fd, "out", &limits, sum, damaged, outcome);
}

static void expect_written(struct rig *rig, git_oid root, struct checkout_sum *sum) {
	struct outcome outcome = {0};
	bool damaged;
	if (checkout(rig, root, sum, &damaged, &outcome) < 0) fail_msg("%s", outcome.message);
}

static void expect_refused(struct rig *rig, git_oid root, enum blame blame, const char *word) {
	struct outcome outcome = {0};
	struct checkout_sum sum;
	bool damaged;
	if (checkout(rig, root, &sum, &damaged, &outcome) == 0) fail_msg("written, though %s", word);
	if (outcome.code != OUTCOME_FETCH || outcome.blame != blame || !strstr(outcome.message, word))
		fail_msg("%s: %d %s", word, (int)outcome.blame, outcome.message);
	outcome_clear(&outcome);
	assert_int_equal(folder_remove(rig->fd, "out"), 0);
}

static struct stat status_of(const struct rig *rig, const char *name) {
	struct stat status;
	if (fstatat(rig->fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0) fail_msg("%s is not there", name);
	return status;
}

// ---- what must hold

static void files_folders_links_and_modes_are_written_as_they_are(void **state) {
	struct rig *rig = *state;
	struct checkout_sum sum;
	const struct entry inner[] = {{"100644", "f", blob(rig, "inner")}};
	const struct entry outer[] = {{"100644", "a", blob(rig, "hello")}, {"100755", "b", blob(rig, "")},
		{"120000", "c", blob(rig, "/etc/passwd")}, {"40000", "d", tree(rig, inner, 1)}, {"160000", "e", {{0x11}}},
		{"100664", "g", blob(rig, "x")}, {"104777", "h", blob(rig, "x")}};
	expect_written(rig, tree(rig, outer, COUNT_OF(outer)), &sum);
	assert_int_equal(sum.files, 8);
	assert_int_equal(sum.bytes, 8 * 4096); // the root, a, c, d, d/f, e, g, h: blocks; b has none
	assert_int_equal(status_of(rig, "out/a").st_mode, S_IFREG | 0644);
	assert_int_equal(status_of(rig, "out/a").st_size, 5);
	assert_int_equal(status_of(rig, "out/b").st_mode, S_IFREG | 0755);
	assert_true(S_ISLNK(status_of(rig, "out/c").st_mode));
	assert_int_equal(status_of(rig, "out/d/f").st_size, 5);
	assert_int_equal(status_of(rig, "out/e").st_mode, S_IFDIR | 0755);
	assert_int_equal(status_of(rig, "out/g").st_mode, S_IFREG | 0644);
	assert_int_equal(status_of(rig, "out/h").st_mode & 07022, 0);
}

static void a_link_and_a_folder_of_one_name_write_nothing_outside(void **state) {
	struct rig *rig = *state;
	assert_int_equal(mkdirat(rig->fd, "victim", 0755), 0);
	AUTO_FREE char *victim = mem_format("%s/victim", rig->dir);
	const struct entry inner[] = {{"100644", "planted", blob(rig, "x")}};
	const struct entry folder[] = {{"120000", "a", blob(rig, victim)}, {"40000", "a", tree(rig, inner, 1)}};
	expect_refused(rig, tree(rig, folder, 2), BLAME_USER, "the same name twice");
	AUTO_FREE char *planted = mem_format("%s/planted", victim);
	const struct entry file[] = {{"120000", "a", blob(rig, planted)}, {"100644", "a", blob(rig, "x")}};
	expect_refused(rig, tree(rig, file, 2), BLAME_USER, "the same name twice");
	assert_int_equal(access(planted, F_OK), -1);
}

static void names_that_git_forbids_are_refused(void **state) {
	struct rig *rig = *state;
	static const char *const names[] = {".", "..", ".git", ".GIT", ".gIt", "git~1", "GIT~1", ".git.", ".git ", ".git. .",
		".git::$INDEX_ALLOCATION", ".git\\x", "a/b", "/abs", "../x", ".g\xe2\x80\x8cit", "\xef\xbb\xbf.git",
		".git\xe2\x81\xaf", NULL};
	for (const char *const *name = names; *name; name++) {
		const struct entry file[] = {{"100644", *name, blob(rig, "x")}};
		const struct entry folder[] = {{"40000", *name, tree(rig, file, 0)}};
		const struct entry link[] = {{"120000", *name, blob(rig, "x")}};
		expect_refused(rig, tree(rig, file, 1), BLAME_USER, "a name");
		expect_refused(rig, tree(rig, folder, 1), BLAME_USER, "a name");
		expect_refused(rig, tree(rig, link, 1), BLAME_USER, "a name");
	}
}

static void names_that_only_resemble_those_are_fine(void **state) {
	(void)state;
	static const char *const names[] = {".gitignore", ".gitmodules", ".gita", "git", "git~2", "git~10", "..a", "a..", "...",
		".git-x", "x.git", "gi\xe2\x80\x8ct", "\x0egit", "\xff\xfe", "a\\b", "a:b", "a\nb", "\xc3\xb1", ".gi", "-rf",
		" ", NULL};
	for (const char *const *name = names; *name; name++)
		if (path_fault(*name)) fail_msg("%s: %s", *name, path_fault(*name));
}

static void links_that_are_none_are_refused(void **state) {
	struct rig *rig = *state;
	char target[5000];
	memset(target, 'x', sizeof target);
	const struct entry empty[] = {{"120000", "a", blob(rig, "")}};
	const struct entry nul[] = {{"120000", "a", put(rig, GIT_OBJECT_BLOB, "x\0y", 3)}};
	const struct entry longer[] = {{"120000", "a", put(rig, GIT_OBJECT_BLOB, target, sizeof target)}};
	expect_refused(rig, tree(rig, empty, 1), BLAME_USER, "a symbolic link");
	expect_refused(rig, tree(rig, nul, 1), BLAME_USER, "a symbolic link");
	expect_refused(rig, tree(rig, longer, 1), BLAME_USER, "a symbolic link");
}

static void a_tree_that_unfolds_without_end_costs_nothing(void **state) {
	struct rig *rig = *state;
	git_oid id = tree(rig, NULL, 0);
	for (int i = 0; i < 60; i++) {
		const struct entry twice[] = {{"40000", "a", id}, {"40000", "b", id}};
		id = tree(rig, twice, 2);
	}
	expect_refused(rig, id, BLAME_LIMIT, "too many files");
	struct stat status;
	assert_int_equal(fstatat(rig->fd, "out", &status, 0), -1);
}

static void a_blob_named_many_times_counts_each_time(void **state) {
	struct rig *rig = *state;
	char *data = mem_zalloc(1000000);
	struct entry many[12];
	static const char *const names[12] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
	for (size_t i = 0; i < 12; i++) many[i] = (struct entry){"100644", names[i], put(rig, GIT_OBJECT_BLOB, data, 1000000)};
	free(data);
	expect_refused(rig, tree(rig, many, 12), BLAME_LIMIT, "too large");
}

static void too_deep_and_too_long_paths_are_refused(void **state) {
	struct rig *rig = *state;
	char name[201];
	memset(name, 'n', 200);
	name[200] = '\0';
	git_oid deep = tree(rig, NULL, 0), far = deep;
	for (int i = 0; i < 102; i++) {
		const struct entry one[] = {{"40000", "d", deep}};
		deep = tree(rig, one, 1);
	}
	for (int i = 0; i < 25; i++) {
		const struct entry one[] = {{"40000", name, far}};
		far = tree(rig, one, 1);
	}
	expect_refused(rig, deep, BLAME_LIMIT, "too deep");
	expect_refused(rig, far, BLAME_LIMIT, "too long a path");
}

static void missing_and_wrong_objects_are_noticed(void **state) {
	struct rig *rig = *state;
	struct outcome outcome = {0};
	struct checkout_sum sum;
	bool damaged;
	const struct entry missing[] = {{"100644", "a", {{0x22}}}};
	assert_int_equal(checkout(rig, tree(rig, missing, 1), &sum, &damaged, &outcome), -1);
	assert_true(damaged);
	const struct entry folder[] = {{"40000", "a", blob(rig, "x")}};
	assert_int_equal(checkout(rig, tree(rig, folder, 1), &sum, &damaged, &outcome), -1);
	assert_true(damaged);
	outcome_clear(&outcome);
	const struct entry file[] = {{"100644", "a", tree(rig, NULL, 0)}};
	expect_refused(rig, tree(rig, file, 1), BLAME_USER, "a file that is no blob");
}

// ---- refs

static const git_remote_head *pick(const char *ref) {
	static git_remote_head heads[] = {{.name = "HEAD"}, {.name = "refs/heads/main"}, {.name = "refs/heads/v1"},
		{.name = "refs/heads/a/b"}, {.name = "refs/tags/v1"}, {.name = "refs/tags/v2"}, {.name = "refs/pull/1/head"}};
	static const git_remote_head *list[COUNT_OF(heads)];
	for (size_t i = 0; i < COUNT_OF(heads); i++) list[i] = &heads[i];
	return refs_pick(list, COUNT_OF(list), ref);
}

static void a_ref_is_a_branch_then_a_tag_then_any_other(void **state) {
	(void)state;
	assert_string_equal(pick(NULL)->name, "HEAD");
	assert_string_equal(pick("HEAD")->name, "HEAD");
	assert_string_equal(pick("main")->name, "refs/heads/main");
	assert_string_equal(pick("a/b")->name, "refs/heads/a/b");
	assert_string_equal(pick("v1")->name, "refs/heads/v1");
	assert_string_equal(pick("tags/v1")->name, "refs/tags/v1");
	assert_string_equal(pick("refs/tags/v1")->name, "refs/tags/v1");
	assert_string_equal(pick("v2")->name, "refs/tags/v2");
	assert_string_equal(pick("pull/1/head")->name, "refs/pull/1/head");
	assert_null(pick("nope"));
	assert_null(pick("refs/heads/v2"));
	assert_null(pick("refs/heads/"));
	assert_null(pick(""));
}

static void a_commit_id_has_forty_digits(void **state) {
	(void)state;
	assert_true(refs_is_commit_id("0123456789abcdef0123456789ABCDEF01234567"));
	assert_false(refs_is_commit_id("0123456789abcdef0123456789abcdef0123456"));
	assert_false(refs_is_commit_id("0123456789abcdef0123456789abcdef0123456g"));
	assert_false(refs_is_commit_id("0123456789abcdef0123456789abcdef012345678"));
	assert_false(refs_is_commit_id(NULL));
}

static void refs_are_recorded_whole_and_sorted(void **state) {
	struct rig *rig = *state;
	git_oid here = blob(rig, "x"), gone = {{0x33}};
	git_remote_head heads[] = {{.name = "HEAD", .oid = here}, {.name = "refs/tags/z", .oid = here},
		{.name = "refs/heads/b", .oid = here}, {.name = "refs/heads/b", .oid = here},
		{.name = "refs/heads/gone", .oid = gone}, {.name = "refs/heads/bad..name", .oid = here},
		{.name = "refs/tags/z^{}", .oid = here}, {.name = "refs/pull/1/head", .oid = here},
		{.name = "refs/heads/x y", .oid = here}};
	const git_remote_head *list[COUNT_OF(heads)];
	git_strarray names = {0};
	git_oid *ids;
	size_t count;
	for (size_t i = 0; i < COUNT_OF(heads); i++) list[i] = &heads[i];
	assert_int_equal(refs_write(rig->repository, list, COUNT_OF(list), &heads[0]), 0);
	assert_int_equal(git_reference_list(&names, rig->repository), 0);
	assert_int_equal(names.count, 3);
	assert_string_equal(names.strings[0], "refs/heads/b");
	assert_string_equal(names.strings[1], "refs/tags/z");
	assert_string_equal(names.strings[2], "refs/trabajos/HEAD");
	git_strarray_dispose(&names);
	assert_int_equal(refs_read(rig->repository, &ids, &count), 0);
	assert_int_equal(count, 3);
	assert_true(git_oid_equal(&ids[2], &here));
	free(ids);
}

static void refs_that_vanish_from_the_remote_vanish_here(void **state) {
	struct rig *rig = *state;
	git_oid here = blob(rig, "x");
	git_remote_head head = {.name = "refs/heads/b", .oid = here};
	const git_remote_head *list[] = {&head};
	git_oid *ids;
	size_t count;
	assert_int_equal(refs_write(rig->repository, list, 1, NULL), 0);
	assert_int_equal(refs_write(rig->repository, list, 0, NULL), 0);
	assert_int_equal(refs_read(rig->repository, &ids, &count), 0);
	assert_int_equal(count, 0);
	free(ids);
}

static int library(void **state) {
	(void)state;
	umask(022);
	return mirror_library();
}

static int library_end(void **state) {
	(void)state;
	mirror_library_end();
	return 0;
}

int main(void) {
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, up, down)
	const struct CMUnitTest tests[] = {
		WITH_RIG(files_folders_links_and_modes_are_written_as_they_are),
		WITH_RIG(a_link_and_a_folder_of_one_name_write_nothing_outside),
		WITH_RIG(names_that_git_forbids_are_refused),
		cmocka_unit_test(names_that_only_resemble_those_are_fine),
		WITH_RIG(links_that_are_none_are_refused),
		WITH_RIG(a_tree_that_unfolds_without_end_costs_nothing),
		WITH_RIG(a_blob_named_many_times_counts_each_time),
		WITH_RIG(too_deep_and_too_long_paths_are_refused),
		WITH_RIG(missing_and_wrong_objects_are_noticed),
		cmocka_unit_test(a_ref_is_a_branch_then_a_tag_then_any_other),
		cmocka_unit_test(a_commit_id_has_forty_digits),
		WITH_RIG(refs_are_recorded_whole_and_sorted),
		WITH_RIG(refs_that_vanish_from_the_remote_vanish_here),
	};
	return cmocka_run_group_tests(tests, library, library_end);
}
