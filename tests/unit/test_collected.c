// What is taken from a box that sends its job's artifacts, and what is not believed.
#include "lib/attr.h"
#include "worker/collected.h"
#include "worker/init/spec.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define HELLO "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03" // of "hello\n"

struct rig {
	int frames, file;
	struct collected collected;
};

static int open_rig(void **state) {
	static struct rig rig;
	rig = (struct rig){.frames = memfd_create("frames", MFD_CLOEXEC), .file = memfd_create("file", MFD_CLOEXEC)};
	*state = &rig;
	return 0;
}

static int close_rig(void **state) {
	struct rig *rig = *state;
	collected_clear(&rig->collected);
	close(rig->frames);
	close(rig->file);
	return 0;
}

static void frame(struct rig *rig, uint32_t kind, int64_t number, const char *payload, size_t length) {
	const struct collect_head head = {.kind = kind, .length = (uint32_t)length, .number = number};
	assert_int_equal(write(rig->frames, &head, sizeof(head)), sizeof(head));
	assert_int_equal(write(rig->frames, payload, length), length);
}

#define FRAME(rig, kind, number, text) frame(rig, kind, number, text, strlen(text))

static void read_frames(struct rig *rig) {
	const struct collected_limits limits = {.bytes = 100, .files = 4};
	lseek(rig->frames, 0, SEEK_SET);
	collected_read(rig->frames, rig->file, &limits, &rig->collected);
}

static const char *reason(const struct rig *rig, size_t i) {
	return json_text(json_array_get(rig->collected.left_paths, i), "reason");
}

static void files_come_with_their_content_and_other_names(void **state) {
	struct rig *rig = *state;
	FRAME(rig, COLLECT_FILE, 6, "a/hello");
	FRAME(rig, COLLECT_DATA, 0, "hel");
	FRAME(rig, COLLECT_DATA, 0, "lo\n");
	FRAME(rig, COLLECT_FILE, 0, "empty");
	FRAME(rig, COLLECT_SAME, 0, "twin");
	FRAME(rig, COLLECT_LEFT, COLLECT_NO_FILE, "pipe");
	FRAME(rig, COLLECT_END, 1, "");
	read_frames(rig);
	const struct collected *collected = &rig->collected;
	assert_true(collected->complete);
	assert_null(collected->fault);
	assert_int_equal(collected->count, 3);
	assert_int_equal(collected->bytes, 6);
	assert_int_equal(collected->left, 1);
	assert_string_equal(collected->files[0].sha256, HELLO);
	assert_string_equal(collected->files[2].path, "twin");
	assert_string_equal(collected->files[2].sha256, HELLO);
	assert_int_equal(collected->files[2].size, 6);
	char text[7] = "";
	assert_int_equal(pread(rig->file, text, 6, collected->files[2].offset), 6);
	assert_string_equal(text, "hello\n");
	assert_string_equal(reason(rig, 0), "no regular file");
}

static void a_file_that_is_not_whole_is_none(void **state) {
	struct rig *rig = *state;
	FRAME(rig, COLLECT_FILE, 6, "broken");
	FRAME(rig, COLLECT_DATA, 0, "hel");
	FRAME(rig, COLLECT_LEFT, COLLECT_UNREADABLE, "broken");
	FRAME(rig, COLLECT_FILE, 6, "whole");
	FRAME(rig, COLLECT_DATA, 0, "hello\n");
	FRAME(rig, COLLECT_FILE, 6, "cut off");
	FRAME(rig, COLLECT_DATA, 0, "h");
	read_frames(rig);
	assert_false(rig->collected.complete);
	assert_int_equal(rig->collected.count, 1);
	assert_string_equal(rig->collected.files[0].path, "whole");
	assert_string_equal(rig->collected.files[0].sha256, HELLO);
}

static void names_that_cannot_be_shown_are_left_out(void **state) {
	static const char *const names[] = {"a\nb", "no\xff", "a//b", "../x", "a/./b", "/etc/passwd", "a/", ""};
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct rig *rig = *state;
		FRAME(rig, COLLECT_FILE, 6, names[i]);
		FRAME(rig, COLLECT_DATA, 0, "hello\n");
		FRAME(rig, COLLECT_SAME, 0, "twin");
		FRAME(rig, COLLECT_END, 0, "");
		read_frames(rig);
		assert_true(rig->collected.complete);
		assert_int_equal(rig->collected.count, 0);
		assert_int_equal(rig->collected.left, 2);
		assert_non_null(strstr(reason(rig, 0), "UTF-8"));
		close_rig(state);
		open_rig(state);
	}
}

static void what_no_box_would_send_ends_it(void **state) {
	static const struct {
		uint32_t kind;
		int64_t number;
		const char *payload;
	} bad[] = {{COLLECT_DATA, 0, "nothing was announced"}, {COLLECT_FILE, 101, "too large"}, {COLLECT_FILE, -1, "negative"},
		{COLLECT_SAME, 0, "as none"}, {COLLECT_SAME, -1, "as none"}, {COLLECT_LEFT, COLLECT_REASONS, "why"},
		{COLLECT_LEFT, -1, "why"}, {COLLECT_END, -1, ""}, {77, 0, "what"}, {0, 0, ""}};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct rig *rig = *state;
		FRAME(rig, bad[i].kind, bad[i].number, bad[i].payload);
		FRAME(rig, COLLECT_FILE, 0, "after it");
		FRAME(rig, COLLECT_END, 0, "");
		read_frames(rig);
		assert_false(rig->collected.complete);
		assert_non_null(rig->collected.fault);
		assert_int_equal(rig->collected.count, 0);
		close_rig(state);
		open_rig(state);
	}
}

static void more_than_was_announced_or_allowed_is_not_taken(void **state) {
	struct rig *rig = *state;
	FRAME(rig, COLLECT_FILE, 2, "two");
	FRAME(rig, COLLECT_DATA, 0, "three");
	read_frames(rig);
	assert_non_null(rig->collected.fault);
	assert_int_equal(rig->collected.count, 0);
	close_rig(state);
	open_rig(state);
	rig = *state;
	for (int i = 0; i < 5; i++) FRAME(rig, COLLECT_FILE, 0, "one of five");
	read_frames(rig);
	assert_non_null(strstr(rig->collected.fault, "too many"));
	assert_int_equal(rig->collected.count, 4);
}

static void a_frame_that_is_longer_than_any_is_not_read(void **state) {
	struct rig *rig = *state;
	const struct collect_head head = {.kind = COLLECT_DATA, .length = UINT32_MAX};
	assert_int_equal(write(rig->frames, &head, sizeof(head)), sizeof(head));
	read_frames(rig);
	assert_non_null(rig->collected.fault);
}

int main(void) {
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, open_rig, close_rig)
	const struct CMUnitTest tests[] = {
		WITH_RIG(files_come_with_their_content_and_other_names),
		WITH_RIG(a_file_that_is_not_whole_is_none),
		WITH_RIG(names_that_cannot_be_shown_are_left_out),
		WITH_RIG(what_no_box_would_send_ends_it),
		WITH_RIG(more_than_was_announced_or_allowed_is_not_taken),
		WITH_RIG(a_frame_that_is_longer_than_any_is_not_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
