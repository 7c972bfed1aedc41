// Trees that stand ready: written once, sealed, and used again only while they are what they were.
#include "lib/mem.h"
#include "worker/fetch/folder.h"
#include "worker/fetch/seal.h"
#include "worker/fetch/store.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define MIRROR "mirror"

static char dir[] = "/tmp/trabajos-store-XXXXXX";
static char commit[41];
static git_repository *repository;
static int root_fd = -1;

static void shell(const char *line) {
	const char *const argv[] = {"/bin/sh", "-ec", line, "sh", dir, NULL};
	char path[] = "PATH=/usr/bin:/bin", system_config[] = "GIT_CONFIG_NOSYSTEM=1", home[] = "HOME=/nonexistent";
	char *env[] = {path, system_config, home, NULL};
	pid_t pid;
	int status;
	assert_int_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, (char *const *)(uintptr_t)argv, env), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0) fail_msg("%s: %d", line, status);
}

static int setup(void **state) {
	(void)state;
	assert_non_null(mkdtemp(dir));
	shell("cd \"$1\"; git init -q work; cd work; mkdir -p a/b; echo one >file; echo deep >a/b/deep; printf '#!/bin/sh\\n' >main.sh; "
	      "chmod +x main.sh; ln -s file link; : >empty; git add -A; git -c user.name=t -c user.email=t@e.org commit -qm t; "
	      "git rev-parse HEAD >../commit; mkdir ../trees");
	AUTO_FREE char *work = mem_format("%s/work", dir), *file = mem_format("%s/commit", dir);
	AUTO_FCLOSE FILE *id = fopen(file, "re");
	assert_non_null(fgets(commit, sizeof commit, id));
	assert_true(git_libgit2_init() > 0);
	assert_int_equal(git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0), 0);
	assert_int_equal(git_repository_open(&repository, work), 0);
	root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	git_repository_free(repository);
	git_libgit2_shutdown();
	close(root_fd);
	shell("rm -rf \"$1\"");
	return 0;
}

static json_t *put(void) {
	const struct checkout_limits limits = {.bytes = 1 << 20, .files = 100};
	struct outcome outcome = {0};
	json_t *tree = NULL;
	bool damaged = false;
	if (store_put(root_fd, MIRROR, commit, repository, &limits, &tree, &damaged, &outcome) < 0)
		fail_msg("%s", outcome.message);
	return tree;
}

static bool is_found(void) {
	AUTO_JSON json_t *found = store_find(root_fd, MIRROR, commit);
	return found != NULL;
}

static void a_tree_that_was_written_is_found_again(void **state) {
	(void)state;
	AUTO_JSON json_t *tree = put();
	AUTO_JSON json_t *found = store_find(root_fd, MIRROR, commit);
	assert_true(json_equal(tree, found));
	assert_int_equal(strlen(json_text(found, "seal")), DIGEST_TEXT - 1);
}

static void a_tree_that_is_not_what_it_was_is_not_used_and_is_written_anew(void **state) {
	(void)state;
	static const char *const changes[] = {"echo two >file", "printf x >>a/b/deep", "chmod +x file", "chmod -x main.sh",
		"rm empty", "rm -r a/b", "ln -sfn empty link", "rm link; cp file link", "touch more", "mkdir -p a/more",
		"mv file elif", "chmod u+s main.sh", "mkfifo pipe", "echo one >f; mv f file; chmod 600 file"};
	for (size_t i = 0; i < COUNT_OF(changes); i++) {
		json_decref(put());
		assert_true(is_found());
		AUTO_FREE char *line = mem_format("cd \"$1\"/trees/" MIRROR "/%s; %s", commit, changes[i]);
		shell(line);
		if (is_found()) fail_msg("found although changed: %s", changes[i]);
		json_decref(put());
		assert_true(is_found());
	}
}

static void a_seal_is_of_the_content_and_not_of_time_and_place(void **state) {
	(void)state;
	char one[DIGEST_TEXT], other[DIGEST_TEXT];
	json_decref(put());
	AUTO_FREE char *line =
		mem_format("cd \"$1\"; cp -a trees/" MIRROR "/%s copy; touch copy/file; chown $(id -u) copy/file", commit);
	shell(line);
	AUTO_FREE char *tree = mem_format("trees/" MIRROR "/%s", commit);
	assert_int_equal(seal_tree(root_fd, tree, one) | seal_tree(root_fd, "copy", other), 0);
	assert_string_equal(one, other);
	assert_int_equal(seal_tree(root_fd, "nowhere", one), -1);
	assert_int_equal(errno, ENOENT);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_that_was_written_is_found_again),
		cmocka_unit_test(a_tree_that_is_not_what_it_was_is_not_used_and_is_written_anew),
		cmocka_unit_test(a_seal_is_of_the_content_and_not_of_time_and_place),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
