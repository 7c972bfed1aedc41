// The step outside of the box: from the worker's rights down to those of the slot, then bubblewrap (or, at level none, the
// `run` role) takes this process over.
//
//     trabajos-init launch PARENT UID GID SOCKET OUT ERR FILTER PROCS,… TREES RULES -- PROGRAM ARGUMENT…
//
// Numbers are descriptors but for the first three; UID and GID -1: keep the worker's; TREES, RULES empty: no helper for
// the workspace, or the network, is forked. What fails is said on the socket, and
// nothing is ever started with more rights than asked for: every step that fails ends the launch.
#include "worker/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FILES_MOST (1 << 20) // of JOB_FILES (worker/options.c)

struct launch {
	pid_t parent;
	uid_t uid;
	gid_t gid;
	int socket, out, err, filter;
	char *groups; // descriptors of cgroup.procs files
	const char *trees, *rules;
	char **program;
};

static NORETURN void give_up(const char *what) {
	say_failed(what, errno, false);
	_exit(70);
}

static int number(const char *text) {
	return (int)strtol(text, NULL, 10);
}

// A descriptor is its own step: the worker opened the file, with rights that this process may no longer have.
static void join_groups(char *list) {
	for (char *at = list; *at;) {
		char *end = at;
		long fd = strtol(at, &end, 10);
		if (end == at) break;
		if (write((int)fd, "0", 1) != 1) give_up("launch: join the cgroup");
		at = *end == ',' ? end + 1 : end;
	}
}

// The filter's file is one for all boxes: bubblewrap reads it to its end, so each needs an offset of its own.
static int reopen(int fd) {
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0) give_up("launch: open the system call filter");
	return own;
}

static void place(int from, int to) {
	if (dup2(from, to) != to) give_up("launch: place a descriptor");
	// dup2 of a descriptor onto itself leaves its flags.
	if (fcntl(to, F_SETFD, 0) != 0) give_up("launch: place a descriptor");
}

static void close_from(unsigned first) {
	if (syscall(SYS_close_range, first, ~0U, 0U) == 0) return;
	// Linux before 5.9.
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0) give_up("launch: close descriptors");
	for (rlim_t fd = first; fd < files.rlim_cur; fd++) close((int)fd);
}

// First beyond the places (they may lie on each other), then into them.
static void place_descriptors(const struct launch *launch) {
	const int from[] = {launch->socket, launch->out, launch->err, reopen(launch->filter)};
	const int to[] = {SPEC_FD_SOCKET, SPEC_FD_OUT, SPEC_FD_ERR, SPEC_FD_FILTER};
	int beyond[COUNT_OF(from)];
	for (size_t i = 0; i < COUNT_OF(from); i++) {
		beyond[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 16);
		if (beyond[i] < 0) give_up("launch: place a descriptor");
	}
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0) give_up("launch: /dev/null");
	place(null, STDIN_FILENO);
	place(null, STDOUT_FILENO);
	for (size_t i = 0; i < COUNT_OF(from); i++) place(beyond[i], to[i]);
	place(SPEC_FD_SOCKET, STDERR_FILENO);
	say_open(SPEC_FD_SOCKET);
	close_from(SPEC_FD_FILTER + 1);
}

static void limit(__rlimit_resource_t which, rlim_t most) {
	struct rlimit now;
	if (getrlimit(which, &now) != 0) give_up("launch: limits");
	if (now.rlim_max < most) most = now.rlim_max;
	const struct rlimit wanted = {.rlim_cur = most, .rlim_max = most};
	if (setrlimit(which, &wanted) != 0) give_up("launch: limits");
}

// Those that are the same for every job; the job's own are set inside, where they do not hinder the making of the box.
static void set_limits(void) {
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_MEMLOCK, 8 << 20);
	limit(RLIMIT_MSGQUEUE, 819200);
	limit(RLIMIT_NICE, 0);
	limit(RLIMIT_RTPRIO, 0);
	limit(RLIMIT_NOFILE, FILES_MOST);
}

// The kernel's last resort takes jobs before daemons. Not vital: not everybody may.
static void prefer_for_oom(void) {
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0) return;
	ssize_t written = write(fd, "500", 3);
	(void)written;
	close(fd);
}

// The job's own /dev/stdout must be openable by the job.
static void own_output(const struct launch *launch) {
	if (launch->uid == (uid_t)-1) return;
	if (fchown(launch->out, launch->uid, launch->gid) != 0 || fchown(launch->err, launch->uid, launch->gid) != 0)
		give_up("launch: output pipes");
}

static void drop_rights(const struct launch *launch) {
	if (launch->uid == (uid_t)-1) return;
	if (launch->uid == 0 || launch->gid == 0) {
		errno = EINVAL;
		give_up("launch: uid");
	}
	if (setgroups(0, NULL) != 0) give_up("launch: groups");
	if (setresgid(launch->gid, launch->gid, launch->gid) != 0) give_up("launch: gid");
	if (setresuid(launch->uid, launch->uid, launch->uid) != 0) give_up("launch: uid");
	if (setuid(0) == 0) {
		errno = EPERM;
		give_up("launch: uid 0 came back");
	}
}

// After the change of uid, which clears it. The parent may have died before.
static void die_with_parent(pid_t parent) {
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up("launch: parent's death");
	if (getppid() != parent) _exit(70);
}

static void drop_all(const void *arg) {
	drop_rights(arg);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up("launch: no_new_privs");
}

static void start_helper(const struct launch *launch, const char *subject, void (*make)(struct helper_order *order)) {
	if (!*subject) return;
	struct helper_order order = {
		.subject = subject, .uid = launch->uid, .gid = launch->gid, .drop = drop_all, .arg = launch};
	make(&order);
	if (helper_start(&order) != 0) give_up("launch: helper");
}

int launch_main(int argc, char **argv) {
	if (argc < 12 || strcmp(argv[10], "--") != 0) return 64;
	struct launch launch = {
		.parent = number(argv[0]),
		.uid = (uid_t)strtol(argv[1], NULL, 10),
		.gid = (gid_t)strtol(argv[2], NULL, 10),
		.socket = number(argv[3]),
		.out = number(argv[4]),
		.err = number(argv[5]),
		.filter = number(argv[6]),
		.groups = argv[7],
		.trees = argv[8],
		.rules = argv[9],
		.program = argv + 11,
	};
	say_open(launch.socket);
	join_groups(launch.groups);
	own_output(&launch);
	prefer_for_oom();
	set_limits();
	place_descriptors(&launch);
	if (chdir("/") != 0) give_up("launch: /");
	(void)umask(022);
	start_helper(&launch, launch.trees, workspace_order);
	start_helper(&launch, launch.rules, network_order);
	drop_all(&launch);
	die_with_parent(launch.parent);
	char *const none[] = {NULL};
	(void)execve(launch.program[0], launch.program, none);
	give_up(launch.program[0]);
}
