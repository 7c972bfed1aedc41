// Which controllers there are, and where: /proc/self/cgroup names the worker's group in each hierarchy, /proc/self/mountinfo
// where each hierarchy is mounted and which of its folders the mount begins with.
//
// Version 2 has rules that version 1 has not: a group's children get a controller only when the group hands it down
// (cgroup.subtree_control), and it can do that only while no process is in it itself. So the worker moves into a child of its
// own group first. That is what a delegated group (systemd's Delegate=yes, a container) is for; where it is not allowed there
// are no groups.
#include "lib/mem.h"
#include "worker/limits_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>

#define PREFIX        "trabajos-"
#define STALE_TRIES   100
#define STALE_WAIT_MS 2

// ---- small files

int limits_write(int folder, const char *name, const char *value) {
	AUTO_CLOSE int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	size_t length = strlen(value);
	return write(fd, value, length) == (ssize_t)length ? 0 : -1;
}

ssize_t limits_read(int folder, const char *name, char *text, size_t size) {
	AUTO_CLOSE int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return -1;
	size_t length = 0;
	for (ssize_t part = 1; part > 0 && length<size - 1; length += part> 0 ? (size_t)part : 0)
		part = read(fd, text + length, size - 1 - length);
	text[length] = 0;
	return (ssize_t)length;
}

int64_t limits_field(const char *text, const char *name) {
	size_t length = strlen(name);
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		if (strncmp(line, name, length) == 0 && line[length] == ' ') return strtoll(line + length + 1, NULL, 10);
	}
	return -1;
}

static bool in_list(const char *list, const char *word, const char *separators) {
	size_t length = strlen(word);
	for (const char *at = list; *at;) {
		size_t part = strcspn(at, separators);
		if (part == length && strncmp(at, word, length) == 0) return true;
		at += part;
		at += strspn(at, separators);
	}
	return false;
}

// ---- where the worker's own groups are

// The group's path in the hierarchy that has this controller ("" as controller: version 2); owned by the caller.
char *limits_own_group(const char *cgroups, const char *controller) {
	for (const char *line = cgroups; *line;) {
		size_t length = strcspn(line, "\n");
		AUTO_FREE char *copy = mem_strndup(line, length);
		char *names = strchr(copy, ':');
		char *path = names ? strchr(names + 1, ':') : NULL;
		if (path) {
			*path++ = 0;
			names++;
			if (*controller ? in_list(names, controller, ",") : !*names) return mem_strdup(path);
		}
		line += length + (line[length] == '\n');
	}
	return NULL;
}

// mountinfo: "36 35 98:0 /root /mount/point options … - type source super-options".
static bool mount_matches(const char *line, const char *controller, char *root, char *point) {
	const char *dash = strstr(line, " - ");
	char type[32], super[512];
	if (!dash || sscanf(line, "%*s %*s %*s %511s %511s", root, point) != 2) return false;
	if (sscanf(dash + 3, "%31s %*s %511s", type, super) != 2) return false;
	if (!*controller) return strcmp(type, "cgroup2") == 0;
	return strcmp(type, "cgroup") == 0 && in_list(super, controller, ",");
}

char *limits_group_path(const char *mounts, const char *controller, const char *own) {
	for (const char *line = mounts; *line;) {
		size_t length = strcspn(line, "\n");
		AUTO_FREE char *copy = mem_strndup(line, length);
		char root[512], point[512];
		if (mount_matches(copy, controller, root, point)) {
			// A container's mount may begin with its own group; then the path below it is what remains.
			size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root);
			if (skip && strncmp(own, root, skip) != 0) return mem_strdup(point);
			const char *rest = own + skip;
			return mem_format(
				"%s%s%s", point, *rest == '/' || !*rest ? "" : "/", strcmp(rest, "/") == 0 ? "" : rest);
		}
		line += length + (line[length] == '\n');
	}
	return NULL;
}

static char *read_whole(const char *path) {
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	if (!file || getdelim(&text, &size, 0, file) < 0) {
		free(text);
		return mem_strdup("");
	}
	return text;
}

static int open_own(const char *cgroups, const char *mounts, const char *controller) {
	AUTO_FREE char *own = limits_own_group(cgroups, controller);
	AUTO_FREE char *path = own ? limits_group_path(mounts, controller, own) : NULL;
	return path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

// ---- groups of workers that are no more

static uint64_t start_time(int folder, const char *pid) {
	char path[64], text[1024];
	(void)snprintf(path, sizeof(path), "%s/stat", pid);
	if (limits_read(folder, path, text, sizeof(text)) <= 0) return 0;
	const char *at = strrchr(text, ')');
	// The fields behind the name begin with the third; the start time is the 22nd.
	for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static uint64_t pid_namespace(void) {
	struct stat info;
	return stat("/proc/self/ns/pid", &info) == 0 ? (uint64_t)info.st_ino : 0;
}

// Of a worker of this pid namespace that does not run any more.
static bool is_stale(int proc, const char *name) {
	uint64_t space, started;
	int pid;
	if (sscanf(name, PREFIX "%" SCNu64 "-%d-%" SCNu64 "-", &space, &pid, &started) != 3) return false;
	if (space != pid_namespace()) return false;
	char text[16];
	(void)snprintf(text, sizeof(text), "%d", pid);
	return start_time(proc, text) != started;
}

static void kill_members(int folder) {
	int fd = openat(folder, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	AUTO_FCLOSE FILE *members = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;
	while (members && fscanf(members, "%d", &pid) == 1)
		if (pid > 1) (void)kill(pid, SIGKILL);
}

// What the dead worker's death has not ended yet is killed; its end takes the kernel a moment.
static void remove_group(int own, const char *name) {
	AUTO_CLOSE int group = openat(own, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; group >= 0 && i < STALE_TRIES; i++) {
		if (unlinkat(own, name, AT_REMOVEDIR) == 0 || errno != EBUSY) return;
		if (limits_write(group, "cgroup.kill", "1") != 0) kill_members(group);
		(void)poll(NULL, 0, STALE_WAIT_MS);
	}
}

static void remove_stale(int own) {
	AUTO_CLOSE int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int copy = openat(own, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = copy < 0 ? NULL : fdopendir(copy);
	if (!folder) return;
	for (struct dirent *entry; (entry = readdir(folder));)
		if (is_stale(proc, entry->d_name)) remove_group(own, entry->d_name);
	closedir(folder);
}

// ---- which of them can be used

static bool may_make(int own) {
	return own >= 0 && faccessat(own, ".", W_OK, AT_EACCESS) == 0;
}

// -1: it is in none of the hierarchies that are used.
static int find_used(const struct limits *limits, int own) {
	struct stat info, used;
	for (size_t i = 0; i < limits->count; i++)
		if (fstat(own, &info) == 0 && fstat(limits->own[i], &used) == 0 && info.st_dev == used.st_dev) return (int)i;
	return -1;
}

// Takes *own, and returns its hierarchy's index: several controllers may stand in one, as "cpu" and "cpuacct" do on most machines.
static int use(struct limits *limits, int *own) {
	int at = find_used(limits, *own);
	if (at >= 0) return at;
	limits->own[limits->count] = steal_fd(own);
	return (int)limits->count++;
}

static void use_memory(struct limits *limits, int at) {
	limits->memory = true;
	limits->memory_at = at;
}

static void use_processes(struct limits *limits, int at) {
	limits->processes = true;
	limits->processes_at = at;
}

static void try_v1(struct limits *limits, const char *cgroups, const char *mounts) {
	static const char *const controllers[] = {"memory", "pids", "cpu", "cpuacct"};
	for (size_t i = 0; i < COUNT_OF(controllers); i++) {
		AUTO_CLOSE int own = open_own(cgroups, mounts, controllers[i]);
		if (!may_make(own)) continue;
		int at = use(limits, &own);
		if (i == 0) use_memory(limits, at);
		if (i == 1) use_processes(limits, at);
		if (i == 3) limits->cpu_at = at;
	}
	// The cpu controller alone is fairness, not a limit.
	if (limits->memory || limits->processes) limits->version = 1;
}

// The children of `own` shall have the controllers: all or none, by one write. With a process in the group the kernel refuses memory
// and takes the others, and the group then is one of threads, whose children no process can be moved to.
static int hand_down(int own, const char *controllers) {
	static const char *const wanted[] = {"memory", "pids", "cpu"};
	char text[64] = "";
	for (size_t i = 0, at = 0; i < COUNT_OF(wanted); i++)
		if (in_list(controllers, wanted[i], " \n"))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s+%s", at ? " " : "", wanted[i]);
	return limits_write(own, "cgroup.subtree_control", text) == 0 ? 0 : errno;
}

// The worker steps aside into a child of its own group; with `all`, whoever else is in it too.
static int step_aside(int own, bool all) {
	if (mkdirat(own, PREFIX "worker", 0755) != 0 && errno != EEXIST) return -1;
	AUTO_CLOSE int child = openat(own, PREFIX "worker", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (child < 0 || limits_write(child, "cgroup.procs", "0") != 0) return -1;
	int copy = all ? openat(own, "cgroup.procs", O_RDONLY | O_CLOEXEC) : -1;
	AUTO_FCLOSE FILE *members = copy < 0 ? NULL : fdopen(copy, "r");
	char pid[32];
	while (members && fscanf(members, "%31s", pid) == 1) (void)!limits_write(child, "cgroup.procs", pid);
	return 0;
}

// Root, in a group that it shares with others (a login's session): a group of our own at the top of the hierarchy.
static int open_top(const char *mounts, const char *controllers) {
	AUTO_FREE char *path = limits_group_path(mounts, "", "/");
	AUTO_CLOSE int top = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (!may_make(top) || (mkdirat(top, "trabajos", 0755) != 0 && errno != EEXIST)) return -1;
	if (hand_down(top, controllers) != 0) return -1;
	AUTO_CLOSE int group = openat(top, "trabajos", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return group >= 0 && hand_down(group, controllers) == 0 ? steal_fd(&group) : -1;
}

static void try_v2(struct limits *limits, const char *cgroups, const char *mounts) {
	AUTO_CLOSE int own = open_own(cgroups, mounts, "");
	char controllers[512];
	if (!may_make(own) || limits_read(own, "cgroup.controllers", controllers, sizeof(controllers)) < 0) return;
	bool memory = in_list(controllers, "memory", " \n"), processes = in_list(controllers, "pids", " \n");
	if (!memory && !processes) return;
	AUTO_FREE char *path = limits_own_group(cgroups, "");
	// The top of what can be seen: a container's own group, all of whose processes are ours to move.
	bool container = path && strcmp(path, "/") == 0;
	int failed = memory || container ? hand_down(own, controllers) : EBUSY;
	if (failed == EBUSY && step_aside(own, container) == 0) failed = hand_down(own, controllers);
	if (failed) {
		close(own);
		own = open_top(mounts, controllers);
		if (own < 0) return;
	}
	limits->version = 2;
	limits->cpu_at = use(limits, &own); // every group of version 2 counts it
	if (memory) use_memory(limits, limits->cpu_at);
	if (processes) use_processes(limits, limits->cpu_at);
}

const char *limits_kind(const struct limits *limits) {
	return limits->version == 2 ? "v2" : limits->version == 1 ? "v1" : NULL;
}

bool limits_memory(const struct limits *limits) {
	return limits->memory;
}

bool limits_processes(const struct limits *limits) {
	return limits->processes;
}

bool limits_cpu(const struct limits *limits) {
	return limits->cpu_at >= 0;
}

const char *limits_why(const struct limits *limits) {
	if (limits->memory && limits->processes) return NULL;
	if (limits->version)
		return "this machine's control groups lack memory or pids (see cgroup_disable= on the kernel's command line): where it "
		       "is memory, a sampler bounds it, which is no wall against a hostile job";
	return "the worker may not make control groups below its own: memory and processes are bounded by rlimits and by a sampler, "
	       "which is no wall against a hostile job: shared pages that it has touched and let go of are counted nowhere (systemd: Delegate=yes in the unit; containers: cgroupns and a writable /sys/fs/cgroup; or start the worker as root)";
}

static void close_all(struct limits *limits) {
	for (size_t i = 0; i < limits->count; i++) close(limits->own[i]);
	limits->count = 0;
	limits->cpu_at = -1;
}

struct limits *limits_open(void) {
	struct limits *limits = mem_zalloc(sizeof(*limits));
	AUTO_FREE char *cgroups = read_whole("/proc/self/cgroup");
	AUTO_FREE char *mounts = read_whole("/proc/self/mountinfo");
	limits->memory_at = limits->processes_at = limits->cpu_at = -1;
	try_v1(limits, cgroups, mounts);
	if (!limits->version) {
		close_all(limits);
		try_v2(limits, cgroups, mounts);
	}
	for (size_t i = 0; i < limits->count; i++) remove_stale(limits->own[i]);
	AUTO_CLOSE int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	limits->prefix = mem_format(PREFIX "%" PRIu64 "-%d-%" PRIu64, pid_namespace(), (int)getpid(), start_time(proc, "self"));
	return limits;
}

void limits_close(struct limits *limits) {
	if (!limits) return;
	close_all(limits);
	free(limits->prefix);
	free(limits);
}
