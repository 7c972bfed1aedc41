// Starts a no-op again and again: plainly, in bubblewrap by hand, in that and a control group, in a box made for it, and in one
// made ahead; in turns, so that what disturbs hits all of them. Prints one line of JSON for each start.
//
//     bench-start-boxes TRABAJOS-INIT FOLDER COUNT
#include "lib/mem.h"
#include "worker/limits.h"
#include "worker/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define UID_BASE      62000
#define MB            (INT64_C(1) << 20)
#define REST_MS       60 // the next box is ready by then, and the last one gone
#define WARM_UP       10
#define ARGUMENTS_MAX 128

struct bench {
	struct loop *loop;
	struct sandbox *sandbox;
	struct loop_timer *timer;
	char *tree;
	char *bwrap[ARGUMENTS_MAX]; // its command line, as the worker has it
	int64_t start_us;
	bool failed;
};

static char noop[] = "/bin/true";

static void stop_loop(void *arg) {
	loop_stop(((struct bench *)arg)->loop);
}

static void rest(struct bench *bench) {
	loop_timer_set(bench->timer, REST_MS);
	loop_run(bench->loop);
}

static bool waited_for(pid_t pid) {
	int status;
	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR) return false;
	return status == 0;
}

// ---- the contenders: microseconds from the call to the known end

static int64_t run_plain(struct bench *bench) {
	int64_t begun_us = loop_now_us();
	char *const argv[] = {noop, NULL}, *const env[] = {NULL};
	pid_t pid = fork();
	if (pid == 0) {
		(void)execve(noop, argv, env);
		_exit(127);
	}
	if (!waited_for(pid)) bench->failed = true;
	return loop_now_us() - begun_us;
}

static NORETURN void become_bwrap(const struct bench *bench, const struct limits_group *group) {
	const struct box_maker *maker = &bench->sandbox->maker;
	int joins[LIMITS_GROUPS];
	size_t count = group ? limits_group_joins(group, joins) : 0;
	for (size_t i = 0; i < count; i++)
		if (write(joins[i], "0", 1) != 1) _exit(126);
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", maker->filter);
	int filter = open(path, O_RDONLY);
	if (filter != SPEC_FD_FILTER && dup2(filter, SPEC_FD_FILTER) < 0) _exit(126);
	uid_t uid = maker->uid_base + 1;
	if (maker->uid_base != (uid_t)-1 &&
		(setgroups(0, NULL) != 0 || setresgid(maker->uid_base, maker->uid_base, maker->uid_base) != 0 ||
			setresuid(uid, uid, uid) != 0))
		_exit(126);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(126);
	char *const env[] = {NULL};
	(void)execve(bench->bwrap[0], bench->bwrap, env);
	_exit(127);
}

static int64_t run_by_hand(struct bench *bench) {
	int64_t begun_us = loop_now_us();
	pid_t pid = fork();
	if (pid == 0) become_bwrap(bench, NULL);
	if (!waited_for(pid)) bench->failed = true;
	return loop_now_us() - begun_us;
}

// The first process to join a group after a while waits until the kernel's readers of all groups have passed (RCU).
static int64_t run_in_group(struct bench *bench) {
	struct limits_group *group;
	struct error error = {0};
	int64_t begun_us = loop_now_us();
	if (limits_group_new(bench->sandbox->maker.limits, &group, &error) != 0 ||
		limits_group_set(group, 512 * MB, 128, &error) != 0) {
		fprintf(stderr, "%s\n", error_text(&error));
		exit(1);
	}
	pid_t pid = fork();
	if (pid == 0) become_bwrap(bench, group);
	if (!waited_for(pid)) bench->failed = true;
	int64_t us = loop_now_us() - begun_us;
	while (limits_group_remove(group) != 0) rest(bench);
	return us;
}

static void drop_output(int stream, const char *data, size_t length, void *arg) {
	(void)arg;
	(void)!write(stream, data, length);
}

static void ended(const struct sandbox_report *report, void *arg) {
	struct bench *bench = arg;
	bench->start_us = report->start_us;
	if (!report->ran || report->exit_code != 0) bench->failed = true;
	loop_stop(bench->loop);
}

static int64_t run_box(struct bench *bench, bool ahead) {
	char *argv[] = {noop, NULL}, *env[] = {NULL};
	const struct sandbox_job job = {.tree = bench->tree,
		.argv = argv,
		.env = env,
		.limits = {.memory_bytes = 256 * MB,
			.processes = 64,
			.disk_bytes = 64 * MB,
			.file_bytes = 64 * MB,
			.open_files = 1024}};
	const struct sandbox_handlers handlers = {.output = drop_output, .done = ended, .arg = bench};
	struct sandbox_run *run;
	struct error error = {0};
	int64_t begun_us = loop_now_us();
	if (sandbox_start(bench->sandbox, &job, &handlers, &run, &error) != 0) {
		fprintf(stderr, "%s\n", error_text(&error));
		exit(1);
	}
	// The next one would be made at the same time.
	if (!ahead) loop_timer_stop(bench->sandbox->slots[0].prepare);
	loop_run(bench->loop);
	return loop_now_us() - begun_us;
}

static int64_t run_new_box(struct bench *bench) {
	struct sandbox_slot *slot = &bench->sandbox->slots[0];
	if (slot->spare) {
		cell_leave(slot->spare);
		cell_kill(slot->spare);
	}
	slot->spare = NULL;
	loop_timer_stop(slot->prepare);
	rest(bench);
	return run_box(bench, false);
}

static int64_t run_ready_box(struct bench *bench) {
	return run_box(bench, true);
}

// ---- set-up

// Of the box that stands ready: the very options that the worker gives. Only what runs inside is another.
static bool read_command_line(struct bench *bench) {
	const struct sandbox_cell *spare = bench->sandbox->slots[0].spare;
	if (!spare) return false;
	static char text[16384];
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)spare->box.pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	size_t count = 0;
	for (char *at = text; length > 0 && at < text + length && count < ARGUMENTS_MAX - 3; at += strlen(at) + 1) {
		bench->bwrap[count++] = at;
		if (strcmp(at, "--") != 0) continue;
		bench->bwrap[count++] = noop;
		return true;
	}
	return false;
}

static bool set_up(struct bench *bench, const char *init, const char *dir) {
	bench->tree = mem_format("%s/tree", dir);
	if (mkdir(bench->tree, 0755) != 0 && errno != EEXIST) return false;
	bench->loop = loop_new();
	bench->timer = loop_timer_new(bench->loop, stop_loop, bench);
	const struct sandbox_config config = {.init_program = init,
		.dir = dir,
		.trees = dir,
		.slots = 1,
		.uid_base = UID_BASE,
		.disk_bytes = 64 * MB,
		.weakest = SANDBOX_REDUCED};
	struct error error = {0};
	if (sandbox_open(bench->loop, &config, &bench->sandbox, &error) != 0) {
		fprintf(stderr, "%s\n", error_text(&error));
		return false;
	}
	if (sandbox_level(bench->sandbox) > SANDBOX_REDUCED) {
		fprintf(stderr, "no box can be made here: %s\n", sandbox_missing(bench->sandbox));
		return false;
	}
	rest(bench);
	return read_command_line(bench);
}

int main(int argc, char **argv) {
	if (argc != 4) return 64;
	static struct bench bench;
	if (!set_up(&bench, argv[1], argv[2])) return 1;
	static const struct {
		const char *name;
		int64_t (*run)(struct bench *bench);
	} contenders[] = {{"plain", run_plain}, {"bwrap", run_by_hand}, {"group", run_in_group}, {"new", run_new_box},
		{"ready", run_ready_box}};
	AUTO_JSON json_t *isolation = sandbox_describe(bench.sandbox);
	AUTO_FREE char *text = json_write(isolation);
	printf("%s\n", text);
	long count = strtol(argv[3], NULL, 10);
	for (long i = -WARM_UP; i < count; i++) {
		for (size_t c = 0; c < COUNT_OF(contenders); c++) {
			rest(&bench);
			bench.start_us = -1;
			int64_t us = contenders[c].run(&bench);
			if (i >= 0)
				printf("{\"name\":\"%s\",\"us\":%lld,\"start_us\":%lld}\n", contenders[c].name, (long long)us,
					(long long)bench.start_us);
		}
	}
	sandbox_close(bench.sandbox);
	loop_timer_free(bench.timer);
	loop_free(bench.loop);
	free(bench.tree);
	return bench.failed ? 1 : 0;
}
