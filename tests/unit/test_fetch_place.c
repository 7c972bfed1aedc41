// The fetch's folders and its program, where the child has a uid of its own.
#include "lib/mem.h"
#include "tests/unit/scratch_db.h"
#include "worker/fetch_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static char dir[] = "/tmp/trabajos-unit-XXXXXX";
static const char *const template = "/tmp/trabajos-unit-XXXXXX";

static int make(void **state UNUSED) {
	memcpy(dir, template, sizeof(dir));
	return mkdtemp(dir) ? 0 : -1;
}

static int drop(void **state UNUSED) {
	return nftw(dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void refused(const struct fetch_config *config, const char *words) {
	AUTO_ERROR struct error error = {0};
	int fd;
	assert_int_equal(fetch_place_open(config, &fd, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	if (!strstr(error_text(&error), words)) fail_msg("%s: \"%s\" is not in it", error_text(&error), words);
}

static void the_folders_are_made_for_whom_they_are(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *deep = mem_format("%s/a/b", dir), *mirrors = mem_format("%s/mirrors", deep);
	AUTO_FREE char *trees = mem_format("%s/trees", deep);
	const struct fetch_config config = {.dir = deep, .uid = (uid_t)-1};
	struct stat status;
	for (int again = 0; again < 2; again++) {
		int fd;
		assert_int_equal(fetch_place_open(&config, &fd, &error), 0);
		close(fd);
		assert_int_equal(stat(mirrors, &status), 0);
		assert_int_equal(status.st_mode & 0777, 0700);
		assert_int_equal(stat(trees, &status), 0);
		assert_int_equal(status.st_mode & 0777, 0750);
	}
}

static void a_place_that_cannot_be_used_is_named(void **state UNUSED) {
	AUTO_FREE char *file = mem_format("%s/file", dir), *below = mem_format("%s/file/below", dir);
	AUTO_FREE char *mirrors = mem_format("%s/mirrors", dir);
	close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	refused(&(struct fetch_config){.dir = below, .uid = (uid_t)-1}, "WORKER_DIR: ");
	refused(&(struct fetch_config){.dir = file, .uid = (uid_t)-1}, file);
	// Nobody's link leads elsewhere.
	assert_int_equal(symlink("/tmp", mirrors), 0);
	refused(&(struct fetch_config){.dir = dir, .uid = (uid_t)-1}, "mirrors");
}

static void a_program_that_the_child_may_not_execute_is_copied_into_memory(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *program = mem_format("%s/program", dir);
	static const char text[] = "#!/bin/sh\nexit 7\n";
	int fd = open(program, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	struct stat own, other;
	assert_int_equal(stat(program, &own), 0);

	assert_int_equal(fetch_place_program(&(struct fetch_config){.program = program, .uid = (uid_t)-1}, &fd, &error), 0);
	assert_int_equal(fstat(fd, &other), 0);
	assert_int_equal(own.st_ino, other.st_ino);
	close(fd);

	assert_int_equal(fetch_place_program(&(struct fetch_config){.program = program, .uid = 65534}, &fd, &error), 0);
	assert_int_equal(fstat(fd, &other), 0);
	assert_true(own.st_dev != other.st_dev || own.st_ino != other.st_ino);
	assert_int_equal(other.st_mode & 0777, 0555);
	char copied[sizeof(text)] = "";
	assert_int_equal(pread(fd, copied, sizeof(copied), 0), sizeof(text) - 1);
	assert_string_equal(copied, text);
	assert_int_equal(write(fd, "x", 1), -1);
	close(fd);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_folders_are_made_for_whom_they_are, make, drop),
		cmocka_unit_test_setup_teardown(a_place_that_cannot_be_used_is_named, make, drop),
		cmocka_unit_test_setup_teardown(a_program_that_the_child_may_not_execute_is_copied_into_memory, make, drop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
