// One box's group: made, bounded, read, killed, removed. And the sampler for what no group counts: the tree of processes below
// the box's pid 1, which is complete, because orphans of a pid namespace become its children.
#include "lib/loop.h"
#include "lib/mem.h"
#include "worker/limits_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define MET_BYTES    65536
#define SHARED_US    10000 // a look at shared memory
#define SHARED_PAUSE 20    // times as long as the look took

struct limits_group {
	struct limits *limits;
	char *name;
	int64_t tasks;           // its bound
	int64_t shared_again_us; // of the sampler: when it may look at shared memory again
	pid_t shared_from;       // and with whom it begins
	int folders[LIMITS_GROUPS], joins[LIMITS_GROUPS];
};

// ---- the group

static void free_group(struct limits_group *group) {
	for (size_t i = 0; i < LIMITS_GROUPS; i++) {
		if (group->folders[i] >= 0) close(group->folders[i]);
		if (group->joins[i] >= 0) close(group->joins[i]);
	}
	free(group->name);
	free(group);
}

static int make_folders(struct limits_group *group) {
	struct limits *limits = group->limits;
	for (size_t i = 0; i < limits->count; i++) {
		if (mkdirat(limits->own[i], group->name, 0755) != 0) return -1;
		group->folders[i] = openat(limits->own[i], group->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (group->folders[i] < 0) return -1;
		group->joins[i] = openat(group->folders[i], "cgroup.procs", O_WRONLY | O_CLOEXEC);
		if (group->joins[i] < 0) return -1;
	}
	return 0;
}

int limits_group_new(struct limits *limits, struct limits_group **group, struct error *error) {
	struct limits_group *made = mem_zalloc(sizeof(*made));
	made->limits = limits;
	made->name = mem_format("%s-%lu", limits->prefix, ++limits->made);
	for (size_t i = 0; i < LIMITS_GROUPS; i++) made->folders[i] = made->joins[i] = -1;
	if (make_folders(made) != 0) {
		(void)error_set_errno(error, ERROR_INTERNAL, errno, "limits: make control group %s", made->name);
		if (limits_group_remove(made) != 0) limits_group_abandon(made);
		return -1;
	}
	*group = made;
	return 0;
}

size_t limits_group_joins(const struct limits_group *group, int descriptors[LIMITS_GROUPS]) {
	for (size_t i = 0; i < group->limits->count; i++) descriptors[i] = group->joins[i];
	return group->limits->count;
}

static int set_number(int folder, const char *name, int64_t number) {
	char text[32];
	(void)snprintf(text, sizeof(text), "%" PRId64, number);
	return limits_write(folder, name, text);
}

// Swap: not every kernel accounts for it; where it does, the job gets none.
static int set_memory(const struct limits *limits, int folder, int64_t wall_bytes) {
	if (limits->version == 2) {
		(void)!limits_write(folder, "memory.swap.max", "0");
		return set_number(folder, "memory.max", wall_bytes);
	}
	if (set_number(folder, "memory.limit_in_bytes", wall_bytes) != 0) return -1;
	(void)!set_number(folder, "memory.memsw.limit_in_bytes", wall_bytes);
	return 0;
}

int limits_group_set(struct limits_group *group, int64_t wall_bytes, int64_t tasks, struct error *error) {
	const struct limits *limits = group->limits;
	group->tasks = tasks;
	if (limits->memory && set_memory(limits, group->folders[limits->memory_at], wall_bytes) != 0)
		return error_set_errno(error, ERROR_INTERNAL, errno, "limits: memory of %s", group->name);
	if (limits->processes && set_number(group->folders[limits->processes_at], "pids.max", tasks) != 0)
		return error_set_errno(error, ERROR_INTERNAL, errno, "limits: processes of %s", group->name);
	return 0;
}

int limits_group_remove(struct limits_group *group) {
	bool left = false;
	for (size_t i = 0; i < group->limits->count; i++)
		if (unlinkat(group->limits->own[i], group->name, AT_REMOVEDIR) != 0 && errno != ENOENT) left = true;
	if (left) return -1;
	free_group(group);
	return 0;
}

void limits_group_abandon(struct limits_group *group) {
	if (group) free_group(group);
}

// ---- what the group counts

static void read_group(const struct limits_group *group, struct limits_usage *usage) {
	const struct limits *limits = group->limits;
	char text[8192];
	if (limits->memory && limits_read(group->folders[limits->memory_at], "memory.stat", text, sizeof(text)) > 0)
		usage->memory_bytes = limits_field(text, limits->version == 2 ? "anon" : "rss");
	if (limits->processes && limits_read(group->folders[limits->processes_at], "pids.current", text, sizeof(text)) > 0)
		usage->tasks = strtoll(text, NULL, 10);
}

static int64_t read_number(int folder, const char *file) {
	char text[64];
	return limits_read(folder, file, text, sizeof(text)) > 0 ? strtoll(text, NULL, 10) : -1;
}

static int64_t read_count(int folder, const char *file, const char *name) {
	char text[1024];
	if (limits_read(folder, file, text, sizeof(text)) <= 0) return 0;
	int64_t count = limits_field(text, name);
	return count < 0 ? 0 : count;
}

// In version 1 the highest use tells: newer kernels leave memory.failcnt at 0. It is below the bound by what could not be charged,
// a few pages at most.
static bool met_memory(int folder, int version) {
	if (version == 2) return read_count(folder, "memory.events.local", "oom") > 0;
	int64_t bound = read_number(folder, "memory.limit_in_bytes"), most = read_number(folder, "memory.max_usage_in_bytes");
	return most >= bound - MET_BYTES;
}

// Without a peak (before Linux 6.1) the count of refusals has to be believed.
static bool met_tasks(int folder, int64_t bound) {
	int64_t peak = read_number(folder, "pids.peak");
	return peak < 0 || peak >= bound;
}

// oom_kill counts the victims in this group of any shortage, and before Linux 6.12 (in version 1 to this day) pids.events the forks
// in this group that any bound above it refused.
void limits_group_hits(const struct limits_group *group, struct limits_hits *hits) {
	const struct limits *limits = group->limits;
	*hits = (struct limits_hits){0};
	if (limits->memory) {
		int folder = group->folders[limits->memory_at];
		const char *events = limits->version == 2 ? "memory.events" : "memory.oom_control";
		int64_t kills = read_count(folder, events, "oom_kill");
		*(met_memory(folder, limits->version) ? &hits->oom_kills : &hits->foreign_kills) = kills;
	}
	if (limits->processes && met_tasks(group->folders[limits->processes_at], group->tasks))
		hits->refused_forks = read_count(group->folders[limits->processes_at], "pids.events", "max");
}

int64_t limits_group_cpu_us(const struct limits_group *group) {
	const struct limits *limits = group->limits;
	if (limits->cpu_at < 0) return -1;
	int folder = group->folders[limits->cpu_at];
	if (limits->version == 2) return read_count(folder, "cpu.stat", "usage_usec");
	int64_t used_ns = read_number(folder, "cpuacct.usage");
	return used_ns < 0 ? -1 : used_ns / 1000;
}

// ---- what the tree of processes shows

struct process {
	pid_t pid, parent;
	int64_t tasks;
	int64_t ticks; // own and of what it has reaped
	int64_t shared_bytes;
	bool inside;
};

// "pid (name) state ppid …"; the fields 14 to 17 are ticks of processor time, the 20th is the number of threads. The name may hold anything.
static bool read_process(int proc, const char *pid, struct process *process) {
	char path[64], text[1024];
	(void)snprintf(path, sizeof(path), "%s/stat", pid);
	if (limits_read(proc, path, text, sizeof(text)) <= 0) return false;
	const char *at = strrchr(text, ')');
	if (!at || strlen(at) < 4) return false;
	process->pid = (pid_t)strtol(pid, NULL, 10);
	process->parent = (pid_t)strtol(at + 4, NULL, 10);
	for (int field = 2; at && field < 20; field++) {
		at = strchr(at + 1, ' ');
		if (at && field >= 13 && field < 17) process->ticks += strtoll(at + 1, NULL, 10);
	}
	process->tasks = at ? strtoll(at + 1, NULL, 10) : 1;
	return true;
}

static struct process *read_processes(int proc, size_t *count) {
	struct process *list = NULL;
	size_t room = 0;
	*count = 0;
	int copy = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = copy < 0 ? NULL : fdopendir(copy);
	if (!folder) return NULL;
	for (struct dirent *entry; (entry = readdir(folder));) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
		if (*count == room) list = mem_resize(list, room = room ? room * 2 : 256, sizeof(*list));
		list[*count] = (struct process){0};
		if (read_process(proc, entry->d_name, &list[*count])) (*count)++;
	}
	closedir(folder);
	return list;
}

static int by_pid(const void *a, const void *b) {
	pid_t x = ((const struct process *)a)->pid, y = ((const struct process *)b)->pid;
	return (x > y) - (x < y);
}

static void mark_inside(struct process *list, size_t count, pid_t root) {
	qsort(list, count, sizeof(*list), by_pid);
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			if (list[i].inside) continue;
			const struct process key = {.pid = list[i].parent};
			const struct process *parent = bsearch(&key, list, count, sizeof(key), by_pid);
			list[i].inside = list[i].pid == root || (parent && parent->inside);
			more = more || list[i].inside;
		}
	}
}

static int64_t read_kb(const char *text, const char *name) {
	const char *at = strstr(text, name);
	return at ? strtoll(at + strlen(name), NULL, 10) * 1024 : 0;
}

// Each process's part of the shared memory that it has mapped: summed up it is the memory itself, once. The kernel walks the
// whole table of pages for it, so a job could keep the worker busy: there is a time for it, and then a pause. What was not come to
// is looked at first the next time; meanwhile the sum is too low, never too high.
static int64_t sum_shared(struct limits_group *group, int proc, const struct process *list, size_t count, int64_t most) {
	int64_t begun_us = loop_now_us(), now_us = begun_us, sum = 0;
	if (begun_us < group->shared_again_us) return 0;
	size_t first = 0;
	while (first < count && list[first].pid < group->shared_from) first++;
	for (size_t i = 0; i < count && sum <= most && now_us - begun_us < SHARED_US; i++) {
		const struct process *process = &list[(first + i) % count];
		char path[64], text[4096];
		group->shared_from = process->pid + 1;
		if (!process->inside || process->shared_bytes == 0) continue;
		(void)snprintf(path, sizeof(path), "%d/smaps_rollup", (int)process->pid);
		if (limits_read(proc, path, text, sizeof(text)) > 0) sum += read_kb(text, "\nPss_Shmem:");
		now_us = loop_now_us();
	}
	group->shared_again_us = now_us + SHARED_PAUSE * (now_us - begun_us);
	return sum;
}

// Anonymous memory of all, and shared memory once: by the process that has most of it mapped, since summed up a segment that a
// hundred processes share would count a hundred times. Where so much would be too much it is looked at more closely.
static int64_t read_memory(struct limits_group *group, int proc, struct process *list, size_t count, int64_t most_bytes) {
	int64_t anonymous = 0, shared = 0, sum = 0;
	for (size_t i = 0; i < count; i++) {
		char path[64], text[4096];
		if (!list[i].inside) continue;
		(void)snprintf(path, sizeof(path), "%d/status", (int)list[i].pid);
		if (limits_read(proc, path, text, sizeof(text)) <= 0) continue;
		anonymous += read_kb(text, "\nRssAnon:");
		list[i].shared_bytes = read_kb(text, "\nRssShmem:");
		sum += list[i].shared_bytes;
		if (list[i].shared_bytes > shared) shared = list[i].shared_bytes;
	}
	if (anonymous + shared <= most_bytes && anonymous + sum > most_bytes) {
		sum = sum_shared(group, proc, list, count, most_bytes - anonymous);
		if (sum > shared) shared = sum;
	}
	return anonymous + shared;
}

static void read_tree(struct limits_group *group, pid_t root, int64_t most_bytes, struct limits_usage *usage) {
	const struct limits *limits = group->limits;
	AUTO_CLOSE int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0) return;
	size_t count;
	AUTO_FREE struct process *list = read_processes(proc, &count);
	if (!list) return;
	mark_inside(list, count, root);
	if (!limits->memory) usage->memory_bytes = read_memory(group, proc, list, count, most_bytes);
	if (limits->processes) return;
	usage->tasks = 0;
	for (size_t i = 0; i < count; i++) usage->tasks += list[i].inside ? list[i].tasks : 0;
}

void limits_group_read(struct limits_group *group, pid_t tree, int64_t most_bytes, struct limits_usage *usage) {
	*usage = (struct limits_usage){.memory_bytes = -1, .tasks = -1};
	read_group(group, usage);
	if (tree > 0 && !(group->limits->memory && group->limits->processes)) read_tree(group, tree, most_bytes, usage);
}

int64_t limits_tree_cpu_us(pid_t tree) {
	AUTO_CLOSE int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t count;
	AUTO_FREE struct process *list = proc < 0 || tree <= 0 ? NULL : read_processes(proc, &count);
	if (!list) return -1;
	int64_t ticks = 0;
	mark_inside(list, count, tree);
	for (size_t i = 0; i < count; i++) ticks += list[i].inside ? list[i].ticks : 0;
	return ticks * (1000000 / sysconf(_SC_CLK_TCK));
}

// ---- open files

// The table of descriptors has at least as many places (FDSize, a power of two) as descriptors; it tells at once that a process
// has few.
static int64_t count_files(int proc, int pid, int64_t least) {
	char path[64], text[4096];
	struct stat info;
	(void)snprintf(path, sizeof(path), "%d/fd", pid);
	// Since Linux 6.2 the kernel counts.
	if (fstatat(proc, path, &info, 0) == 0 && info.st_size > 0) return info.st_size;
	(void)snprintf(path, sizeof(path), "%d/status", pid);
	const char *places = limits_read(proc, path, text, sizeof(text)) > 0 ? strstr(text, "\nFDSize:") : NULL;
	if (!places || strtoll(places + strlen("\nFDSize:"), NULL, 10) < least) return 0;
	(void)snprintf(path, sizeof(path), "%d/fd", pid);
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	int64_t count = 0;
	for (struct dirent *entry; folder && (entry = readdir(folder));) count += entry->d_name[0] != '.';
	if (folder) closedir(folder);
	return count;
}

static bool one_has_files(FILE *members, int proc, int64_t least) {
	int pid;
	while (members && fscanf(members, "%d", &pid) == 1)
		if (count_files(proc, pid, least) >= least) return true;
	return false;
}

bool limits_group_files(const struct limits_group *group, pid_t tree, int64_t least) {
	AUTO_CLOSE int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0) return false;
	if (group->limits->count > 0) {
		int fd = openat(group->folders[0], "cgroup.procs", O_RDONLY | O_CLOEXEC);
		AUTO_FCLOSE FILE *members = fd < 0 ? NULL : fdopen(fd, "r");
		return one_has_files(members, proc, least);
	}
	size_t count;
	AUTO_FREE struct process *list = tree > 0 ? read_processes(proc, &count) : NULL;
	if (!list) return false;
	mark_inside(list, count, tree);
	for (size_t i = 0; i < count; i++)
		if (list[i].inside && count_files(proc, list[i].pid, least) >= least) return true;
	return false;
}

// ---- the end

static void kill_members(const struct limits_group *group) {
	if (group->limits->version == 2 && limits_write(group->folders[0], "cgroup.kill", "1") == 0) return;
	int fd = openat(group->folders[0], "cgroup.procs", O_RDONLY | O_CLOEXEC);
	AUTO_FCLOSE FILE *members = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;
	while (members && fscanf(members, "%d", &pid) == 1)
		if (pid > 1) (void)kill(pid, SIGKILL);
}

static void kill_below(pid_t root) {
	AUTO_CLOSE int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0) return;
	size_t count;
	AUTO_FREE struct process *list = read_processes(proc, &count);
	if (!list) return;
	mark_inside(list, count, root);
	for (size_t i = 0; i < count; i++)
		if (list[i].inside && list[i].pid != root) (void)kill(list[i].pid, SIGKILL);
}

void limits_group_kill(const struct limits_group *group, pid_t tree) {
	if (tree > 0) kill_below(tree);
	if (group->limits->count > 0) kill_members(group);
}

bool limits_group_empty(const struct limits_group *group) {
	char text[16];
	return group->limits->count == 0 || limits_read(group->folders[0], "cgroup.procs", text, sizeof(text)) <= 0;
}
