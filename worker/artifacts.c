#include "worker/artifacts.h"

#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/task.h"
#include "worker/artifacts_write.h"
#include "worker/collected.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define STOP_MS 3000

struct artifacts {
	struct worker *worker;
	struct artifacts *next; // of the worker's
	int read_end, write_end, file;
	struct task *task;
	struct loop_wakeup *ended; // of the thread
	struct collected_limits limits;
	struct collected collected;
	bool read, dropped;
	struct artifacts_write write; // what the second thread does
	char *key, *owner;
	void (*done)(json_t *detail, void *arg);
	void *arg;
};

static struct metric stored_count = {
	.name = "trabajos_artifacts_total", .help = "artifacts that jobs left and that were stored", .type = METRIC_COUNTER};
static struct metric stored_bytes = {.name = "trabajos_artifacts_bytes_total", .help = "their bytes", .type = METRIC_COUNTER};
static struct metric failed_count = {.name = "trabajos_artifacts_failed_total",
	.help = "attempts whose artifacts could not be stored, or not be read to the end",
	.type = METRIC_COUNTER};

static void close_one(int *fd) {
	if (*fd >= 0) close(*fd);
	*fd = -1;
}

static void unlist(struct artifacts *artifacts) {
	struct artifacts **at = &artifacts->worker->artifacts;
	while (*at != artifacts) at = &(*at)->next;
	*at = artifacts->next;
}

static void artifacts_free(struct artifacts *artifacts) {
	unlist(artifacts);
	loop_wakeup_free(artifacts->ended);
	close_one(&artifacts->read_end);
	close_one(&artifacts->write_end);
	close_one(&artifacts->file);
	collected_clear(&artifacts->collected);
	artifacts_write_clear(&artifacts->write);
	free(artifacts->key);
	free(artifacts->owner);
	free(artifacts);
}

// ---- what is said of it

static json_t *describe(const struct artifacts *artifacts) {
	const struct collected *collected = &artifacts->collected;
	const struct artifacts_write *write = &artifacts->write;
	int64_t left = collected->left + write->no_room;
	json_t *json = json_pack("{s:I, s:I, s:I}", "files", (json_int_t)write->files, "bytes", (json_int_t)write->bytes,
		"left_out", (json_int_t)left);
	if (json_array_size(collected->left_paths) > 0) json_object_set(json, "left_out_paths", collected->left_paths);
	const char *error = write->error.kind      ? error_text(&write->error)
			    : collected->fault     ? collected->fault
			    : !collected->complete ? "they were not read to the end: the job's box was ended before"
						   : NULL;
	if (error) json_object_set_new(json, "error", json_string(error));
	return json;
}

static void count(const struct artifacts *artifacts) {
	metric_add(&stored_count, artifacts->write.files);
	metric_add(&stored_bytes, artifacts->write.bytes);
	if (artifacts->write.error.kind || !artifacts->collected.complete) metric_add(&failed_count, 1);
	if (artifacts->write.error.kind)
		log_warn(log_m("artifacts could not be stored"), log_s("key", artifacts->key), log_e(&artifacts->write.error));
}

static void over(struct artifacts *artifacts) {
	json_t *detail = describe(artifacts);
	void (*done)(json_t *, void *) = artifacts->done;
	void *arg = artifacts->arg;
	count(artifacts);
	artifacts_free(artifacts);
	done(detail, arg);
}

// ---- threads

static void read_run(struct task *task UNUSED, void *arg) {
	struct artifacts *artifacts = arg;
	collected_read(artifacts->read_end, artifacts->file, &artifacts->limits, &artifacts->collected);
	loop_wakeup_fire(artifacts->ended);
}

static void write_run(struct task *task, void *arg) {
	struct artifacts *artifacts = arg;
	artifacts_write(&artifacts->write, task);
	loop_wakeup_fire(artifacts->ended);
}

static void begin_to_write(struct artifacts *artifacts) {
	const struct worker_config *config = &artifacts->worker->config;
	artifacts->write.db = &config->db;
	artifacts->write.store = &config->store;
	artifacts->write.most_bytes = config->artifacts_user_mb << 20;
	artifacts->write.collected = &artifacts->collected;
	artifacts->write.file = artifacts->file;
	artifacts->task = task_start("artifacts", write_run, artifacts);
}

// Its thread has ended, or is about to: nothing blocks it any more.
static void thread_ended(void *arg) {
	struct artifacts *artifacts = arg;
	if (task_end(artifacts->task, STOP_MS) != 0) mem_die("artifacts: a thread does not end");
	artifacts->task = NULL;
	bool was_read = artifacts->read;
	artifacts->read = true;
	close_one(&artifacts->read_end);
	if (artifacts->dropped)
		artifacts_free(artifacts);
	else if (was_read)
		over(artifacts);
	else if (artifacts->done)
		begin_to_write(artifacts);
}

// ---- for the job

// A file without a name, that goes with the descriptor.
static int open_file(const char *folder) {
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
	AUTO_FREE char *name = mem_format("%s/.artifacts-XXXXXX", folder);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0) (void)unlink(name);
	return fd;
}

struct artifacts *artifacts_start(struct worker *worker, struct error *error) {
	int ends[2];
	AUTO_CLOSE int file = open_file(worker->config.dir);
	if (file < 0 || pipe2(ends, O_CLOEXEC) != 0) {
		(void)error_set_errno(error, ERROR_UNAVAILABLE, errno, "artifacts: WORKER_DIR=%s", worker->config.dir);
		return NULL;
	}
	struct artifacts *artifacts = mem_zalloc(sizeof(*artifacts));
	artifacts->worker = worker;
	artifacts->read_end = ends[0];
	artifacts->write_end = ends[1];
	artifacts->file = steal_fd(&file);
	artifacts->limits =
		(struct collected_limits){.bytes = worker->config.artifacts_mb << 20, .files = worker->config.artifacts_files};
	artifacts->next = worker->artifacts;
	worker->artifacts = artifacts;
	artifacts->ended = loop_wakeup_new(worker->loop, thread_ended, artifacts);
	artifacts->task = task_start("artifacts", read_run, artifacts);
	return artifacts;
}

void artifacts_order(const struct artifacts *artifacts, struct sandbox_job *job) {
	job->artifacts.bytes = artifacts->limits.bytes;
	job->artifacts.files = artifacts->limits.files;
	job->artifacts.pipe = artifacts->write_end;
}

void artifacts_handed_over(struct artifacts *artifacts) {
	close_one(&artifacts->write_end);
}

void artifacts_store(
	struct artifacts *artifacts, const struct artifacts_of *of, void (*done)(json_t *detail, void *arg), void *arg) {
	artifacts->key = mem_strdup(of->key);
	artifacts->owner = mem_strdup(of->owner);
	artifacts->write.key = artifacts->key;
	artifacts->write.owner = artifacts->owner;
	artifacts->write.attempt = of->attempt;
	artifacts->done = done;
	artifacts->arg = arg;
	if (artifacts->read) begin_to_write(artifacts);
}

void artifacts_drop(struct artifacts *artifacts) {
	if (!artifacts) return;
	close_one(&artifacts->write_end);
	artifacts->dropped = true;
	if (artifacts->task)
		task_ask(artifacts->task);
	else
		artifacts_free(artifacts);
}

int artifacts_stop(struct worker *worker) {
	for (struct artifacts *each = worker->artifacts; each; each = each->next) {
		close_one(&each->write_end);
		task_ask(each->task);
	}
	for (struct artifacts *each = worker->artifacts, *next; each; each = next) {
		next = each->next;
		if (task_end(each->task, STOP_MS) != 0) return -1;
		artifacts_free(each);
	}
	return 0;
}

void artifacts_register(void) {
	metrics_register(&stored_count);
	metrics_register(&stored_bytes);
	metrics_register(&failed_count);
}
