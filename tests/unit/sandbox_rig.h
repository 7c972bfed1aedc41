// For the tests of the sandbox: one sandbox over a loop and a folder of its own, jobs run one by one, and "attacks": functions
// of the test program itself, which goes into the tree and is executed inside of the box (`attack NAME`).
#pragma once

#include "lib/loop.h"
#include "lib/mem.h"
#include "worker/sandbox.h"
#include "worker/sandbox_internal.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RIG_MB       (INT64_C(1) << 20)
#define RIG_UID_BASE 61000

struct attack {
	const char *name;
	int (*fn)(void);
};

struct rig {
	struct loop *loop;
	struct sandbox *sandbox;
	char dir[64], tree[80];
};

struct rig_job {
	const char *const *argv; // NULL-terminated
	const char *const *env;  // NULL: none
	const char *tree;        // NULL: the rig's
	struct sandbox_limits limits;
	int slot;
	bool egress;
	const char *awaited;       // what the times below begin with: it is in the output; NULL: the start of the box
	int terminate_ms, kill_ms; // 0: never
	struct {
		const char *const *globs; // NULL: none are collected
		int64_t bytes, files;
		int pipe; // closed once the box has it
	} artifacts;
};

struct rig_result {
	struct sandbox_report report; // error owned
	char *out, *err;              // at most RIG_KEEP bytes of each, NUL-terminated
	size_t kept[2];
	uint64_t total[2];
	bool done;
	int64_t took_us;
	struct loop *loop;
	struct sandbox_run *run;
	int64_t begun_us;
	struct rig_ends *ends; // NULL: it ends by itself, or the times run already
};

struct rig_ends {
	const struct rig_job *job;
	struct loop_timer *terminate, *kill;
};

#define RIG_KEEP (size_t)(4 << 20)

static inline char *rig_init_program(void) {
	static const char *const places[] = {"../../../bin/trabajos-init", "../bin/trabajos-init"};
	if (getenv("TRABAJOS_INIT")) return mem_strdup(getenv("TRABAJOS_INIT"));
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(length > 0);
	self[length] = 0;
	*strrchr(self, '/') = 0;
	for (size_t i = 0; i < COUNT_OF(places); i++) {
		AUTO_FREE char *path = mem_format("%s/%s", self, places[i]);
		char *real = realpath(path, NULL);
		if (real) return real;
	}
	fail_msg("trabajos-init is not built");
	return NULL;
}

static inline void rig_copy_file(const char *from, const char *to, mode_t mode) {
	AUTO_CLOSE int in = open(from, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(in >= 0 && out >= 0);
	static char buffer[1 << 16];
	for (ssize_t length; (length = read(in, buffer, sizeof(buffer))) > 0;)
		assert_int_equal(write(out, buffer, (size_t)length), length);
	assert_int_equal(fchmod(out, mode), 0);
}

static inline void rig_write(const char *folder, const char *name, const char *text, mode_t mode) {
	AUTO_FREE char *path = mem_format("%s/%s", folder, name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
}

static inline void rig_remove(const char *path) {
	const char *const argv[] = {"rm", "-rf", "--", path, NULL};
	char *none[] = {NULL};
	pid_t pid;
	if (posix_spawn(&pid, "/bin/rm", NULL, NULL, (char *const *)(uintptr_t)argv, none) == 0) (void)waitpid(pid, NULL, 0);
}

static inline void rig_make_folder(struct rig *rig) {
	*rig = (struct rig){.loop = NULL};
	(void)snprintf(rig->dir, sizeof(rig->dir), "/tmp/trabajos-box-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	assert_int_equal(chmod(rig->dir, 0711), 0);
	(void)snprintf(rig->tree, sizeof(rig->tree), "%s/tree", rig->dir);
	assert_int_equal(mkdir(rig->tree, 0755), 0);
	AUTO_FREE char *attack = mem_format("%s/attack", rig->tree);
	rig_copy_file("/proc/self/exe", attack, 0755);
}

// An emulator may be too slow for the worker's own bound of a probe, and would seem to offer less than the machine does.
static inline void rig_probe(struct rig *rig, const struct sandbox_config *config) {
	for (int tries = 1;; tries++) {
		struct error error = {0};
		if (sandbox_open(rig->loop, config, &rig->sandbox, &error) != 0) fail_msg("%s", error_text(&error));
		const char *missing = sandbox_missing(rig->sandbox);
		if (!missing || !strstr(missing, "did not end within") || !getenv("TEST_PATIENCE") || tries == 3) return;
		sandbox_close(STEAL(rig->sandbox));
	}
}

static inline void rig_open_sandbox(struct rig *rig, enum sandbox_level weakest) {
	rig->loop = loop_new();
	AUTO_FREE char *init = rig_init_program();
	const struct sandbox_config config = {.init_program = init,
		.dir = rig->dir,
		.trees = rig->dir,
		.slots = 2,
		.uid_base = RIG_UID_BASE,
		.disk_bytes = 64 * RIG_MB,
		.weakest = weakest};
	rig_probe(rig, &config);
}

static inline void rig_open(struct rig *rig, enum sandbox_level weakest) {
	rig_make_folder(rig);
	rig_open_sandbox(rig, weakest);
}

static inline void rig_close(struct rig *rig) {
	sandbox_close(rig->sandbox);
	loop_free(rig->loop);
	rig_remove(rig->dir);
}

// tests/unit/not_offered.txt has to excuse it.
static inline void rig_not_offered(const struct rig *rig, enum sandbox_level level, const char *what) {
	const char *missing = sandbox_missing(rig->sandbox);
	print_message("not offered here: level %s, for: %s: %.*s\n", sandbox_level_names[level], what,
		missing ? (int)strcspn(missing, "\n") : 0, missing ? missing : "");
}

// The strongest tests need the strongest box; where the machine has none, they say what is missing.
#define rig_require(rig, level) rig_require_for(rig, level, __func__)
static inline void rig_require_for(const struct rig *rig, enum sandbox_level level, const char *what) {
	if (sandbox_level(rig->sandbox) <= level) return;
	rig_not_offered(rig, level, what);
	skip();
}

static inline void rig_throw_spares_away(struct rig *rig) {
	for (int i = 0; i < rig->sandbox->slot_count; i++) {
		struct sandbox_slot *slot = &rig->sandbox->slots[i];
		if (slot->spare) cell_leave(slot->spare);
		slot->spare = NULL;
	}
}

// An emulated machine (dev/virtual-machine) is many times as slow.
static inline int rig_patience_ms(void) {
	const char *times = getenv("TEST_PATIENCE");
	return 60000 * (times ? (int)strtol(times, NULL, 10) : 1);
}

static inline void rig_run_loop_ms(struct rig *rig, int ms) {
	struct loop_timer *timer = loop_timer_new(rig->loop, (void (*)(void *))loop_stop, rig->loop);
	loop_timer_set(timer, ms);
	loop_run(rig->loop);
	loop_timer_free(timer);
}

// The slot's next box has been made, and its pid 1 waits for a job. false: within the patience of a job there was none.
static inline bool rig_spare_is_ready(struct rig *rig, int slot) {
	const struct sandbox_slot *place = &rig->sandbox->slots[slot];
	for (int waited = 0; waited < rig_patience_ms(); waited += 5) {
		if (place->spare && (place->spare->box.init_pid || place->spare->box.bare)) return true;
		rig_run_loop_ms(rig, 5);
	}
	return false;
}

// As if overlayfs could not show trees, from the next box on.
static inline void rig_copy_trees(struct rig *rig) {
	free(STEAL(rig->sandbox->maker.trees));
	rig_throw_spares_away(rig);
}

// As if the probe had found no better one.
static inline void rig_force(struct rig *rig, enum sandbox_level level) {
	rig_throw_spares_away(rig);
	rig->sandbox->maker.level = level;
	rig->sandbox->maker.uid_counts = level == SANDBOX_NONE && rig->sandbox->maker.uid_base == (uid_t)-1;
}

static inline void rig_set_ends(const struct rig_ends *ends) {
	if (ends->job->terminate_ms) loop_timer_set(ends->terminate, ends->job->terminate_ms);
	if (ends->job->kill_ms) loop_timer_set(ends->kill, ends->job->kill_ms);
}

static inline void rig_output(int stream, const char *data, size_t length, void *arg) {
	struct rig_result *result = arg;
	char *text = stream == 1 ? result->out : result->err;
	size_t *kept = &result->kept[stream - 1];
	result->total[stream - 1] += length;
	if (length > RIG_KEEP - *kept) length = RIG_KEEP - *kept;
	memcpy(text + *kept, data, length);
	*kept += length;
	text[*kept] = 0;
	if (!result->ends || !strstr(text, result->ends->job->awaited)) return;
	rig_set_ends(result->ends);
	result->ends = NULL;
}

static inline void rig_done(const struct sandbox_report *report, void *arg) {
	struct rig_result *result = arg;
	result->report = *report;
	result->report.error.message = mem_strdup(report->error.message);
	result->took_us = loop_now_us() - result->begun_us;
	result->done = true;
	loop_stop(result->loop);
}

static inline void rig_terminate(void *arg) {
	struct rig_result *result = arg;
	if (!result->done) sandbox_terminate(result->run);
}

static inline void rig_kill(void *arg) {
	struct rig_result *result = arg;
	if (!result->done) sandbox_kill(result->run);
}

static inline void rig_too_long(void *arg) {
	(void)arg;
	fail_msg("the job did not end");
}

#define RIG_OPEN_FILES 256

static inline struct sandbox_limits rig_limits(void) {
	return (struct sandbox_limits){.memory_bytes = 128 * RIG_MB,
		.processes = 32,
		.disk_bytes = 64 * RIG_MB,
		.file_bytes = 48 * RIG_MB,
		.open_files = RIG_OPEN_FILES};
}

static inline void rig_run_job(struct rig *rig, const struct rig_job *job, struct rig_result *result) {
	static const char *const no_env[] = {NULL};
	*result = (struct rig_result){.loop = rig->loop, .out = mem_zalloc(RIG_KEEP + 1), .err = mem_zalloc(RIG_KEEP + 1)};
	const struct sandbox_job boxed = {.slot = job->slot,
		.tree = job->tree ? job->tree : rig->tree,
		.argv = (char *const *)(uintptr_t)job->argv,
		.env = (char *const *)(uintptr_t)(job->env ? job->env : no_env),
		.egress = job->egress,
		.limits = job->limits.memory_bytes ? job->limits : rig_limits(),
		.artifacts = {.globs = (char *const *)(uintptr_t)job->artifacts.globs,
			.bytes = job->artifacts.bytes,
			.files = job->artifacts.files,
			.pipe = job->artifacts.pipe}};
	const struct sandbox_handlers handlers = {.output = rig_output, .done = rig_done, .arg = result};
	struct error error = {0};
	result->begun_us = loop_now_us();
	if (sandbox_start(rig->sandbox, &boxed, &handlers, &result->run, &error) != 0) fail_msg("%s", error_text(&error));
	if (job->artifacts.globs) close(job->artifacts.pipe);
	struct rig_ends ends = {.job = job,
		.terminate = loop_timer_new(rig->loop, rig_terminate, result),
		.kill = loop_timer_new(rig->loop, rig_kill, result)};
	if (job->awaited)
		result->ends = &ends;
	else
		rig_set_ends(&ends);
	struct loop_timer *too_long = loop_timer_new(rig->loop, rig_too_long, NULL);
	loop_timer_set(too_long, rig_patience_ms());
	// Another job of the test may stop the loop by its own end.
	while (!result->done) loop_run(rig->loop);
	result->ends = NULL;
	loop_timer_free(ends.terminate);
	loop_timer_free(ends.kill);
	loop_timer_free(too_long);
}

static inline void rig_result_clear(struct rig_result *result) {
	free(result->out);
	free(result->err);
	sandbox_report_clear(&result->report);
}

#define AUTO_RESULT __attribute__((cleanup(rig_result_clear)))

static inline void rig_shell(struct rig *rig, const char *script, struct rig_result *result) {
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	const struct rig_job job = {.argv = argv};
	rig_run_job(rig, &job, result);
}

// The attack's own exit code is 0 where it achieved nothing; else it has said what.
static inline void rig_attack(struct rig *rig, const char *name, struct rig_result *result) {
	const char *const argv[] = {"./attack", "attack", name, NULL};
	static const char *const env[] = {"ASAN_OPTIONS=detect_leaks=0", NULL};
	const struct rig_job job = {.argv = argv, .env = env};
	rig_run_job(rig, &job, result);
}

static inline void rig_attack_fails(struct rig *rig, const char *name) {
	AUTO_RESULT struct rig_result result;
	rig_attack(rig, name, &result);
	if (!result.report.ran || result.report.exit_code != 0)
		fail_msg("%s: exit %d, signal %d: %s%s%s", name, result.report.exit_code, result.report.signal, result.out,
			result.err, error_text(&result.report.error));
}

static inline int rig_main_attack(const struct attack *attacks, size_t count, const char *name) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(attacks[i].name, name) == 0) return attacks[i].fn();
	return 99;
}

// Processes of the host whose command line holds the text.
static inline int rig_count_processes(const char *text) {
	DIR *proc = opendir("/proc");
	int found = 0;
	for (struct dirent *entry; (entry = readdir(proc));) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || strtol(entry->d_name, NULL, 10) == getpid()) continue;
		AUTO_FREE char *path = mem_format("/proc/%s/cmdline", entry->d_name);
		AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
		char line[4096];
		ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
		if (length <= 0) continue;
		for (ssize_t i = 0; i < length; i++) line[i] = line[i] ? line[i] : ' ';
		line[length] = 0;
		found += strstr(line, text) != NULL;
	}
	closedir(proc);
	return found;
}
