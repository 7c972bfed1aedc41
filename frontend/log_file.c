// How long it is --> where the range begins --> page by page, each read when the client has taken the one before.
#include "frontend/log_file.h"

#include "frontend/api.h"
#include "frontend/follow.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>

#define TEXT_TYPE "text/plain; charset=utf-8"

struct log_file {
	const struct frontend *frontend;
	struct http_request *request; // NULL: the client has gone
	struct log_file_wish wish;
	int status;
	uint64_t from, left; // bytes
	struct log_place place;
	struct log_block *block;
	size_t chunk, taken;
	uint64_t skip; // of what is read next
	bool reading, failed, streaming;
};

static void file_free(struct log_file *file) {
	log_block_drop(file->block);
	free(file);
}

// ---- the stream

static void gone(void *arg) {
	struct log_file *file = arg;
	file->request = NULL;
	if (!file->reading) file_free(file);
}

static void page_came(const struct log_page *pages, enum db_status status, const struct error *error, void *arg) {
	struct log_file *file = arg;
	file->reading = false;
	if (!file->request) {
		file_free(file);
		return;
	}
	if (!pages) answer_complain(file->request, status, error);
	// Not there although it was counted: removed meanwhile. The client sees that it is not whole.
	file->failed = !pages || !pages[0].block;
	if (!file->failed) {
		file->block = log_block_hold(pages[0].block);
		file->place.seq = file->block->to_seq;
		file->chunk = file->taken = 0;
	}
	http_stream_wake(file->request);
}

static void read_page(struct log_file *file) {
	file->reading = true;
	log_read(follow_reads(file->frontend->follow), &file->place, 1, page_came, file);
}

// false: the block is at its end.
static bool take(struct log_file *file, char *buffer, size_t size, size_t *count) {
	const struct log_block *block = file->block;
	if (!block || file->chunk == block->count) return false;
	const struct log_chunk *chunk = &block->chunks[file->chunk];
	bool passed = file->wish.stream && file->wish.stream != chunk->stream;
	size_t left = passed ? 0 : chunk->length - file->taken;
	size_t skipped = file->skip < left ? (size_t)file->skip : left;
	file->skip -= skipped;
	file->taken += skipped;
	left -= skipped;
	if (left > file->left) left = (size_t)file->left;
	size_t part = left < size - *count ? left : size - *count;
	memcpy(buffer + *count, block->data + chunk->from + file->taken, part);
	*count += part;
	file->taken += part;
	file->left -= part;
	if (!passed && file->taken < chunk->length) return true;
	file->chunk++;
	file->taken = 0;
	return true;
}

static ssize_t more(char *buffer, size_t size, void *arg) {
	struct log_file *file = arg;
	size_t count = 0;
	while (count < size && file->left > 0 && take(file, buffer, size, &count)) continue;
	if (count > 0) return (ssize_t)count;
	if (file->failed) return -2;
	if (file->left == 0) return -1;
	if (!file->reading) {
		log_block_drop(STEAL(file->block));
		read_page(file);
	}
	return 0;
}

static void start(struct log_file *file) {
	http_stream_sized(file->request, file->status, TEXT_TYPE, file->left, more, gone, file);
}

// ---- before it

static void lost(void *arg) {
	struct log_file *file = arg;
	if (!file->streaming) file_free(file);
}

static void sought(struct http_request *request, const struct db_result *result, void *arg) {
	struct log_file *file = arg;
	if (!db_rows(result)) {
		api_no_job(request);
		return;
	}
	file->place.seq = db_get_int(result, 0, 0);
	file->skip = file->from - (uint64_t)db_get_int(result, 0, 1);
	file->streaming = true;
	start(file);
}

static void seek(struct log_file *file) {
	char attempt[24], stream[24], from[24];
	snprintf(attempt, sizeof attempt, "%" PRId64, file->wish.attempt);
	snprintf(stream, sizeof stream, "%d", file->wish.stream);
	snprintf(from, sizeof from, "%" PRIu64, file->from);
	const struct api_query query = {.statement = &log_read_seek,
		.params = {file->wish.key, attempt, stream, from},
		.count = 4,
		.answer = sought,
		.drop = lost,
		.arg = file};
	api_query(file->frontend, file->request, &query);
}

static void say_length(struct log_file *file, uint64_t size, int64_t dropped) {
	struct http_request *request = file->request;
	AUTO_FREE char *attempt = mem_format("%" PRId64, file->wish.attempt);
	http_answer_header(request, "Vary", "Accept");
	http_answer_header(request, "Trabajos-Attempt", attempt);
	file->left = size;
	file->status = 200;
	if (!file->wish.over) return;
	static const char *const streams[] = {"", ".out", ".err"};
	AUTO_FREE char *etag =
		mem_format("\"%" PRId64 ".%" PRIu64 "%s\"", file->wish.attempt, size, streams[file->wish.stream]);
	AUTO_FREE char *missing = dropped > 0 ? mem_format("%" PRId64, dropped) : NULL;
	if (missing) http_answer_header(request, "Trabajos-Log-Truncated", missing);
	http_answer_header(request, "Cache-Control", "private, no-cache");
	file->status = http_part(request, etag, size, &file->from, &file->left);
}

static void measured(struct http_request *request, const struct db_result *result, void *arg) {
	struct log_file *asked = arg, *file = mem_dup(asked, sizeof *asked);
	file->request = request;
	say_length(file, (uint64_t)db_get_int(result, 0, 0), db_get_int(result, 0, 1));
	if (!file->status)
		file_free(file);
	else if (file->from)
		seek(file);
	else
		start(file);
}

void log_file_answer(const struct frontend *frontend, struct http_request *request, const struct log_file_wish *wish) {
	struct log_file *file = mem_zalloc(sizeof *file);
	*file = (struct log_file){.frontend = frontend, .request = request, .wish = *wish};
	file->place.attempt = wish->attempt;
	memcpy(file->place.key, wish->key, UUID_TEXT);
	char attempt[24], stream[24];
	snprintf(attempt, sizeof attempt, "%" PRId64, wish->attempt);
	snprintf(stream, sizeof stream, "%d", wish->stream);
	const struct api_query query = {.statement = &log_read_size,
		.params = {wish->key, attempt, stream},
		.count = 3,
		.answer = measured,
		.drop = free,
		.arg = file};
	api_query(frontend, request, &query);
}
