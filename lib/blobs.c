#include "lib/blobs.h"

#include "lib/client.h"
#include "lib/loop.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define COPY_BYTES  ((size_t)1 << 20)
#define PUT_MS      300000
#define ASK_MS      30000
#define ANSWER_MOST 65536
// Asked for by S3, and not added by every libcurl: the digest of nothing.
#define NO_BODY  "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define KEY_MOST 1024

// ---- names, which come from the ledger

static bool is_plain(const char *text, size_t most) {
	size_t length = strspn(text, "0123456789abcdef-");
	return length > 2 && length <= most && !text[length];
}

static int name_of(const struct blobs_object *object, char **name, struct error *error) {
	if (!is_plain(object->sha256, 64) || !is_plain(object->id, 36))
		return error_set(error, ERROR_INTERNAL, "artifacts: the name of an object is none");
	*name = mem_format("objects/%.2s/%s-%s", object->sha256, object->sha256, object->id);
	return 0;
}

// ---- the folder

static int fault(struct error *error, const struct blobs_config *config, const char *what) {
	return error_set_errno(error, ERROR_UNAVAILABLE, errno, "ARTIFACTS_DIR=%s: %s", config->dir, what);
}

static int open_top(const struct blobs_config *config, int *fd, struct error *error) {
	*fd = open(config->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? fault(error, config, "open") : 0;
}

// Not for others: what jobs leave belongs to their users.
static int make_folder(int top, const char *name) {
	return mkdirat(top, name, 0750) == 0 || errno == EEXIST ? 0 : -1;
}

static int copy(int from, int64_t offset, int64_t size, int to) {
	AUTO_FREE char *buffer = mem_zalloc(COPY_BYTES);
	while (size > 0) {
		size_t wanted = size < (int64_t)COPY_BYTES ? (size_t)size : COPY_BYTES;
		ssize_t length = pread(from, buffer, wanted, offset);
		if (length < 0 && errno == EINTR) continue;
		if (length == 0) errno = EIO;
		if (length <= 0) return -1;
		for (ssize_t done = 0; done < length;) {
			ssize_t written = write(to, buffer + done, (size_t)(length - done));
			if (written < 0 && errno == EINTR) continue;
			if (written < 0) return -1;
			done += written;
		}
		offset += length;
		size -= length;
	}
	return fsync(to);
}

static int sync_folder(int top, const char *name) {
	AUTO_CLOSE int folder = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0 ? -1 : fsync(folder);
}

// From `incoming` into its place.
static int publish(int top, const char *incoming, const char *name) {
	AUTO_FREE char *folder = mem_strndup(name, strlen("objects/ab"));
	if (make_folder(top, "objects") != 0 || make_folder(top, folder) != 0) return -1;
	return renameat(top, incoming, top, name) == 0 ? sync_folder(top, folder) : -1;
}

static int put_into_folder(const struct blobs_config *config, const struct blobs_object *object, const char *name, int file,
	int64_t offset, int64_t size, struct error *error) {
	AUTO_FREE char *incoming = mem_format("incoming/%s", object->id);
	AUTO_CLOSE int top = -1;
	if (open_top(config, &top, error) != 0) return -1;
	if (make_folder(top, "incoming") != 0) return fault(error, config, "make a folder");
	AUTO_CLOSE int to = openat(top, incoming, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (to < 0) return fault(error, config, "make a file");
	if (copy(file, offset, size, to) == 0 && publish(top, incoming, name) == 0) return 0;
	(void)fault(error, config, "write");
	(void)unlinkat(top, incoming, 0);
	return -1;
}

static int remove_from_folder(
	const struct blobs_config *config, const struct blobs_object *object, const char *name, struct error *error) {
	AUTO_FREE char *incoming = mem_format("incoming/%s", object->id);
	AUTO_CLOSE int top = -1;
	if (open_top(config, &top, error) != 0) return -1;
	(void)unlinkat(top, incoming, 0);
	return unlinkat(top, name, 0) == 0 || errno == ENOENT ? 0 : fault(error, config, "remove an object");
}

// ---- the S3 store, path-style

struct exchange {
	struct loop *loop;
	int status;
	struct error *error;
};

static void answered(int status, const char *body, size_t length, const struct error *error, void *arg) {
	struct exchange *exchange = arg;
	(void)body, (void)length;
	exchange->status = status;
	if (status == 0) (void)error_set(exchange->error, ERROR_UNAVAILABLE, "ARTIFACTS_S3_URL: %s", error_text(error));
	loop_stop(exchange->loop);
}

static char *s3_url(const struct blobs_config *config, const char *name) {
	size_t length = strlen(config->s3_url);
	while (length > 0 && config->s3_url[length - 1] == '/') length--;
	return mem_format("%.*s/%s/%s", (int)length, config->s3_url, config->s3_bucket, name);
}

static void sign(const struct blobs_config *config, struct client_request *request, char **sigv4) {
	*sigv4 = mem_format("aws:amz:%s:s3", config->s3_region);
	request->sigv4 = *sigv4;
	request->credentials = config->s3_credentials;
	request->ca_file = *config->s3_ca_file ? config->s3_ca_file : NULL;
}

// On a loop of its own. The status, or -1.
static int ask(const struct blobs_config *config, const char *name, struct client_request *request, struct error *error) {
	AUTO_FREE char *url = s3_url(config, name), *sigv4 = NULL;
	request->url = url;
	request->most_bytes = ANSWER_MOST;
	request->only_status = true;
	sign(config, request, &sigv4);
	struct exchange exchange = {.loop = loop_new(), .error = error};
	struct client *client = client_new(exchange.loop);
	client_send(client, request, answered, &exchange);
	loop_run(exchange.loop);
	client_free(client);
	loop_free(exchange.loop);
	return exchange.status == 0 ? -1 : exchange.status;
}

// What its operator has to mend is tried again too, as long as there is time.
static int refused(int status, struct error *error) {
	if (status < 0) return -1;
	return error_set(error, ERROR_UNAVAILABLE, "ARTIFACTS_S3_URL: the store answered %d", status);
}

static int put_into_s3(const struct blobs_config *config, const struct blobs_object *object, const char *name,
	const struct client_upload *upload, struct error *error) {
	AUTO_FREE char *digest = mem_format("x-amz-content-sha256: %s", object->sha256);
	const char *const headers[] = {digest, "Content-Type: application/octet-stream", NULL};
	struct client_request request = {.headers = headers, .upload = upload, .timeout_ms = PUT_MS};
	int status = ask(config, name, &request, error);
	return status == 200 ? 0 : refused(status, error);
}

static int remove_from_s3(const struct blobs_config *config, const char *name, struct error *error) {
	const char *const headers[] = {NO_BODY, NULL};
	struct client_request request = {.method = "DELETE", .headers = headers, .timeout_ms = ASK_MS};
	int status = ask(config, name, &request, error);
	return status == 200 || status == 204 || status == 404 ? 0 : refused(status, error);
}

int blobs_get(const struct blobs_config *config, const struct blobs_object *object, struct client *client, uint64_t offset,
	uint64_t length, client_done *done, void *arg, struct error *error) {
	AUTO_FREE char *name = NULL, *sigv4 = NULL;
	if (strcmp(blobs_place(config), "s3") != 0)
		return error_set(error, ERROR_UNAVAILABLE, "ARTIFACTS_S3_URL is not set here");
	if (name_of(object, &name, error) != 0 || !name) return -1;
	AUTO_FREE char *url = s3_url(config, name),
		       *range = mem_format("Range: bytes=%" PRIu64 "-%" PRIu64, offset, offset + length - 1);
	const char *const headers[] = {range, NO_BODY, NULL};
	struct client_request request = {.url = url, .headers = headers, .most_bytes = length, .timeout_ms = ASK_MS};
	sign(config, &request, &sigv4);
	client_send(client, &request, done, arg);
	return 0;
}

// ---- for the daemons

int blobs_put(const struct blobs_config *config, const struct blobs_object *object, int file, int64_t offset, int64_t size,
	struct error *error) {
	AUTO_FREE char *name = NULL;
	if (name_of(object, &name, error) != 0 || !name) return -1;
	const struct client_upload upload = {.file = file, .offset = offset, .bytes = size};
	if (*config->dir) return put_into_folder(config, object, name, file, offset, size, error);
	return put_into_s3(config, object, name, &upload, error);
}

int blobs_open(const struct blobs_config *config, const struct blobs_object *object, int *fd, struct error *error) {
	AUTO_FREE char *name = NULL;
	AUTO_CLOSE int top = -1;
	if (!*config->dir) return error_set(error, ERROR_UNAVAILABLE, "ARTIFACTS_DIR is not set here");
	if (name_of(object, &name, error) != 0 || !name || open_top(config, &top, error) != 0) return -1;
	*fd = openat(top, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? fault(error, config, "open an object") : 0;
}

int blobs_remove(const struct blobs_config *config, const struct blobs_object *object, struct error *error) {
	AUTO_FREE char *name = NULL;
	if (name_of(object, &name, error) != 0 || !name) return -1;
	return *config->dir ? remove_from_folder(config, object, name, error) : remove_from_s3(config, name, error);
}

// One line: ID:SECRET.
static int read_key(struct blobs_config *config, struct error *error) {
	char text[KEY_MOST];
	struct stat info;
	const char *path = config->s3_key_file;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	ssize_t length = fd < 0 || fstat(fd, &info) != 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length < 0) return error_set_errno(error, ERROR_INPUT, errno, "ARTIFACTS_S3_KEY_FILE=%s", path);
	if (info.st_mode & 07)
		return error_set(error, ERROR_INPUT, "ARTIFACTS_S3_KEY_FILE=%s: others may read it: chmod o= it", path);
	text[length] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	const char *colon = strchr(text, ':');
	if (!colon || colon == text || !colon[1])
		return error_set(error, ERROR_INPUT, "ARTIFACTS_S3_KEY_FILE=%s: must be ID:SECRET", path);
	free(config->s3_credentials);
	config->s3_credentials = mem_strdup(text);
	explicit_bzero(text, sizeof(text));
	return 0;
}

static bool is_word(const char *text) {
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");
	return length > 0 && !text[length];
}

static int check_s3(struct blobs_config *config, struct error *error) {
	const char *url = config->s3_url;
	const char *host = strncmp(url, "https://", 8) == 0 ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : "";
	if (*config->dir) return error_set(error, ERROR_INPUT, "ARTIFACTS_S3_URL and ARTIFACTS_DIR are both set: choose one");
	if (!*host || *host == '/' || strpbrk(host, "?#@ "))
		return error_set(error, ERROR_INPUT, "ARTIFACTS_S3_URL=%s: not an http or https URL", url);
	if (!is_word(config->s3_bucket))
		return error_set(error, ERROR_INPUT, "ARTIFACTS_S3_BUCKET=%s: not the name of a bucket", config->s3_bucket);
	if (!is_word(config->s3_region))
		return error_set(error, ERROR_INPUT, "ARTIFACTS_S3_REGION=%s: not the name of a region", config->s3_region);
	if (!*config->s3_key_file)
		return error_set(error, ERROR_INPUT, "ARTIFACTS_S3_URL is set: ARTIFACTS_S3_KEY_FILE is needed");
	return read_key(config, error);
}

int blobs_check(struct blobs_config *config, struct error *error) {
	if (*config->s3_url) return check_s3(config, error);
	if (!*config->dir) return 0;
	if (*config->dir != '/') return error_set(error, ERROR_INPUT, "ARTIFACTS_DIR=%s: give an absolute path", config->dir);
	AUTO_CLOSE int top = -1;
	if (open_top(config, &top, error) == 0) return 0;
	error->kind = ERROR_INPUT;
	return -1;
}

const char *blobs_place(const struct blobs_config *config) {
	return *config->dir ? "folder" : *config->s3_url ? "s3" : "ledger";
}
