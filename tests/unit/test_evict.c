#include "lib/mem.h"
#include "worker/fetch/evict.h"
#include "worker/fetch/folder.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

struct rig {
	char *dir;
	int fd;
};

static int up(void **state) {
	struct rig *rig = mem_zalloc(sizeof *rig);
	rig->dir = mem_strdup("/tmp/test_evict.XXXXXX");
	if (!mkdtemp(rig->dir)) return -1;
	rig->fd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = rig;
	return folder_make(rig->fd, "trees") < 0 || folder_make(rig->fd, "mirrors") < 0 || folder_make(rig->fd, "trees/m") < 0
		       ? -1
		       : 0;
}

static int down(void **state) {
	struct rig *rig = *state;
	AUTO_CLOSE int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int done = folder_remove(tmp, strrchr(rig->dir, '/') + 1);
	close(rig->fd);
	free(rig->dir);
	free(rig);
	return done;
}

static void put(const struct rig *rig, const char *name, const char *text, int age_s) {
	AUTO_CLOSE int fd = openat(rig->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const struct timespec times[2] = {{.tv_sec = time(NULL) - age_s}, {.tv_sec = time(NULL) - age_s}};
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(futimens(fd, times), 0);
}

static void put_tree(const struct rig *rig, const char *name, int bytes, int age_s) {
	AUTO_FREE char *folder = mem_format("trees/m/%s", name);
	AUTO_FREE char *inner = mem_format("trees/m/%s/sub", name);
	AUTO_FREE char *json = mem_format("trees/m/%s.json", name);
	AUTO_FREE char *text = mem_format("{\"bytes\":%d}", bytes);
	assert_int_equal(folder_make(rig->fd, folder), 0);
	assert_int_equal(folder_make(rig->fd, inner), 0);
	put(rig, json, text, age_s);
}

static void put_mirror(const struct rig *rig, const char *id, int age_s) {
	AUTO_FREE char *folder = mem_format("mirrors/%s.git", id);
	AUTO_FREE char *pack = mem_format("mirrors/%s.git/pack", id);
	AUTO_FREE char *lock = mem_format("mirrors/%s.lock", id);
	assert_int_equal(folder_make(rig->fd, folder), 0);
	put(rig, pack, "0123456789", age_s);
	put(rig, lock, "", age_s);
}

static bool is_there(const struct rig *rig, const char *name) {
	struct stat status;
	return fstatat(rig->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

// How many names the answer has; the bytes that are left.
static size_t evict(const struct rig *rig, int64_t keep_bytes, const char *in_use, int64_t *bytes) {
	AUTO_JSON json_t *names = in_use ? json_pack("[s]", in_use) : json_array();
	const struct order order = {.op = ORDER_EVICT, .dir = rig->dir, .keep_bytes = keep_bytes, .in_use = names};
	AUTO_JSON json_t *answer = NULL;
	assert_int_equal(evict_run(&order, rig->fd, &answer, NULL), 0);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	if (bytes) *bytes = json_integer_value(json_object_get(answer, "bytes"));
	return json_array_size(json_object_get(answer, "removed"));
}

static void the_least_recently_used_trees_go_first(void **state) {
	struct rig *rig = *state;
	int64_t bytes;
	put_tree(rig, "a", 1000, 300);
	put_tree(rig, "b", 1000, 500);
	put_tree(rig, "c", 1000, 400);
	assert_int_equal(evict(rig, 1500, NULL, &bytes), 2);
	assert_int_equal(bytes, 1000);
	assert_true(is_there(rig, "trees/m/a") && is_there(rig, "trees/m/a.json"));
	assert_false(is_there(rig, "trees/m/b") || is_there(rig, "trees/m/b.json"));
	assert_false(is_there(rig, "trees/m/c"));
}

static void nothing_goes_while_there_is_room(void **state) {
	struct rig *rig = *state;
	put_tree(rig, "a", 1000, 300);
	put_mirror(rig, "x", 300);
	assert_int_equal(evict(rig, 1 << 20, NULL, NULL), 0);
	assert_true(is_there(rig, "trees/m/a") && is_there(rig, "mirrors/x.git"));
}

static void trees_in_use_locked_or_just_used_stay(void **state) {
	struct rig *rig = *state;
	put_tree(rig, "named", 1000, 300);
	put_tree(rig, "locked", 1000, 300);
	put_tree(rig, "fresh", 1000, 5);
	put_tree(rig, "idle", 1000, 300);
	AUTO_CLOSE int job = folder_open(rig->fd, "trees/m/locked");
	assert_int_equal(flock(job, LOCK_SH), 0);
	assert_int_equal(evict(rig, 0, "trees/m/named", NULL), 1);
	assert_true(is_there(rig, "trees/m/named.json") && is_there(rig, "trees/m/locked.json") &&
		    is_there(rig, "trees/m/fresh.json"));
	assert_false(is_there(rig, "trees/m/idle"));
}

static void mirrors_go_after_the_trees(void **state) {
	struct rig *rig = *state;
	put_tree(rig, "a", 100000, 300);
	put_mirror(rig, "old", 900);
	evict(rig, 50000, NULL, NULL);
	assert_false(is_there(rig, "trees/m/a"));
	assert_true(is_there(rig, "mirrors/old.git"));
	evict(rig, 0, NULL, NULL);
	assert_false(is_there(rig, "mirrors/old.git") || is_there(rig, "mirrors/old.lock"));
}

static void a_mirror_that_is_being_fetched_stays(void **state) {
	struct rig *rig = *state;
	put_mirror(rig, "busy", 900);
	AUTO_CLOSE int lock = folder_lock(rig->fd, "mirrors/busy.lock", 0);
	assert_true(lock >= 0);
	evict(rig, 0, NULL, NULL);
	assert_true(is_there(rig, "mirrors/busy.git"));
}

static void a_lock_whose_file_was_removed_is_not_taken_for_one(void **state) {
	struct rig *rig = *state;
	AUTO_CLOSE int first = folder_lock(rig->fd, "mirrors/x.lock", 0);
	assert_true(first >= 0);
	assert_int_equal(folder_lock(rig->fd, "mirrors/x.lock", 50), -1);
	assert_int_equal(unlinkat(rig->fd, "mirrors/x.lock", 0), 0);
	AUTO_CLOSE int second = folder_lock(rig->fd, "mirrors/x.lock", 0);
	assert_true(second >= 0);
	assert_int_equal(folder_lock(rig->fd, "mirrors/x.lock", 0), -1);
}

static void links_are_removed_and_not_followed(void **state) {
	struct rig *rig = *state;
	put_tree(rig, "a", 1000, 300);
	assert_int_equal(folder_make(rig->fd, "outside"), 0);
	put(rig, "outside/precious", "x", 0);
	AUTO_FREE char *outside = mem_format("%s/outside", rig->dir);
	assert_int_equal(symlinkat(outside, rig->fd, "trees/m/a/sub/link"), 0);
	assert_int_equal(evict(rig, 0, NULL, NULL), 1);
	assert_true(is_there(rig, "outside/precious"));
}

static void a_broken_description_does_not_keep_its_tree(void **state) {
	struct rig *rig = *state;
	put_tree(rig, "a", 1000, 300);
	put(rig, "trees/m/a.json", "{\"bytes\":", 300);
	put_tree(rig, "b", 1000, 200);
	evict(rig, 500, NULL, NULL);
	assert_false(is_there(rig, "trees/m/a"));
	assert_false(is_there(rig, "trees/m/b"));
}

static void what_a_dead_process_has_left_goes_at_once_and_its_lock_with_it(void **state) {
	struct rig *rig = *state;
	int64_t bytes;
	static const char *const half[] = {
		"trees/m/c.tmp-7", "trees/m/c.tmp-7/deep", "trees/m/d.gone-7", "trees/m/undescribed"};
	for (size_t i = 0; i < COUNT_OF(half); i++) assert_int_equal(folder_make(rig->fd, half[i]), 0);
	put(rig, "trees/m/c.tmp-7/deep/file", "0123456789", 0);
	put(rig, "trees/m/c.tmp-7.json", "{", 0);
	put_tree(rig, "a", 1000, 300);
	assert_int_equal(evict(rig, 1 << 20, NULL, &bytes), 0);
	assert_int_equal(bytes, 1000);
	for (size_t i = 0; i < COUNT_OF(half); i++) assert_false(is_there(rig, half[i]));
	assert_false(is_there(rig, "trees/m/c.tmp-7.json") || is_there(rig, "mirrors/m.lock"));
	assert_true(is_there(rig, "trees/m/a") && is_there(rig, "trees/m/a.json"));
}

static void what_a_fetch_is_writing_stays_and_counts(void **state) {
	struct rig *rig = *state;
	int64_t bytes;
	put_mirror(rig, "m", 0);
	assert_int_equal(evict(rig, 1 << 20, NULL, &bytes), 0);
	int64_t without = bytes;
	assert_int_equal(folder_make(rig->fd, "trees/m/c.tmp-7") | folder_make(rig->fd, "trees/m/c.tmp-7/deep"), 0);
	put(rig, "trees/m/c.tmp-7/deep/file", "0123456789", 0);
	AUTO_CLOSE int lock = folder_lock(rig->fd, "mirrors/m.lock", 0);
	assert_true(lock >= 0);
	assert_int_equal(evict(rig, 1 << 20, NULL, &bytes), 0);
	assert_true(is_there(rig, "trees/m/c.tmp-7/deep/file"));
	assert_true(bytes > without);
	close(steal_fd(&lock));
	assert_int_equal(evict(rig, 1 << 20, NULL, &bytes), 0);
	assert_false(is_there(rig, "trees/m/c.tmp-7"));
	assert_true(is_there(rig, "mirrors/m.lock") && bytes == without);
}

int main(void) {
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, up, down)
	const struct CMUnitTest tests[] = {
		WITH_RIG(the_least_recently_used_trees_go_first),
		WITH_RIG(nothing_goes_while_there_is_room),
		WITH_RIG(trees_in_use_locked_or_just_used_stay),
		WITH_RIG(mirrors_go_after_the_trees),
		WITH_RIG(a_mirror_that_is_being_fetched_stays),
		WITH_RIG(a_lock_whose_file_was_removed_is_not_taken_for_one),
		WITH_RIG(links_are_removed_and_not_followed),
		WITH_RIG(a_broken_description_does_not_keep_its_tree),
		WITH_RIG(what_a_dead_process_has_left_goes_at_once_and_its_lock_with_it),
		WITH_RIG(what_a_fetch_is_writing_stays_and_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
