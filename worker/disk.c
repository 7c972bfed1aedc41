#include "worker/disk.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#define LOOK_MS     2000
#define FILES_LEAST 1000

struct disk {
	struct loop_timer *timer;
	char *dir;
	int64_t least_bytes;
	bool full;
	void (*changed)(bool full, void *arg);
	void *arg;
};

static struct metric free_bytes = {
	.name = "trabajos_worker_disk_free_bytes", .help = "Free in WORKER_DIR for this worker", .type = METRIC_GAUGE};

static void report(const struct disk *disk, int64_t left_bytes) {
	if (disk->full)
		log_warn(log_m("the disk is full: no more jobs are claimed until there is room"), log_s("dir", disk->dir),
			log_i("free_bytes", left_bytes), log_i("wanted_bytes", disk->least_bytes));
	else
		log_info(log_m("the disk has room again"), log_s("dir", disk->dir), log_i("free_bytes", left_bytes));
}

// File systems without a count of inodes answer 0 for all of them.
static bool too_little(const struct disk *disk, const struct statvfs *of, int64_t left_bytes) {
	return left_bytes < disk->least_bytes || (of->f_files > 0 && of->f_favail < FILES_LEAST);
}

static void look(void *arg) {
	struct disk *disk = arg;
	struct statvfs of;
	loop_timer_set(disk->timer, LOOK_MS);
	if (statvfs(disk->dir, &of) < 0) {
		log_warn(log_m("cannot look at the disk"), log_s("dir", disk->dir), log_s("error", strerror(errno)));
		return;
	}
	int64_t left_bytes = (int64_t)(of.f_bavail * of.f_frsize);
	bool full = too_little(disk, &of, left_bytes);
	metric_set(&free_bytes, left_bytes);
	if (full == disk->full) return;
	disk->full = full;
	report(disk, left_bytes);
	disk->changed(full, disk->arg);
}

bool disk_full(const struct disk *disk) {
	return disk->full;
}

void disk_close(struct disk *disk) {
	if (!disk) return;
	loop_timer_free(disk->timer);
	free(disk->dir);
	free(disk);
}

struct disk *disk_watch(
	struct loop *loop, const char *dir, int64_t least_bytes, void (*changed)(bool full, void *arg), void *arg) {
	metrics_register(&free_bytes);
	struct disk *disk = mem_zalloc(sizeof(*disk));
	disk->dir = mem_strdup(dir);
	disk->least_bytes = least_bytes;
	disk->changed = changed;
	disk->arg = arg;
	disk->timer = loop_timer_new(loop, look, disk);
	look(disk);
	return disk;
}
