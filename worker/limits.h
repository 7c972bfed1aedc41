// Limits over a whole box: a control group (version 1 or 2) where the machine gives one, and what is read from it or, without
// one, summed up over the tree of processes.
//
// Groups are made below the worker's own, one a box, and carry the worker's process id, start time and pid namespace in their
// names, so that a later worker can remove those of one that was killed.
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LIMITS_GROUPS 4 // folders of a group at most: memory, pids, cpu, cpuacct in version 1; one in version 2

struct limits;
// Never fails: where no group can be made, limits_kind says so and limits_why why.
struct limits *limits_open(void) MUST_USE;
void limits_close(struct limits *limits);
const char *limits_kind(const struct limits *limits); // "v1", "v2", NULL
bool limits_memory(const struct limits *limits);      // whether a group bounds memory, processes
bool limits_processes(const struct limits *limits);
bool limits_cpu(const struct limits *limits);        // whether a group counts processor time
const char *limits_why(const struct limits *limits); // what is missing and how to get it; NULL: nothing

struct limits_group;
// An empty group without bounds yet. Without control groups: a group of no folders, whose functions do nothing.
int limits_group_new(struct limits *limits, struct limits_group **group, struct error *error) MUST_USE;
// Descriptors of its cgroup.procs files (close-on-exec), for the process that writes "0" to each to join; the group's own.
size_t limits_group_joins(const struct limits_group *group, int descriptors[LIMITS_GROUPS]);
// wall_bytes: memory and file pages together, swap included; tasks: processes and threads.
int limits_group_set(struct limits_group *group, int64_t wall_bytes, int64_t tasks, struct error *error) MUST_USE;

struct limits_usage {
	int64_t memory_bytes; // anonymous memory; -1: unknown
	int64_t tasks;        // processes and threads; -1: unknown
};
// tree: the box's pid 1 seen from here, for what no group counts; 0: not known yet. most_bytes: memory is looked at more closely
// where it may be more.
void limits_group_read(struct limits_group *group, pid_t tree, int64_t most_bytes, struct limits_usage *usage);
// Processor time of all that ever was in the group; -1: no group counts it.
int64_t limits_group_cpu_us(const struct limits_group *group);
// Processor time of everything that lives below `tree`, it included, and of all that they have reaped; -1: unknown. What nobody
// reaps (SIGCHLD ignored) is in it as long as it lives only. Reads all of /proc: not for often.
int64_t limits_tree_cpu_us(pid_t tree);
// Whether a process of it, or of what lives below `tree` where there are no groups, has at least as many descriptors now.
bool limits_group_files(const struct limits_group *group, pid_t tree, int64_t least);
// So far; 0 where no group counts them. A group's counters also tell what others have done to it: the machine, and the groups above.
struct limits_hits {
	int64_t oom_kills;     // processes that the kernel killed for memory, the group's own bound having been met
	int64_t foreign_kills; // for memory too, but the group's own bound never was
	int64_t refused_forks; // for the group's own bound
};
void limits_group_hits(const struct limits_group *group, struct limits_hits *hits);
// Kills all that is in it, and all below `tree` (0: nothing) but itself. New ones may have come meanwhile: repeat until
// limits_group_empty.
void limits_group_kill(const struct limits_group *group, pid_t tree);
bool limits_group_empty(const struct limits_group *group); // true where there are no control groups
// 0: gone and freed; -1: something still lives in it, try again.
int limits_group_remove(struct limits_group *group) MUST_USE;
void limits_group_abandon(struct limits_group *group); // frees it, and leaves the folders to a later worker
