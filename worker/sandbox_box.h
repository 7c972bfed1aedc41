// One box, from the start of its processes to its removal; what runs in it is sandbox_run.c's and probe.c's affair. Nothing
// here blocks but box_spawn, for as long as a vfork takes.
#pragma once

#include "lib/error.h"
#include "worker/init/spec.h"
#include "worker/limits.h"
#include "worker/sandbox.h"
#include "worker/sandbox_root.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define EGRESS_FILE "egress.nft" // in the root's folder

// What is the same for all boxes of a worker.
struct box_maker {
	enum sandbox_level level;
	char *bwrap; // path; NULL at level none
	struct sandbox_root root;
	struct limits *limits;
	int filter;      // memfd of the system call filter
	char *trees;     // absolute; whose trees overlayfs shows in the boxes instead of a copy; NULL: all are copied
	char *rules;     // file of the packet filter of jobs that have egress; NULL: none can have it
	char *deny;      // what the operator refuses beside
	char *unshared;  // why not; NULL: they are shared, or nothing is known against it
	uid_t uid_base;  // (uid_t)-1: boxes run as the worker's own uid
	bool uid_counts; // RLIMIT_NPROC would count others' processes (an old kernel and a shared uid): not set
	int landlock;    // its version, as the probe's box said; 0: none
	int no_landlock; // errno: why there is none; 0: the version is too old, or the level is none
};

struct box {
	pid_t pid; // bubblewrap (level none: trabajos-init), a child of the worker
	int pidfd;
	pid_t init_pid; // pid 1 of the box, seen from here; 0: not known yet
	int init_pidfd;
	int socket, out, err; // the worker's ends, non-blocking; -1: closed
	struct limits_group *group;
	int place; // its uid, and its folder at level none: two for each slot
	int64_t disk_bytes;
	char *complaint; // what bubblewrap said; NULL: nothing
	char line[SPEC_LINE_MAX];
	size_t line_length;
	bool bare, reaped;
	int kills;           // how often it was to be killed
	struct rusage usage; // of all its processes, once reaped
};

enum box_event_kind {
	BOX_READY,
	BOX_COPIED,
	BOX_SHARED,
	BOX_UNSHARED,
	BOX_STARTED,
	BOX_REFUSED,
	BOX_FAILED,
	BOX_ENDED,
	BOX_COLLECTED
};
struct box_event {
	enum box_event_kind kind;
	int64_t at_us;                // COPIED, SHARED, STARTED, ENDED: CLOCK_MONOTONIC
	int landlock;                 // READY: the kernel's version; 0: none
	int number;                   // REFUSED, FAILED, UNSHARED: errno; READY: why there is no Landlock
	bool tree;                    // FAILED: the tree's fault
	char what[1024];              // REFUSED, FAILED, UNSHARED
	int status;                   // ENDED: wait status of the command
	int64_t cpu_us, maxrss_bytes; // ENDED
	bool disk_full, files_full;   // ENDED
	bool collecting;              // ENDED: COLLECTED follows
};

int box_spawn(const struct box_maker *maker, int place, int64_t disk_bytes, struct box *box, struct error *error) MUST_USE;
// Sets the bounds and hands the job over; a box takes one.
int box_send(const struct box_maker *maker, struct box *box, const struct sandbox_job *job, struct error *error) MUST_USE;
int box_write_rules(const struct box_maker *maker, struct error *error) MUST_USE;
// The next event that has arrived: 1; 0: none yet; -1: the stream has ended.
int box_read(struct box *box, struct box_event *event);
void box_terminate(struct box *box); // SIGTERM to the job's processes
void box_kill(struct box *box);      // SIGKILL to the whole box: by its pid 1 the first time, then by the kernel
// Whether nothing of the box is left but its control group: both of its processes have ended. Reaps.
bool box_over(struct box *box);
// Closes and frees; 0: the control group is gone too; -1: not yet, try again (the rest has been freed).
int box_clear(struct box *box) MUST_USE;
void box_abandon(struct box *box);
