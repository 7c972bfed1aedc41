#include "worker/collected.h"

#include "lib/mem.h"
#include "worker/init/spec.h"

#include <errno.h>
#include <string.h>

#define LEFT_SHOWN 20

struct reader {
	int pipe, file;
	const struct collected_limits *limits;
	struct collected *collected;
	// the file that is coming
	struct digest *digest; // NULL: none
	int64_t missing;
	bool unwanted; // its name cannot be shown
	int64_t order; // how many came, unwanted ones too
	int64_t *kept; // by order: which of `files` it is; -1: none
	char payload[COLLECT_DATA_MOST];
};

static const char *const reasons[COLLECT_REASONS] = {
	[COLLECT_TOO_LARGE] = "too large: ARTIFACTS_MB",
	[COLLECT_TOO_MANY] = "too many: ARTIFACTS_FILES",
	[COLLECT_UNREADABLE] = "cannot be read",
	[COLLECT_NO_FILE] = "no regular file",
	[COLLECT_BAD_NAME] = "its name is no UTF-8, or has control characters",
	[COLLECT_TOO_DEEP] = "too deep, or its path too long",
	[COLLECT_UNSEEN] = "too many names to look at all",
};

static int fail(struct reader *reader, const char *why) {
	free(reader->collected->fault);
	reader->collected->fault = mem_strdup(why);
	return -1;
}

// 1: all of it; 0: the end came before the first byte; -1: in between.
static int read_all(int fd, void *data, size_t length) {
	for (size_t done = 0; done < length;) {
		ssize_t part = read(fd, (char *)data + done, length - done);
		if (part < 0 && errno == EINTR) continue;
		if (part <= 0) return done == 0 && part == 0 ? 0 : -1;
		done += (size_t)part;
	}
	return 1;
}

// ---- names

static bool can_be_shown(const char *path, size_t length) {
	if (length == 0 || length > COLLECT_PATH_MOST || path[0] == '/' || path[length - 1] == '/') return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)path[i] < ' ' || path[i] == 0x7f) return false;
	for (size_t at = 0; at < length;) {
		const char *slash = memchr(path + at, '/', length - at);
		size_t size = slash ? (size_t)(slash - path) - at : length - at;
		if (size == 0 || (size == 1 && path[at] == '.') || (size == 2 && path[at] == '.' && path[at + 1] == '.'))
			return false;
		at += size + 1;
	}
	AUTO_JSON json_t *utf8 = json_stringn(path, length);
	return utf8 != NULL;
}

static void leave_out(struct reader *reader, const char *path, size_t length, enum collect_reason reason) {
	json_t *shown = reader->collected->left_paths;
	if (json_array_size(shown) >= LEFT_SHOWN) return;
	AUTO_FREE char *text = mem_zalloc(length + 1);
	bool as_it_is = can_be_shown(path, length);
	for (size_t i = 0; i < length; i++) text[i] = as_it_is || (path[i] >= ' ' && path[i] < 0x7f) ? path[i] : '?';
	json_array_append_new(shown, json_pack("{s:s, s:s}", "path", text, "reason", reasons[reason]));
}

// ---- frames

static void end_file(struct reader *reader, bool whole) {
	struct collected *collected = reader->collected;
	struct collected_file *file = reader->unwanted ? NULL : &collected->files[collected->count - 1];
	digest_end(STEAL(reader->digest), file && whole ? file->sha256 : NULL);
	if (whole || !file) return;
	collected->bytes = file->offset;
	free(file->path);
	collected->count--;
	reader->kept[reader->order - 1] = -1;
}

static struct collected_file *add_file(struct reader *reader, size_t length, int64_t size) {
	struct collected *collected = reader->collected;
	reader->unwanted = !can_be_shown(reader->payload, length);
	reader->kept[reader->order++] = reader->unwanted ? -1 : (int64_t)collected->count;
	if (reader->unwanted) {
		leave_out(reader, reader->payload, length, COLLECT_BAD_NAME);
		collected->left++;
		return NULL;
	}
	if (collected->count == collected->room) {
		collected->room = 2 * collected->room + 8;
		collected->files = mem_resize(collected->files, collected->room, sizeof(*collected->files));
	}
	struct collected_file *file = &collected->files[collected->count++];
	*file = (struct collected_file){.path = mem_strndup(reader->payload, length), .size = size, .offset = collected->bytes};
	return file;
}

static int new_file(struct reader *reader, const struct collect_head *head) {
	if (reader->order >= reader->limits->files) return fail(reader, "the box sends too many files");
	if (head->number < 0 || head->number > reader->limits->bytes - reader->collected->bytes)
		return fail(reader, "the box sends too much");
	(void)add_file(reader, head->length, head->number);
	reader->digest = digest_new();
	reader->missing = head->number;
	if (reader->missing == 0) end_file(reader, true);
	return 0;
}

static int same_file(struct reader *reader, const struct collect_head *head) {
	if (reader->order >= reader->limits->files) return fail(reader, "the box sends too many files");
	if (head->number < 0 || head->number >= reader->order) return fail(reader, "the box names a file that it did not send");
	int64_t which = reader->kept[head->number];
	// Of a file whose first name cannot be shown, nothing was kept.
	if (which < 0) {
		reader->order++;
		reader->kept[reader->order - 1] = -1;
		leave_out(reader, reader->payload, head->length, COLLECT_BAD_NAME);
		reader->collected->left++;
		return 0;
	}
	struct collected_file *file = add_file(reader, head->length, 0);
	if (!file) return 0;
	const struct collected_file *first = &reader->collected->files[which];
	file->size = first->size;
	file->offset = first->offset;
	memcpy(file->sha256, first->sha256, sizeof(file->sha256));
	return 0;
}

static int data(struct reader *reader, const struct collect_head *head) {
	if (!reader->digest || head->length == 0 || head->length > reader->missing)
		return fail(reader, "the box sends more than it said");
	digest_add(reader->digest, reader->payload, head->length);
	for (size_t done = 0; done < head->length && !reader->unwanted;) {
		ssize_t part = pwrite(
			reader->file, reader->payload + done, head->length - done, reader->collected->bytes + (int64_t)done);
		if (part < 0 && errno == EINTR) continue;
		if (part <= 0) return fail(reader, "WORKER_DIR cannot be written to");
		done += (size_t)part;
	}
	if (!reader->unwanted) reader->collected->bytes += head->length;
	reader->missing -= head->length;
	if (reader->missing == 0) end_file(reader, true);
	return 0;
}

// 1: that was the last.
static int take_frame(struct reader *reader, const struct collect_head *head) {
	if (reader->digest && head->kind != COLLECT_DATA) {
		if (head->kind != COLLECT_LEFT) return fail(reader, "the box sends less than it said");
		end_file(reader, false);
	}
	switch (head->kind) {
	case COLLECT_FILE:
		return new_file(reader, head);
	case COLLECT_SAME:
		return same_file(reader, head);
	case COLLECT_DATA:
		return data(reader, head);
	case COLLECT_LEFT:
		if (head->number < 0 || head->number >= COLLECT_REASONS) return fail(reader, "the box gives no reason");
		leave_out(reader, reader->payload, head->length, (enum collect_reason)head->number);
		return 0;
	case COLLECT_END:
		if (head->number < 0 || head->number > INT32_MAX) return fail(reader, "the box does not count");
		reader->collected->left += head->number;
		reader->collected->complete = true;
		return 1;
	default:
		return fail(reader, "the box sends what is no frame");
	}
}

void collected_read(int pipe, int file, const struct collected_limits *limits, struct collected *collected) {
	struct reader *reader = mem_zalloc(sizeof(*reader));
	*collected = (struct collected){.left_paths = json_array()};
	reader->pipe = pipe;
	reader->file = file;
	reader->limits = limits;
	reader->collected = collected;
	reader->kept = mem_zalloc_array((size_t)limits->files + 1, sizeof(*reader->kept));
	struct collect_head head;
	while (read_all(pipe, &head, sizeof(head)) == 1) {
		if (head.length > sizeof(reader->payload)) {
			(void)fail(reader, "the box sends what is no frame");
			break;
		}
		if (head.length > 0 && read_all(pipe, reader->payload, head.length) != 1) break;
		if (take_frame(reader, &head) != 0) break;
	}
	if (reader->digest) end_file(reader, false);
	free(reader->kept);
	free(reader);
}

void collected_clear(struct collected *collected) {
	for (size_t i = 0; i < collected->count; i++) free(collected->files[i].path);
	free(collected->files);
	free(collected->fault);
	json_decref(collected->left_paths);
	*collected = (struct collected){0};
}
