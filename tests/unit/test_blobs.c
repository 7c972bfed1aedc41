// Objects in a folder that workers and frontends share.
#include "lib/blobs.h"
#include "lib/mem.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SHA "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
#define ID  "0b9dd2f4-1c1e-4b7e-9f0e-6f3a2f1f9a11"

static const struct blobs_object object = {.sha256 = SHA, .id = ID};
static char empty[] = "";
static struct blobs_config config = {.s3_url = empty};

static int remove_one(const char *path, const struct stat *info UNUSED, int type UNUSED, struct FTW *place UNUSED) {
	return remove(path);
}

static int open_folder(void **state UNUSED) {
	char name[] = "/tmp/trabajos-unit-XXXXXX";
	config.dir = mem_strdup(mkdtemp(name));
	return config.dir ? 0 : -1;
}

static int close_folder(void **state UNUSED) {
	nftw(config.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(config.dir);
	return 0;
}

static int file_of(const char *text) {
	int fd = memfd_create("content", MFD_CLOEXEC);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void an_object_is_had_as_it_was_put_until_it_is_removed(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	AUTO_CLOSE int file = file_of("xxhello\nxx"), fd = -1;
	char text[10] = "";
	assert_int_equal(blobs_put(&config, &object, file, 2, 6, &error), 0);
	assert_int_equal(blobs_open(&config, &object, &fd, &error), 0);
	assert_int_equal(read(fd, text, sizeof(text)), 6);
	assert_string_equal(text, "hello\n");
	struct stat info;
	assert_int_equal(fstat(fd, &info), 0);
	assert_int_equal(info.st_mode & 07, 0);
	assert_int_equal(blobs_remove(&config, &object, &error), 0);
	assert_int_equal(blobs_remove(&config, &object, &error), 0);
	int gone;
	assert_int_equal(blobs_open(&config, &object, &gone, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAVAILABLE);
}

static void an_object_that_cannot_be_put_leaves_nothing(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	AUTO_CLOSE int file = file_of("short");
	assert_int_equal(blobs_put(&config, &object, file, 0, 100, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAVAILABLE);
	AUTO_FREE char *incoming = mem_format("%s/incoming/" ID, config.dir), *place = mem_format("%s/objects", config.dir);
	assert_int_equal(access(incoming, F_OK), -1);
	assert_int_equal(access(place, F_OK), -1);
}

static void names_that_are_none_of_ours_lead_nowhere(void **state UNUSED) {
	static const struct blobs_object bad[] = {
		{"../../../etc", ID}, {SHA, "../x"}, {"", ID}, {SHA, ""}, {SHA SHA, ID}, {SHA, "a/b"}};
	AUTO_CLOSE int file = file_of("x");
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_ERROR struct error error = {0};
		int fd;
		assert_int_equal(blobs_put(&config, &bad[i], file, 0, 1, &error), -1);
		assert_int_equal(blobs_open(&config, &bad[i], &fd, &error), -1);
		assert_int_equal(blobs_remove(&config, &bad[i], &error), -1);
		assert_int_equal(error.kind, ERROR_INTERNAL);
	}
}

static void a_folder_that_is_not_there_is_a_bad_option(void **state UNUSED) {
	static const char *const bad[] = {"relative", "/nonexistent/folder", "/etc/passwd"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_ERROR struct error error = {0};
		struct blobs_config wrong = {.dir = (char *)(uintptr_t)bad[i], .s3_url = empty};
		assert_int_equal(blobs_check(&wrong, &error), -1);
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_non_null(strstr(error_text(&error), "ARTIFACTS_DIR"));
	}
	AUTO_ERROR struct error error = {0};
	struct blobs_config ledger = {.dir = empty, .s3_url = empty};
	assert_int_equal(blobs_check(&ledger, &error), 0);
	assert_string_equal(blobs_place(&ledger), "ledger");
	assert_string_equal(blobs_place(&config), "folder");
}

int main(void) {
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, open_folder, close_folder)
	const struct CMUnitTest tests[] = {
		WITH_FOLDER(an_object_is_had_as_it_was_put_until_it_is_removed),
		WITH_FOLDER(an_object_that_cannot_be_put_leaves_nothing),
		WITH_FOLDER(names_that_are_none_of_ours_lead_nowhere),
		WITH_FOLDER(a_folder_that_is_not_there_is_a_bad_option),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
