// The copy of a tree at level none, on a file system whose files can share their blocks: one of the test's own in a file, which
// only root can mount.
#include "tests/unit/sandbox_rig.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#define LARGE_MB 32

static int run_tool(const char *line) {
	const char *const argv[] = {"/bin/sh", "-c", line, NULL};
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = {path, NULL};
	pid_t pid;
	int status = -1;
	if (posix_spawn(&pid, "/bin/sh", NULL, NULL, (char *const *)(uintptr_t)argv, env) != 0) return -1;
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static void not_offered(const char *what) {
	print_message("not offered here: reflinks: %s\n", what);
	skip();
}

// WORKER_DIR is on it. The mount is this process's own, and ends with it.
static void open_on_btrfs(struct rig *rig) {
	rig_make_folder(rig);
	AUTO_FREE char *make =
		mem_format("truncate -s 256M %s.btrfs && mkfs.btrfs -q %s.btrfs >/dev/null 2>&1", rig->dir, rig->dir);
	AUTO_FREE char *mount_it = mem_format("mount -t btrfs -o loop %s.btrfs %s", rig->dir, rig->dir);
	AUTO_FREE char *image = mem_format("%s.btrfs", rig->dir);
	bool made = run_tool(make) == 0, mounted = made && run_tool(mount_it) == 0;
	(void)unlink(image);
	if (!mounted) {
		rig_remove(rig->dir);
		not_offered(made ? "no btrfs can be mounted from a file" : "mkfs.btrfs (Debian's btrfs-progs) cannot be had");
	}
	assert_int_equal(chmod(rig->dir, 0711) | mkdir(rig->tree, 0755), 0);
	rig_open_sandbox(rig, SANDBOX_NONE);
	rig_force(rig, SANDBOX_NONE);
}

static void write_large(const struct rig *rig) {
	static char block[1 << 20];
	AUTO_FREE char *path = mem_format("%s/large", rig->tree);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	for (int i = 0; i < LARGE_MB; i++) {
		memset(block, i + 1, sizeof(block));
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	}
	assert_int_equal(fsync(fd), 0);
}

static int64_t free_bytes(const struct rig *rig) {
	struct statvfs space;
	AUTO_CLOSE int fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(syncfs(fd), 0);
	assert_int_equal(statvfs(rig->dir, &space), 0);
	return (int64_t)space.f_bavail * (int64_t)space.f_frsize;
}

static void a_copy_shares_its_blocks_with_the_tree_until_it_is_changed(void **state) {
	(void)state;
	struct rig rig;
	if (geteuid() != 0) not_offered("only root can mount");
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		not_offered("no mounts of its own");
	open_on_btrfs(&rig);
	write_large(&rig);
	int64_t before = free_bytes(&rig);
	// The job counts what is left while its copy is there, and then again when it has changed a quarter of it.
	static const char *const argv[] = {"/bin/sh", "-c",
		"left() { sync -f .; df --output=avail -B1 . | tail -1; }; left; "
		"dd if=/dev/zero of=large bs=1M count=8 conv=notrunc 2>/dev/null; left; stat -c %s large",
		NULL};
	AUTO_RESULT struct rig_result result;
	rig_run_job(&rig, &(struct rig_job){.argv = argv}, &result);
	long long shared = 0, changed = 0, size = 0;
	int read_all = sscanf(result.out, "%lld\n%lld\n%lld", &shared, &changed, &size);
	AUTO_FREE char *compare = mem_format("head -c 1 %s/large | grep -q \"$(printf '\\001')\"", rig.tree);
	int untouched = run_tool(compare);
	sandbox_close(rig.sandbox);
	loop_free(rig.loop);
	assert_int_equal(umount2(rig.dir, 0), 0);
	rig_remove(rig.dir);
	print_message("left: %lld, with the copy %lld, changed %lld\n", (long long)before, shared, changed);
	if (read_all != 3) fail_msg("%s%s", result.out, result.err);
	assert_int_equal(size, LARGE_MB * RIG_MB);
	assert_true(before - shared < LARGE_MB / 4 * RIG_MB);
	assert_true(shared - changed >= LARGE_MB / 8 * RIG_MB);
	assert_int_equal(untouched, 0);
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1) return 99;
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_copy_shares_its_blocks_with_the_tree_until_it_is_changed)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
