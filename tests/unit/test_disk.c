// Whether there is room for another job. What fills and empties is a small tmpfs in a mount namespace of the test's own.
#include "lib/log.h"
#include "lib/mem.h"
#include "tests/unit/loop_rig.h"
#include "worker/disk.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#define MIB (INT64_C(1) << 20)

struct seen {
	int changes;
	bool full;
};

static void changed(bool full, void *arg) {
	struct seen *seen = arg;
	seen->changes++;
	seen->full = full;
	stop(NULL);
}

static void a_disk_with_room_is_not_full_and_nobody_is_told(void **state UNUSED) {
	struct seen seen = {0};
	struct disk *disk = disk_watch(loop, "/", 1, changed, &seen);
	assert_false(disk_full(disk));
	assert_int_equal(seen.changes, 0);
	disk_close(disk);
}

static void more_wanted_than_the_disk_has_is_full_at_once(void **state UNUSED) {
	struct seen seen = {0};
	struct disk *disk = disk_watch(loop, "/", INT64_MAX, changed, &seen);
	assert_true(disk_full(disk));
	assert_int_equal(seen.changes, 1);
	assert_true(seen.full);
	disk_close(disk);
}

static void a_disk_that_cannot_be_looked_at_says_nothing_new(void **state UNUSED) {
	struct seen seen = {0};
	struct disk *disk = disk_watch(loop, "/nowhere/at/all", 1, changed, &seen);
	assert_false(disk_full(disk));
	assert_int_equal(seen.changes, 0);
	disk_close(disk);
	disk_close(NULL);
}

static void write_file(const char *path, int64_t bytes) {
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, bytes), 0);
	close(fd);
}

static void a_disk_that_fills_and_empties_is_told_both_times(void **state UNUSED) {
	char dir[] = "/tmp/trabajos-unit-XXXXXX";
	assert_non_null(mkdtemp(dir));
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=8m,nr_inodes=8k") < 0) {
		rmdir(dir);
		skip();
	}
	AUTO_FREE char *file = mem_format("%s/file", dir);
	struct seen seen = {0};
	struct disk *disk = disk_watch(loop, dir, 4 * MIB, changed, &seen);
	assert_false(disk_full(disk));
	write_file(file, 6 * MIB);
	loop_run(loop);
	assert_true(seen.full);
	assert_true(disk_full(disk));
	assert_int_equal(unlink(file), 0);
	loop_run(loop);
	assert_false(seen.full);
	assert_int_equal(seen.changes, 2);
	disk_close(disk);

	// Few files left are as bad as little room.
	assert_int_equal(mount(NULL, dir, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, "size=8m,nr_inodes=900"), 0);
	disk = disk_watch(loop, dir, 4 * MIB, changed, &seen);
	assert_true(disk_full(disk));
	disk_close(disk);
	assert_int_equal(umount(dir), 0);
	rmdir(dir);
}

int main(void) {
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_disk_with_room_is_not_full_and_nobody_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(more_wanted_than_the_disk_has_is_full_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_disk_that_cannot_be_looked_at_says_nothing_new, setup, teardown),
		cmocka_unit_test_setup_teardown(a_disk_that_fills_and_empties_is_told_both_times, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
