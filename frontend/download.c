#include "frontend/download.h"

#include "frontend/answer.h"
#include "lib/client.h"
#include "lib/db.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define CHUNK_BYTES 262144 // of the ledger (worker/artifacts_write.c)
#define PART_BYTES  ((uint64_t)1 << 20)

struct download {
	struct http_request *request; // NULL: the client has gone
	const struct frontend *frontend;
	char *blob, *sha256, *type;
	int status;
	bool elsewhere;   // in the S3 store
	uint64_t at, end; // of the content
	int fd;           // of the object; -1: it is in the ledger
	unsigned char *chunk;
	size_t length, taken; // of the chunk
	bool fetching, failed;
	bool begun; // the first of it is here, or will never be
};

// $1 blob, $2 seq
static const struct db_statement chunk_statement = {
	"download_chunk", "SELECT data FROM blob_chunks WHERE blob = $1::uuid AND seq = $2::int"};

static void download_free(struct download *download) {
	if (download->fd >= 0) close(download->fd);
	free(download->chunk);
	free(download->blob);
	free(download->sha256);
	free(download->type);
	free(download);
}

// A statement under way frees it when it comes back.
static void over(void *arg) {
	struct download *download = arg;
	download->request = NULL;
	if (!download->fetching) download_free(download);
}

static ssize_t more(char *buffer, size_t size, void *arg);

// Nothing is said until there is something: a store that is away is a 503, not a 200 that is cut.
static void begin(struct download *download) {
	download->begun = true;
	if (!download->failed) {
		http_stream_sized(download->request, download->status, download->type, download->end - download->at, more, over,
			download);
		return;
	}
	http_answer_anew(download->request);
	answer_unavailable(download->request, download->elsewhere ? "The artifacts' store" : "PostgreSQL");
	download_free(download);
}

// A part is here, or will not come.
static void came(struct download *download) {
	if (download->begun)
		http_stream_wake(download->request);
	else
		begin(download);
}

// ---- from the ledger

static bool take_chunk(struct download *download, const struct db_result *result) {
	size_t skip = (size_t)(download->at % CHUNK_BYTES);
	free(STEAL(download->chunk));
	download->length = download->taken = 0;
	if (db_rows(result) == 0) return false; // removed meanwhile, with its job
	download->chunk = db_get_bytes(result, 0, 0, &download->length);
	if (!download->chunk || download->length <= skip) return false;
	download->taken = skip;
	return true;
}

static void chunk_came(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct download *download = arg;
	download->fetching = false;
	if (!download->request) {
		download_free(download);
		return;
	}
	if (status != DB_OK) answer_complain(download->request, status, error);
	download->failed = status != DB_OK || !take_chunk(download, result);
	came(download);
}

static void fetch_chunk(struct download *download) {
	struct db_params *params = db_params_new();
	db_text(params, download->blob);
	db_int(params, (int64_t)(download->at / CHUNK_BYTES));
	db_run(download->frontend->reads, &chunk_statement, params, FRONTEND_READ_WAIT_MS, FRONTEND_READ_TIMEOUT_MS, chunk_came,
		download);
}

// ---- from the S3 store

static void part_came(int status, const char *body, size_t length, const struct error *error, void *arg) {
	struct download *download = arg;
	download->fetching = false;
	if (!download->request) {
		download_free(download);
		return;
	}
	free(STEAL(download->chunk));
	download->length = download->taken = 0;
	download->failed = status != 206 || length == 0;
	if (download->failed)
		log_warn(log_m("an artifact cannot be had"), log_s("blob", download->blob), log_i("status", status),
			log_e(error));
	else
		download->chunk = mem_dup(body, download->length = length);
	came(download);
}

static void fetch_part(struct download *download) {
	AUTO_ERROR struct error error = {0};
	const struct blobs_object object = {.sha256 = download->sha256, .id = download->blob};
	uint64_t left = download->end - download->at;
	if (blobs_get(download->frontend->store, &object, download->frontend->client, download->at,
		    left < PART_BYTES ? left : PART_BYTES, part_came, download, &error) == 0)
		return;
	download->fetching = false;
	download->failed = true;
	log_warn(log_m("an artifact cannot be had"), log_s("blob", download->blob), log_e(&error));
}

static void fetch(struct download *download) {
	download->fetching = true;
	if (download->elsewhere)
		fetch_part(download);
	else
		fetch_chunk(download);
}

static ssize_t from_chunk(struct download *download, char *buffer, size_t size) {
	size_t there = download->length - download->taken;
	if (there == 0) {
		if (!download->fetching) fetch(download);
		return download->failed ? -2 : 0;
	}
	size_t part = there < size ? there : size;
	memcpy(buffer, download->chunk + download->taken, part);
	download->taken += part;
	return (ssize_t)part;
}

// ---- from the folder

static ssize_t from_folder(struct download *download, char *buffer, size_t size) {
	ssize_t part;
	do part = pread(download->fd, buffer, size, (off_t)download->at);
	while (part < 0 && errno == EINTR);
	return part > 0 ? part : -2;
}

// ---- the answer

static ssize_t more(char *buffer, size_t size, void *arg) {
	struct download *download = arg;
	if (download->failed) return -2;
	uint64_t left = download->end - download->at;
	if (left == 0) return -1;
	if (left < size) size = (size_t)left;
	ssize_t part = download->fd >= 0 ? from_folder(download, buffer, size) : from_chunk(download, buffer, size);
	if (part > 0) download->at += (uint64_t)part;
	return part;
}

static int open_object(const struct frontend *frontend, const struct download_of *of, int *fd) {
	AUTO_ERROR struct error error = {0};
	const struct blobs_object object = {.sha256 = of->sha256, .id = of->blob};
	if (strcmp(of->place, "ledger") == 0) return 0;
	if (strcmp(of->place, "s3") == 0 && strcmp(blobs_place(frontend->store), "s3") == 0) return 0;
	if (strcmp(of->place, "folder") != 0)
		error_set(&error, ERROR_UNAVAILABLE, "it lies in a store that is not set here: %s", of->place);
	else if (blobs_open(frontend->store, &object, fd, &error) == 0)
		return 0;
	log_warn(log_m("an artifact cannot be had"), log_s("blob", of->blob), log_e(&error));
	return -1;
}

void download_answer(const struct frontend *frontend, struct http_request *request, const struct download_of *of) {
	uint64_t from, length;
	AUTO_FREE char *etag = mem_format("\"%s\"", of->sha256);
	AUTO_CLOSE int fd = -1;
	if (open_object(frontend, of, &fd) != 0) {
		answer_unavailable(request, "The artifacts' store");
		return;
	}
	int status = http_part(request, etag, of->size, &from, &length);
	if (status == 0) return;
	if (length == 0) {
		http_answer(request, status, of->type, "", 0);
		return;
	}
	struct download *download = mem_zalloc(sizeof *download);
	*download = (struct download){.request = request,
		.frontend = frontend,
		.blob = mem_strdup(of->blob),
		.sha256 = mem_strdup(of->sha256),
		.elsewhere = strcmp(of->place, "s3") == 0,
		.type = mem_strdup(of->type),
		.status = status,
		.at = from,
		.end = from + length,
		.fd = steal_fd(&fd)};
	if (download->fd < 0) {
		http_on_gone(request, over, download);
		fetch(download);
	}
	if (!download->fetching) begin(download);
}
