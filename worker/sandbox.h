// Running one command on a tree, inside a box. The theory of operation (threat, mechanisms, order of steps, what each failure
// means) stands on top of sandbox.c.
//
//   worker -> trabajos-init launch (drops to the slot's uid, joins the cgroup, sets rlimits) -> bwrap -> trabajos-init (pid 1 of the
//   box: has the tree shown or copies it, runs the command, reaps, reports its wait status, ends the box)
#pragma once

#include "lib/error.h"
#include "lib/json.h"
#include "lib/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum sandbox_level { SANDBOX_FULL, SANDBOX_REDUCED, SANDBOX_NONE, SANDBOX_IMPOSSIBLE };
extern const char *const sandbox_level_names[]; // "full", "reduced", "none", NULL: the choices of WORKER_ISOLATION

struct sandbox_config {
	const char *init_program; // path of trabajos-init
	const char *dir;          // WORKER_DIR: the boxes' root and a copy of the init program are put there
	const char *trees; // absolute: a job whose tree lies below sees it by overlayfs, where that can be; NULL: copies only
	int slots;
	// Started by root: boxes run as uid_base + 1 to uid_base + 2 * slots, gid uid_base (two uids for each slot, in turn: the
	// next box is made while a job still runs); trabajos-fetch as uid_base. Else not used.
	uid_t uid_base;
	int64_t disk_bytes; // of most jobs: boxes of this size are made ready ahead of their jobs; 0: of the slot's last job
	enum sandbox_level weakest; // WORKER_ISOLATION
	bool egress;                // jobs may be given a way out
	const char *egress_deny;    // JOB_EGRESS_DENY; NULL: nothing
};

// What this machine can do: probed at open by really starting boxes and trying to break them.
struct sandbox;
// Succeeds also where the level is weaker than asked for; sandbox_level tells. Fails (with what is missing and how to get it)
// where nothing can be started at all.
int sandbox_open(
	struct loop *loop, const struct sandbox_config *config, struct sandbox **sandbox, struct error *error) MUST_USE;
void sandbox_close(struct sandbox *sandbox);
enum sandbox_level sandbox_level(const struct sandbox *sandbox);
const char *sandbox_missing(const struct sandbox *sandbox); // what is missing for `full` and how to get it; NULL: nothing
// Where egress was asked for and cannot be given: what is missing for it. NULL: it can, or was not asked for.
const char *sandbox_no_egress(const struct sandbox *sandbox);
json_t *sandbox_describe(const struct sandbox *sandbox)
	MUST_USE; // {"level","cgroup":"v1"|"v2"|null,"disk":"tmpfs","workspace":"overlay"|"copy","landlock":version|null,…}, new reference

struct sandbox_limits {
	int64_t memory_bytes, processes, disk_bytes, file_bytes;
	int64_t open_files; // of each process
	int64_t cpu_s;      // of all processes together; 0: no limit
};

struct sandbox_job {
	int slot;
	const char *tree;  // absolute path; the job writes to a view of its own
	char *const *argv; // NULL-terminated
	char *const *env;  // NULL-terminated; the whole environment but HOME and PATH, which the box sets where absent
	struct sandbox_limits limits;
	bool egress; // network policy; false: none
	// What is read from its tree when it has ended by itself, by its own uid and inside of its box.
	struct {
		char *const *globs; // NULL-terminated; NULL: nothing
		int64_t bytes, files;
		int pipe; // the frames of init/spec.h go there; the caller's, to be closed once the box has it (sandbox_start)
	} artifacts;
};

struct sandbox_report {
	// The command was started, or could not be executed, as a shell would say it: exit code 127 (not found on this worker) or
	// 126, and error (ERROR_INPUT) says why. false: nothing was run. Then error's kind is ERROR_INPUT where the tree itself is
	// at fault (too deep; with disk_hit: larger than the job's disk), else it is the platform's (outcome sandbox).
	bool ran;
	int exit_code;                                     // -1: ended by a signal
	int signal;                                        // 0: exited
	bool memory_hit, processes_hit, disk_hit, cpu_hit; // the limit was touched
	bool files_hit;                                    // a process had as many open files as it may have
	bool machine_memory;       // the kernel ended a process of it for memory, though the job was within its own
	bool shared;               // nothing was copied: overlayfs showed the tree
	bool collected;            // artifacts, if there were any: all was read
	int64_t peak_memory_bytes; // -1: unknown; the largest of 50 ms samples and of any single process
	int64_t cpu_us;            // of all its processes, where a group counts it; else of those that were reaped; -1: unknown
	int64_t workspace_us;      // from sandbox_start until the tree stood in its place; -1: it never did
	int64_t start_us, run_us;  // from sandbox_start to the command's exec; from there to its end
	struct error error;
};
void sandbox_report_clear(struct sandbox_report *report);

struct sandbox_run;
struct sandbox_handlers {
	// The command has ended, and its artifacts are being read, for a bounded time; may be NULL.
	void (*collecting)(void *arg);
	// Output as it comes (stream 1 or 2). Never blocks the job: the run reads always, what is too much is the callee's to drop.
	void (*output)(int stream, const char *data, size_t length, void *arg);
	// Once, at the end: everything the job started is dead, all output was given. What is left of the box itself (its pid 1,
	// its control group) goes by itself. The slot is free: done may start the next job in it. The run is freed after the
	// call. The report is valid during the call.
	void (*done)(const struct sandbox_report *report, void *arg);
	void *arg;
};
int sandbox_start(struct sandbox *sandbox, const struct sandbox_job *job, const struct sandbox_handlers *handlers,
	struct sandbox_run **run, struct error *error) MUST_USE;
void sandbox_terminate(struct sandbox_run *run); // SIGTERM to every process of the job
void sandbox_kill(struct sandbox_run *run);      // SIGKILL to the whole tree, at once; done follows
