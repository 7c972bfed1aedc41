// Workers as processes on this machine, each with a folder of its own (SCALE_LOCAL_DIR/worker-N), the observer's environment and its
// standard error. They are no children that depend on the observer: they go on when it ends, however it ends, and the next one finds
// them by their environment, in /proc. No file says what runs, so that none can be wrong.
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "observer/fleet.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define PROGRAM       "trabajos-worker"
#define STEADY_MS     60000 // who lived so long did not fail at its start
#define BACKOFF_MS    60000
#define LEAVE_MS      60000  // nothing runs on who was told to end: it has this long
#define REMEMBERED_MS 600000 // the ended ones, whose rows may live on in the ledger
#define REMEMBERED    256
#define ENVIRON_BYTES 1048576

struct process {
	LIST_ENTRY(process) entry;
	struct local *local;
	int64_t number, pid, begun_ms, told_ms; // told_ms: when it was told to end; 0: it was not
	int pidfd;
	struct loop_fd *watch;
};

struct local {
	struct loop *loop;
	struct fleet *fleet;
	char *dir, *program, host[FLEET_NAME];
	LIST_HEAD(, process) processes;
	struct {
		int64_t pid, at_ms;
	} ended[REMEMBERED];
	size_t ended_next;
	unsigned failures;
	int64_t start_not_before_ms;
	char *failure; // of the last one that ended by itself, until the fleet was told
};

// ---- processes

static void forget(struct process *process) {
	loop_fd_remove(process->watch);
	close(process->pidfd);
	LIST_REMOVE(process, entry);
	free(process);
}

static void note_failure(struct process *process, const siginfo_t *info, bool known) {
	struct local *local = process->local;
	int64_t lived_ms = loop_now_ms() - process->begun_ms;
	if (lived_ms >= STEADY_MS) local->failures = 0;
	int64_t pause_ms = lifecycle_backoff_ms(local->failures++, 1000, BACKOFF_MS);
	local->start_not_before_ms = loop_now_ms() + pause_ms;
	free(local->failure);
	AUTO_FREE char *how =
		!known ? mem_strdup("")
		       : mem_format(info->si_code == CLD_EXITED ? " with exit code %d" : " by signal %d", info->si_status);
	local->failure = mem_format("worker-%lld ended by itself%s after %lld s; its log says why", (long long)process->number,
		how, (long long)lived_ms / 1000);
	log_warn(log_m("a worker ended by itself"), log_i("number", process->number), log_i("pid", process->pid),
		log_s("how", local->failure), log_i("pause_ms", pause_ms));
}

static void ended(uint32_t events, void *arg) {
	struct process *process = arg;
	struct local *local = process->local;
	(void)events;
	siginfo_t info = {0};
	bool known =
		waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED) == 0; // not ours, if an observer before us started it
	local->ended[local->ended_next].pid = process->pid;
	local->ended[local->ended_next].at_ms = loop_now_ms();
	local->ended_next = (local->ended_next + 1) % REMEMBERED;
	if (process->told_ms || (known && info.si_code == CLD_EXITED && info.si_status == 0)) {
		log_info(log_m("a worker has ended"), log_i("number", process->number), log_i("pid", process->pid));
	} else {
		note_failure(process, &info, known);
	}
	forget(process);
}

static int watch(struct local *local, int64_t number, pid_t pid, struct error *error) {
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) return error_set_errno(error, ERROR_INTERNAL, errno, "pidfd_open of worker-%lld", (long long)number);
	struct process *process = mem_zalloc(sizeof *process);
	*process = (struct process){.local = local, .number = number, .pid = pid, .begun_ms = loop_now_ms(), .pidfd = pidfd};
	process->watch = loop_fd_add(local->loop, pidfd, EPOLLIN, ended, process);
	LIST_INSERT_HEAD(&local->processes, process, entry);
	return 0;
}

static struct process *find(struct local *local, int64_t number) {
	struct process *process;
	LIST_FOREACH(process, &local->processes, entry) {
		if (process->number == number) return process;
	}
	return NULL;
}

static void send_signal(const struct process *process, int signal) {
	(void)syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0U);
}

// ---- those that an observer before us started

static char *read_proc(pid_t pid, const char *file, size_t *length) {
	AUTO_FREE char *path = mem_format("/proc/%d/%s", (int)pid, file);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return NULL;
	char *text = mem_zalloc(ENVIRON_BYTES + 1);
	size_t used = 0;
	for (ssize_t got; used < ENVIRON_BYTES && (got = read(fd, text + used, ENVIRON_BYTES - used)) > 0;) used += (size_t)got;
	*length = used;
	return text;
}

// Another user's process could say of itself what it likes.
static bool is_ours(pid_t pid) {
	AUTO_FREE char *path = mem_format("/proc/%d", (int)pid);
	struct stat info;
	return stat(path, &info) == 0 && info.st_uid == geteuid();
}

// The number of the worker of ours that this process is; 0: it is none.
static int64_t number_of(const struct local *local, pid_t pid) {
	size_t length = 0;
	if (!is_ours(pid)) return 0;
	AUTO_FREE char *name = read_proc(pid, "comm", &length);
	if (!name || strcmp(name, PROGRAM "\n") != 0) return 0;
	AUTO_FREE char *environment = read_proc(pid, "environ", &length);
	AUTO_FREE char *wanted = mem_format("WORKER_DIR=%s/worker-", local->dir);
	for (size_t at = 0; environment && at < length; at += strlen(environment + at) + 1) {
		if (strncmp(environment + at, wanted, strlen(wanted)) != 0) continue;
		return strtoll(environment + at + strlen(wanted), NULL, 10);
	}
	return 0;
}

// Between fork and exec a child of a worker looks like it.
static bool is_child_of_one(const struct local *local, pid_t pid) {
	size_t length = 0;
	int parent = 0;
	AUTO_FREE char *text = read_proc(pid, "stat", &length);
	const char *behind_name = text ? strrchr(text, ')') : NULL;
	return behind_name && sscanf(behind_name, ") %*c %d", &parent) == 1 && number_of(local, parent) > 0;
}

static void adopt(struct local *local) {
	DIR *proc = opendir("/proc");
	for (struct dirent *entry; proc && (entry = readdir(proc));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		int64_t number = pid > 0 ? number_of(local, pid) : 0;
		if (number <= 0 || find(local, number) || is_child_of_one(local, pid)) continue;
		if (watch(local, number, pid, NULL) != 0) continue;
		log_info(log_m("a worker of an observer before this one goes on"), log_i("number", number), log_i("pid", pid));
	}
	if (proc) closedir(proc);
}

// ---- starting one

#define UID_BASE   61000 // the worker's own default
#define UIDS_EACH  192   // more than a worker can have slots
#define UID_NOBODY 65534

// Started by root, each worker has uids of its own for its jobs, so that they are strangers to those of the others.
static char *uid_base_for(int64_t number) {
	const char *given = getenv("WORKER_UID_BASE");
	int64_t base = (given && *given ? strtoll(given, NULL, 10) : UID_BASE) + (number - 1) * UIDS_EACH;
	if (base + UIDS_EACH > UID_NOBODY) base += 2 * UIDS_EACH;
	return mem_format("WORKER_UID_BASE=%lld", (long long)base);
}

static char **environment_for(const char *dir, int64_t number) {
	size_t count = 0, kept = 0;
	while (environ[count]) count++;
	char **copy = mem_zalloc_array(count + 3, sizeof *copy);
	for (size_t i = 0; i < count; i++) {
		// One address cannot be served by many.
		if (strncmp(environ[i], "WORKER_DIR=", 11) == 0 || strncmp(environ[i], "METRICS_LISTEN=", 15) == 0 ||
			strncmp(environ[i], "WORKER_UID_BASE=", 16) == 0)
			continue;
		copy[kept++] = mem_strdup(environ[i]);
	}
	copy[kept++] = mem_format("WORKER_DIR=%s", dir);
	copy[kept] = uid_base_for(number);
	return copy;
}

static void environment_free(char **environment) {
	for (char **each = environment; *each; each++) free(*each);
	free(environment);
}

// A session of its own: what is typed at the observer's terminal is not meant for it.
static int spawn(const struct local *local, const char *dir, int64_t number, pid_t *pid) {
	char *arguments[] = {(char *)(uintptr_t)PROGRAM, NULL};
	char **environment = environment_for(dir, number);
	posix_spawnattr_t attributes;
	posix_spawn_file_actions_t files;
	sigset_t none, defaults;
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	int failed = posix_spawn(pid, local->program, &files, &attributes, arguments, environment);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	environment_free(environment);
	return failed;
}

static int start_one(struct local *local, struct error *error) {
	int64_t number = 1;
	while (find(local, number)) number++;
	AUTO_FREE char *dir = mem_format("%s/worker-%lld", local->dir, (long long)number);
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return error_set_errno(error, ERROR_INPUT, errno, "SCALE_LOCAL_DIR: %s", dir);
	pid_t pid;
	int failed = spawn(local, dir, number, &pid);
	if (failed) return error_set_errno(error, ERROR_INPUT, failed, "%s", local->program);
	log_info(log_m("a worker is started"), log_i("number", number), log_i("pid", pid));
	if (watch(local, number, pid, error) == 0) return 0;
	kill(pid, SIGTERM); // nobody would know of it
	return -1;
}

// ---- the driver

static void local_look(void *self) {
	struct local *local = self;
	struct fleet_unit *units = NULL;
	size_t count = 0;
	struct process *process;
	LIST_FOREACH(process, &local->processes, entry) {
		if (process->told_ms && loop_now_ms() - process->told_ms > LEAVE_MS) send_signal(process, SIGKILL);
		units = mem_resize(units, count + 1, sizeof *units);
		units[count] = (struct fleet_unit){.pid = process->pid, .gone = process->told_ms != 0};
		snprintf(units[count].name, FLEET_NAME, "%lld", (long long)process->number);
		snprintf(units[count++].host, FLEET_NAME, "%s", local->host);
	}
	for (size_t i = 0; i < REMEMBERED; i++) {
		if (!local->ended[i].pid || loop_now_ms() - local->ended[i].at_ms > REMEMBERED_MS) continue;
		units = mem_resize(units, count + 1, sizeof *units);
		units[count] = (struct fleet_unit){.pid = local->ended[i].pid, .gone = true};
		snprintf(units[count++].host, FLEET_NAME, "%s", local->host);
	}
	fleet_seen(local->fleet, units, count);
	free(units);
}

static void local_change(
	void *self, int64_t start, const struct fleet_unit *const *end, size_t count, const struct fleet_plan *plan) {
	struct local *local = self;
	AUTO_ERROR struct error error = {0};
	(void)plan;
	for (size_t i = 0; i < count; i++) {
		struct process *process = find(local, strtoll(end[i]->name, NULL, 10));
		if (!process || process->pid != end[i]->pid) continue;
		log_info(log_m("a worker is told to end"), log_i("number", process->number), log_i("pid", process->pid));
		process->told_ms = loop_now_ms();
		send_signal(process, SIGTERM);
	}
	int failed = 0;
	if (start > 0 && loop_now_ms() < local->start_not_before_ms) {
		failed = error_set(
			&error, ERROR_UNAVAILABLE, "%s", local->failure ? local->failure : "workers end by themselves");
	}
	for (int64_t i = 0; i < start && failed == 0; i++) failed = start_one(local, &error);
	if (failed != 0)
		fleet_failed(local->fleet, &error);
	else
		fleet_changed(local->fleet);
}

static void local_close(void *self) {
	struct local *local = self;
	for (struct process *process = LIST_FIRST(&local->processes), *next; process; process = next) {
		next = LIST_NEXT(process, entry);
		forget(process);
	}
	free(local->dir);
	free(local->program);
	free(local->failure);
	free(local);
}

static char *worker_program(void) {
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
	if (length < 0) return mem_strdup(PROGRAM);
	path[length] = '\0';
	char *slash = strrchr(path, '/');
	*slash = '\0';
	return mem_format("%s/" PROGRAM, path);
}

static int check(const struct local *local, const char *dir, struct error *error) {
	if (!local->dir) return error_set_errno(error, ERROR_INPUT, errno, "SCALE_LOCAL_DIR=%s", dir);
	if (access(local->dir, W_OK | X_OK) != 0) return error_set_errno(error, ERROR_INPUT, errno, "SCALE_LOCAL_DIR=%s", dir);
	if (access(local->program, X_OK) != 0)
		return error_set_errno(error, ERROR_INPUT, errno,
			"SCALE_ACTUATOR=local needs the worker beside the observer: %s", local->program);
	return 0;
}

static int local_open(
	const struct fleet_options *options, struct loop *loop, struct fleet *fleet, void **self, struct error *error) {
	struct utsname host = {0};
	struct local *local = mem_zalloc(sizeof *local);
	local->loop = loop;
	local->fleet = fleet;
	LIST_INIT(&local->processes);
	if (uname(&host) == 0) snprintf(local->host, sizeof local->host, "%s", host.nodename);
	(void)mkdir(options->local_dir, 0755);
	local->dir = realpath(options->local_dir, NULL);
	local->program = worker_program();
	if (check(local, options->local_dir, error) != 0) {
		local_close(local);
		return -1;
	}
	adopt(local);
	*self = local;
	return 0;
}

const struct fleet_driver fleet_local = {
	.name = "local",
	.open = local_open,
	.look = local_look,
	.change = local_change,
	.close = local_close,
};
