// Brings the tree of a commit that is there already into a place of a job's own: by `git clone file://`, by libgit2's checkout, by
// the box's copy and by the box's overlayfs; in turns. Prints one line of JSON for each.
//
//     bench-start-trees TRABAJOS-INIT FOLDER BARE-REPOSITORY COUNT
#include "lib/mem.h"
#include "worker/fetch/checkout.h"
#include "worker/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <git2/checkout.h>
#include <git2/revparse.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define UID_BASE 62000
#define MB       (INT64_C(1) << 20)
#define REST_MS  100 // the next box is ready by then, and the last one gone

struct bench {
	struct loop *loop;
	struct sandbox *sandbox;
	struct loop_timer *timer;
	git_repository *repository;
	char *source, *place, *shown, *copied; // shown and copied: two names of one folder, the second not the worker's
	int64_t workspace_us;
	bool shared, failed;
};

static void stop_loop(void *arg) {
	loop_stop(((struct bench *)arg)->loop);
}

static void rest(struct bench *bench) {
	loop_timer_set(bench->timer, REST_MS);
	loop_run(bench->loop);
}

static bool run_program(const char *const *argv) {
	char path[] = "PATH=/usr/bin:/bin", home[] = "HOME=/nonexistent", no_system[] = "GIT_CONFIG_NOSYSTEM=1";
	char *env[] = {path, home, no_system, NULL};
	pid_t pid;
	int status;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, env) != 0) return false;
	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR) return false;
	return status == 0;
}

static void clear_place(const struct bench *bench) {
	const char *const argv[] = {"rm", "-rf", "--", bench->place, NULL};
	(void)run_program(argv);
}

// ---- the contenders: microseconds

static int64_t run_clone(struct bench *bench) {
	const char *const argv[] = {"git", "-c", "safe.directory=*", "-c", "advice.detachedHead=false", "clone", "-q",
		bench->source, bench->place, NULL};
	int64_t begun_us = loop_now_us();
	if (!run_program(argv)) bench->failed = true;
	return loop_now_us() - begun_us;
}

static int64_t run_libgit2(struct bench *bench) {
	git_checkout_options options;
	git_object *head = NULL;
	if (git_checkout_options_init(&options, GIT_CHECKOUT_OPTIONS_VERSION) < 0) bench->failed = true;
	options.checkout_strategy = GIT_CHECKOUT_FORCE | GIT_CHECKOUT_DONT_UPDATE_INDEX;
	options.target_directory = bench->place;
	int64_t begun_us = loop_now_us();
	if (git_revparse_single(&head, bench->repository, "HEAD") < 0 ||
		git_checkout_tree(bench->repository, head, &options) < 0)
		bench->failed = true;
	int64_t took_us = loop_now_us() - begun_us;
	git_object_free(head);
	return took_us;
}

static void drop_output(int stream, const char *data, size_t length, void *arg) {
	(void)arg;
	(void)!write(stream, data, length);
}

static void ended(const struct sandbox_report *report, void *arg) {
	struct bench *bench = arg;
	bench->workspace_us = report->workspace_us;
	bench->shared = report->shared;
	if (!report->ran || report->exit_code != 0) bench->failed = true;
	loop_stop(bench->loop);
}

static int64_t run_box(struct bench *bench, char *tree, bool shared) {
	static char noop[] = "/bin/true";
	char *argv[] = {noop, NULL}, *env[] = {NULL};
	const struct sandbox_job job = {.tree = tree,
		.argv = argv,
		.env = env,
		.limits = {.memory_bytes = 256 * MB,
			.processes = 64,
			.disk_bytes = 256 * MB,
			.file_bytes = 64 * MB,
			.open_files = 1024}};
	const struct sandbox_handlers handlers = {.output = drop_output, .done = ended, .arg = bench};
	struct sandbox_run *run;
	struct error error = {0};
	if (sandbox_start(bench->sandbox, &job, &handlers, &run, &error) != 0) {
		fprintf(stderr, "%s\n", error_text(&error));
		exit(1);
	}
	loop_run(bench->loop);
	if (bench->shared != shared) bench->failed = true;
	return bench->workspace_us;
}

static int64_t run_copy(struct bench *bench) {
	return run_box(bench, bench->copied, false);
}

static int64_t run_overlay(struct bench *bench) {
	return run_box(bench, bench->shown, true);
}

// ---- set-up

// As trabajos-fetch writes it.
static bool write_tree(struct bench *bench, const char *repository, const char *trees) {
	const struct checkout_limits limits = {.bytes = 1024 * MB, .files = 1000000};
	struct checkout_sum sum;
	struct outcome outcome = {0};
	git_oid head;
	bool damaged = false;
	if (git_libgit2_init() < 0 || git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0) < 0 ||
		git_repository_open(&bench->repository, repository) < 0 ||
		git_reference_name_to_id(&head, bench->repository, "HEAD") < 0)
		return false;
	if (mkdir(trees, 0755) != 0) return false;
	AUTO_CLOSE int folder = open(trees, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder >= 0 && checkout_write(bench->repository, &head, folder, "tree", &limits, &sum, &damaged, &outcome) == 0;
}

static bool open_sandbox(struct bench *bench, const char *init, const char *dir, const char *trees) {
	const struct sandbox_config config = {.init_program = init,
		.dir = dir,
		.trees = trees,
		.slots = 1,
		.uid_base = UID_BASE,
		.disk_bytes = 256 * MB,
		.weakest = SANDBOX_REDUCED};
	struct error error = {0};
	bench->loop = loop_new();
	bench->timer = loop_timer_new(bench->loop, stop_loop, bench);
	if (sandbox_open(bench->loop, &config, &bench->sandbox, &error) != 0) {
		fprintf(stderr, "%s\n", error_text(&error));
		return false;
	}
	if (sandbox_level(bench->sandbox) <= SANDBOX_REDUCED && bench->sandbox->maker.trees) return true;
	fprintf(stderr, "no box with overlayfs can be made here\n");
	return false;
}

int main(int argc, char **argv) {
	if (argc != 5) return 64;
	static struct bench bench;
	AUTO_FREE char *trees = mem_format("%s/trees", argv[2]);
	bench.source = mem_format("file://%s", argv[3]);
	bench.place = mem_format("%s/place", argv[2]);
	bench.shown = mem_format("%s/tree", trees);
	bench.copied = mem_format("%s/./trees/tree", argv[2]);
	if (!write_tree(&bench, argv[3], trees) || !open_sandbox(&bench, argv[1], argv[2], trees)) return 1;
	static const struct {
		const char *name;
		int64_t (*run)(struct bench *bench);
	} contenders[] = {{"clone", run_clone}, {"libgit2", run_libgit2}, {"copy", run_copy}, {"overlay", run_overlay}};
	long count = strtol(argv[4], NULL, 10);
	for (long i = -1; i < count; i++) {
		for (size_t c = 0; c < COUNT_OF(contenders); c++) {
			rest(&bench);
			int64_t us = contenders[c].run(&bench);
			if (i >= 0) printf("{\"name\":\"%s\",\"us\":%lld}\n", contenders[c].name, (long long)us);
			clear_place(&bench);
		}
	}
	sandbox_close(bench.sandbox);
	loop_timer_free(bench.timer);
	loop_free(bench.loop);
	git_repository_free(bench.repository);
	free(bench.source);
	free(bench.place);
	free(bench.shown);
	free(bench.copied);
	return bench.failed ? 1 : 0;
}
