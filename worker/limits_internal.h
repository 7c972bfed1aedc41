// Shared by limits.c (what there is) and limits_group.c (one group); limits_own_group and limits_group_path also by tests.
#pragma once

#include "worker/limits.h"

struct limits {
	int version; // 0: none
	bool memory, processes;
	int own[LIMITS_GROUPS]; // the worker's own groups, below which boxes have theirs
	size_t count;
	int memory_at, processes_at, cpu_at; // index of the hierarchy; -1: none
	char *prefix;                        // of this worker's groups
	unsigned long made;
};

int limits_write(int folder, const char *name, const char *value) MUST_USE; // -1: errno
ssize_t limits_read(int folder, const char *name, char *text, size_t size);
int64_t limits_field(const char *text, const char *name); // "name number" at a line's start; -1: not there

// cgroups: text of /proc/self/cgroup; mounts: text of /proc/self/mountinfo; controller "": version 2. NULL: not there.
char *limits_own_group(const char *cgroups, const char *controller) MUST_USE;
char *limits_group_path(const char *mounts, const char *controller, const char *own) MUST_USE;
