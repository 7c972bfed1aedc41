#include "worker/artifacts_write.h"

#include "lib/lifecycle.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "worker/artifacts_type.h"

#include <errno.h>
#include <string.h>

#define CHUNK_BYTES    262144 // of the ledger; the frontend reads by the same
#define STORE_FOR_MS   60000
#define AGAIN_FIRST_MS 200
#define AGAIN_MOST_MS  10000

static const struct db_statement reserve_statement = {
	"artifacts_reserve", "SELECT id, there::int FROM blobs_reserve($1, $2::text[], $3::bigint[], $4, $5::bigint)"};
static const struct db_statement chunk_statement = {"artifacts_chunk",
	"INSERT INTO blob_chunks (blob, seq, data) VALUES ($1::uuid, $2::int, $3::bytea) ON CONFLICT DO NOTHING"};
static const struct db_statement keep_statement = {"artifacts_keep",
	"SELECT artifacts_keep($1::uuid, $2::int, $3, $4::text[], $5::bigint[], $6::text[], $7::uuid[])::int"};

// Different contents.
struct content {
	const struct collected_file *file;
	char *id; // NULL: no room
	bool there;
};

struct writer {
	struct artifacts_write *write;
	struct task *task;
	struct db *db; // NULL: not connected
	struct content *contents;
	size_t count;
	size_t *content_of; // by file
	unsigned tries;
	int64_t store_until_ms; // 0: it has not failed yet
};

// ---- the ledger, tried again while it is away

static bool pause_for(struct writer *writer) {
	int64_t delay_ms = lifecycle_backoff_ms(writer->tries++, AGAIN_FIRST_MS, AGAIN_MOST_MS);
	return task_pause(writer->task, delay_ms);
}

static enum db_status ask_once(struct writer *writer, const struct db_statement *statement, const struct db_params *params,
	struct db_result **result) {
	struct error *error = &writer->write->error;
	if (!writer->db && db_open(writer->write->db, error, &writer->db) != 0) return DB_UNAVAILABLE;
	enum db_status status = db_execute(writer->db, statement, params, result, error);
	if (status != DB_UNAVAILABLE) return status;
	db_close(writer->db);
	writer->db = NULL;
	return status;
}

// -1: error says why. Takes params over. All of the statements may be repeated.
static int ask(
	struct writer *writer, const struct db_statement *statement, struct db_params *params, struct db_result **result) {
	enum db_status status;
	while ((status = ask_once(writer, statement, params, result)) == DB_UNAVAILABLE || status == DB_RETRY)
		if (!pause_for(writer)) break;
	db_params_free(params);
	if (status != DB_OK) return error_wrap(&writer->write->error, "the ledger");
	error_clear(&writer->write->error);
	writer->tries = 0;
	return 0;
}

// ---- contents

static void find_contents(struct writer *writer) {
	const struct collected *collected = writer->write->collected;
	writer->contents = mem_zalloc_array(collected->count + 1, sizeof(*writer->contents));
	writer->content_of = mem_zalloc_array(collected->count + 1, sizeof(*writer->content_of));
	for (size_t i = 0; i < collected->count; i++) {
		size_t at = 0;
		while (at < writer->count && strcmp(writer->contents[at].file->sha256, collected->files[i].sha256) != 0) at++;
		if (at == writer->count) writer->contents[writer->count++].file = &collected->files[i];
		writer->content_of[i] = at;
	}
}

static int reserve(struct writer *writer) {
	struct artifacts_write *write = writer->write;
	AUTO_FREE const char **digests = mem_zalloc_array(writer->count + 1, sizeof(*digests));
	AUTO_FREE int64_t *sizes = mem_zalloc_array(writer->count + 1, sizeof(*sizes));
	for (size_t i = 0; i < writer->count; i++) {
		digests[i] = writer->contents[i].file->sha256;
		sizes[i] = writer->contents[i].file->size;
	}
	struct db_params *params = db_params_new();
	db_text(params, write->owner);
	db_text_array(params, digests, writer->count);
	db_int_array(params, sizes, writer->count);
	db_text(params, blobs_place(write->store));
	db_int(params, write->most_bytes);
	struct db_result *result = NULL;
	if (ask(writer, &reserve_statement, params, &result) != 0) return -1;
	for (size_t i = 0; i < writer->count && i < db_rows(result); i++) {
		writer->contents[i].id = mem_strdup(db_get(result, i, 0));
		writer->contents[i].there = db_get_int(result, i, 1) != 0;
	}
	db_result_free(result);
	return 0;
}

// ---- into the ledger

static int write_chunk(struct writer *writer, const struct content *content, int64_t seq, unsigned char *buffer) {
	const struct collected_file *file = content->file;
	int64_t from = seq * CHUNK_BYTES, left = file->size - from;
	size_t length = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
	for (size_t done = 0; done < length;) {
		ssize_t part = pread(writer->write->file, buffer + done, length - done, file->offset + from + (int64_t)done);
		if (part < 0 && errno == EINTR) continue;
		if (part <= 0)
			return error_set_errno(&writer->write->error, ERROR_INTERNAL, part ? errno : EIO, "WORKER_DIR: read");
		done += (size_t)part;
	}
	struct db_params *params = db_params_new();
	db_text(params, content->id);
	db_int(params, seq);
	db_bytes(params, buffer, length);
	return ask(writer, &chunk_statement, params, NULL);
}

static int write_to_ledger(struct writer *writer, const struct content *content) {
	AUTO_FREE unsigned char *buffer = mem_zalloc(CHUNK_BYTES);
	for (int64_t seq = 0; seq * CHUNK_BYTES < content->file->size; seq++)
		if (write_chunk(writer, content, seq, buffer) != 0) return -1;
	return 0;
}

// ---- into the store

static bool worth_another_try(struct writer *writer) {
	int64_t now_ms = loop_now_ms();
	if (!writer->store_until_ms) writer->store_until_ms = now_ms + STORE_FOR_MS;
	return writer->write->error.kind == ERROR_UNAVAILABLE && now_ms < writer->store_until_ms && pause_for(writer);
}

static int write_to_store(struct writer *writer, const struct content *content) {
	struct artifacts_write *write = writer->write;
	const struct blobs_object object = {.sha256 = content->file->sha256, .id = content->id};
	while (blobs_put(write->store, &object, write->file, content->file->offset, content->file->size, &write->error) != 0)
		if (!worth_another_try(writer)) return -1;
	error_clear(&write->error);
	return 0;
}

static int write_contents(struct writer *writer) {
	bool in_ledger = strcmp(blobs_place(writer->write->store), "ledger") == 0;
	for (size_t i = 0; i < writer->count; i++) {
		const struct content *content = &writer->contents[i];
		if (!content->id || content->there) continue;
		if ((in_ledger ? write_to_ledger(writer, content) : write_to_store(writer, content)) != 0) return -1;
		if (task_ending(writer->task)) return error_set(&writer->write->error, ERROR_UNAVAILABLE, "the worker stops");
	}
	return 0;
}

// ---- the rows

static void no_room(struct artifacts_write *write, const struct collected_file *file) {
	write->no_room++;
	json_array_append_new(write->collected->left_paths,
		json_pack("{s:s, s:s}", "path", file->path, "reason", "no room: ARTIFACTS_USER_MB"));
}

static struct db_params *rows(struct writer *writer) {
	struct artifacts_write *write = writer->write;
	const struct collected *collected = write->collected;
	size_t room = collected->count + 1, count = 0;
	AUTO_FREE const char **paths = mem_zalloc_array(room, sizeof(*paths)), **types = mem_zalloc_array(room, sizeof(*types)),
			     **ids = mem_zalloc_array(room, sizeof(*ids));
	AUTO_FREE int64_t *sizes = mem_zalloc_array(room, sizeof(*sizes));
	for (size_t i = 0; i < collected->count; i++) {
		const struct collected_file *file = &collected->files[i];
		ids[count] = writer->contents[writer->content_of[i]].id;
		if (!ids[count]) {
			no_room(write, file);
			continue;
		}
		paths[count] = file->path;
		types[count] = artifacts_type(file->path);
		sizes[count++] = file->size;
		write->bytes += file->size;
	}
	write->files = (int64_t)count;
	struct db_params *params = db_params_new();
	db_text(params, write->key);
	db_int(params, write->attempt);
	db_text(params, write->owner);
	db_text_array(params, paths, count);
	db_int_array(params, sizes, count);
	db_text_array(params, types, count);
	db_text_array(params, ids, count);
	return params;
}

static int keep(struct writer *writer) {
	struct db_result *result = NULL;
	if (ask(writer, &keep_statement, rows(writer), &result) != 0) return -1;
	bool ours = db_get_int(result, 0, 0) != 0;
	db_result_free(result);
	return ours ? 0 : error_set(&writer->write->error, ERROR_CONFLICT, "the attempt was taken over");
}

void artifacts_write(struct artifacts_write *write, struct task *task) {
	struct writer writer = {.write = write, .task = task};
	if (write->collected->count > 0) {
		find_contents(&writer);
		if (reserve(&writer) != 0 || write_contents(&writer) != 0 || keep(&writer) != 0)
			write->files = write->bytes = 0;
	}
	db_close(writer.db);
	for (size_t i = 0; i < writer.count; i++) free(writer.contents[i].id);
	free(writer.contents);
	free(writer.content_of);
}

void artifacts_write_clear(struct artifacts_write *write) {
	error_clear(&write->error);
}
