#include "worker/sandbox_box.h"

#include "lib/json.h"
#include "lib/mem.h"
#include "worker/egress.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define COMPLAINT_MAX 1024
#define ARGUMENTS_MAX 128
// Tasks of the box that are not the job's: pid 1, and bubblewrap outside.
#define OWN_TASKS(box) ((box)->bare ? 1 : 2)
#define EGRESS_TASKS   4 // nft, then slirp4netns and its child
#define SHM_BYTES      "67108864"

// ---- the command line

struct arguments {
	char *list[ARGUMENTS_MAX];
	size_t count;
};

static void push(struct arguments *arguments, char *owned) {
	if (arguments->count + 1 >= ARGUMENTS_MAX) mem_die("sandbox: too many arguments");
	arguments->list[arguments->count++] = owned;
}

static void push_all(struct arguments *arguments, const char *const *texts) {
	for (; *texts; texts++) push(arguments, mem_strdup(*texts));
}

static void PRINTF(2, 3) push_format(struct arguments *arguments, const char *format, ...) {
	va_list list;
	va_start(list, format);
	char *text = NULL;
	if (vasprintf(&text, format, list) < 0) mem_die("out of memory");
	va_end(list);
	push(arguments, text);
}

static void free_arguments(struct arguments *arguments) {
	for (size_t i = 0; i < arguments->count; i++) free(arguments->list[i]);
}

static void push_launch(struct arguments *arguments, const struct box_maker *maker, const struct box *box, const int ends[3]) {
	bool own_uid = maker->uid_base != (uid_t)-1;
	int joins[LIMITS_GROUPS];
	size_t count = limits_group_joins(box->group, joins);
	push(arguments, mem_strdup("trabajos-init"));
	push(arguments, mem_strdup("launch"));
	push_format(arguments, "%d", (int)getpid());
	push_format(arguments, "%lld", own_uid ? (long long)maker->uid_base + 1 + box->place : -1LL);
	push_format(arguments, "%lld", own_uid ? (long long)maker->uid_base : -1LL);
	for (size_t i = 0; i < 3; i++) push_format(arguments, "%d", ends[i]);
	push_format(arguments, "%d", maker->filter);
	char list[64] = "";
	for (size_t i = 0, at = 0; i < count; i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%d", i ? "," : "", joins[i]);
	push(arguments, mem_strdup(list));
	push(arguments, mem_strdup(maker->trees && !box->bare ? maker->trees : ""));
	push(arguments, mem_strdup(maker->rules && !box->bare ? maker->rules : ""));
	push(arguments, mem_strdup("--"));
}

// Where the kernel's own code lies, which some machines tell everybody: a device that cannot be opened (nodev) lies over each.
static void push_masks(struct arguments *arguments) {
	static const char *const masked[] = {"/proc/kallsyms", "/proc/modules"};
	for (size_t i = 0; i < COUNT_OF(masked); i++)
		if (access(masked[i], F_OK) == 0)
			push_all(arguments, (const char *const[]){"--ro-bind", "/dev/null", masked[i], NULL});
}

static void push_bwrap(struct arguments *arguments, const struct box_maker *maker, const struct box *box) {
	static const char *const always[] = {"--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc",
		"--unshare-uts", "--unshare-cgroup-try", "--uid", "1000", "--gid", "1000", "--hostname", "trabajo",
		"--cap-drop", "ALL", "--new-session", "--die-with-parent", "--as-pid-1", NULL};
	static const char *const full[] = {"--disable-userns", "--proc", "/proc", NULL};
	// Where no /proc of its own can be mounted, the machine's must not be seen: an empty one, which cannot be written.
	static const char *const reduced[] = {"--tmpfs", "/proc", "--remount-ro", "/proc", NULL};
	push(arguments, mem_strdup(maker->bwrap));
	push_all(arguments, always);
	push_all(arguments, (const char *const[]){"--ro-bind", maker->root.root, "/", "--ro-bind", "/usr", "/usr", NULL});
	for (char **bind = maker->root.binds; *bind; bind++)
		push_all(arguments, (const char *const[]){"--ro-bind", *bind, *bind, NULL});
	push_all(arguments, maker->level == SANDBOX_FULL ? full : reduced);
	if (maker->level == SANDBOX_FULL) push_masks(arguments);
	// Without the last, /dev itself would be a place without bounds to write to.
	static const char *const devices[] = {
		"--dev", "/dev", "--size", SHM_BYTES, "--tmpfs", "/dev/shm", "--remount-ro", "/dev", NULL};
	push_all(arguments, devices);
	push(arguments, mem_strdup("--size"));
	push_format(arguments, "%lld", (long long)box->disk_bytes);
	push_all(arguments, (const char *const[]){"--tmpfs", SPEC_BOX, "--seccomp", NULL});
	push_format(arguments, "%d", SPEC_FD_FILTER);
	push_all(arguments, (const char *const[]){"--", SPEC_INIT, "run", "box", NULL});
}

static void push_bare(struct arguments *arguments, const struct box_maker *maker, const struct box *box) {
	push_all(arguments, (const char *const[]){maker->root.init, "run", "bare", NULL});
	push(arguments, sandbox_root_place(&maker->root, box->place));
}

// ---- start

static int make_stream(int *inner, int *outer, bool pipe_of_output) {
	int ends[2];
	if (pipe_of_output ? pipe2(ends, O_CLOEXEC) != 0 : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	*outer = ends[0];
	*inner = ends[1];
	// Of the descriptor's own end only: the job's must block.
	int flags = fcntl(*outer, F_GETFL);
	return flags < 0 ? -1 : fcntl(*outer, F_SETFL, flags | O_NONBLOCK);
}

// The kernel names the sender of each message: how the worker learns the process id of the box's pid 1.
static int ask_for_sender(int fd) {
	int yes = 1;
	return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes));
}

static int keep(posix_spawn_file_actions_t *actions, int fd) {
	// A descriptor placed onto itself loses close-on-exec, and nothing else is inherited.
	return posix_spawn_file_actions_adddup2(actions, fd, fd);
}

static int spawn(const struct box_maker *maker, const struct box *box, const int ends[3], char *const *argv, pid_t *pid) {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	if (posix_spawn_file_actions_init(&actions) != 0 || posix_spawnattr_init(&attributes) != 0) mem_die("out of memory");
	int joins[LIMITS_GROUPS], result = keep(&actions, maker->filter);
	size_t count = limits_group_joins(box->group, joins);
	for (size_t i = 0; i < 3 && result == 0; i++) result = keep(&actions, ends[i]);
	for (size_t i = 0; i < count && result == 0; i++) result = keep(&actions, joins[i]);
	if (result == 0) result = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (result == 0) result = posix_spawnattr_setsigmask(&attributes, &none);
	if (result == 0) result = posix_spawnattr_setsigdefault(&attributes, &all);
	char *const no_environment[] = {NULL};
	if (result == 0) result = posix_spawn(pid, maker->root.init, &actions, &attributes, argv, no_environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

static int start(const struct box_maker *maker, struct box *box, const int ends[3], struct error *error) {
	struct arguments arguments = {0};
	push_launch(&arguments, maker, box, ends);
	if (maker->level == SANDBOX_NONE)
		push_bare(&arguments, maker, box);
	else
		push_bwrap(&arguments, maker, box);
	int result = spawn(maker, box, ends, arguments.list, &box->pid);
	free_arguments(&arguments);
	if (result != 0) return error_set_errno(error, ERROR_UNAVAILABLE, result, "sandbox: start %s", maker->root.init);
	box->pidfd = (int)syscall(SYS_pidfd_open, box->pid, 0U);
	if (box->pidfd < 0) mem_die("sandbox: no pidfd for a child");
	return 0;
}

static int open_streams(struct box *box, int ends[3]) {
	if (make_stream(&ends[0], &box->socket, false) != 0 || ask_for_sender(box->socket) != 0) return -1;
	return make_stream(&ends[1], &box->out, true) != 0 || make_stream(&ends[2], &box->err, true) != 0 ? -1 : 0;
}

int box_spawn(const struct box_maker *maker, int place, int64_t disk_bytes, struct box *box, struct error *error) {
	*box = (struct box){.pidfd = -1, .init_pidfd = -1, .socket = -1, .out = -1, .err = -1};
	box->place = place;
	box->disk_bytes = disk_bytes;
	box->bare = maker->level == SANDBOX_NONE;
	int ends[3] = {-1, -1, -1};
	int result = limits_group_new(maker->limits, &box->group, error);
	if (result == 0 && open_streams(box, ends) != 0)
		result = error_set_errno(error, ERROR_UNAVAILABLE, errno, "sandbox: pipes");
	if (result == 0) result = start(maker, box, ends, error);
	for (size_t i = 0; i < COUNT_OF(ends); i++)
		if (ends[i] >= 0) close(ends[i]);
	if (result != 0 && box_clear(box) != 0) box_abandon(box);
	return result;
}

// ---- the job

static int64_t files_most(int64_t disk_bytes) {
	// As many inodes as a file system of this size would have.
	int64_t files = disk_bytes / 4096;
	return files < 16384 ? 16384 : files;
}

// Of the worker's trees, and of a form that needs no care.
static const char *shared_tree(const struct box_maker *maker, const char *tree) {
	size_t length = maker->trees ? strlen(maker->trees) : 0;
	if (length == 0 || strncmp(tree, maker->trees, length) != 0 || tree[length] != '/') return "";
	return strlen(tree + length + 1) < sizeof(((struct spec *)0)->tree) ? tree + length + 1 : "";
}

static size_t count_texts(char *const *list, uint32_t *count) {
	size_t bytes = 0;
	for (*count = 0; list[*count]; (*count)++) bytes += strlen(list[*count]) + 1;
	return bytes;
}

static char *append_texts(char *at, char *const *list) {
	for (; *list; list++) {
		size_t length = strlen(*list) + 1;
		memcpy(at, *list, length);
		at += length;
	}
	return at;
}

static int make_spec(const struct box_maker *maker, const struct sandbox_job *job, int *fd, struct error *error) {
	const struct sandbox_limits *limits = &job->limits;
	struct spec spec = {
		.magic = SPEC_MAGIC,
		.file_bytes = limits->file_bytes,
		.open_files = limits->open_files,
		.files_most = files_most(limits->disk_bytes),
		.network = job->egress,
		.cpu_s = limits->cpu_s,
		.artifacts_bytes = job->artifacts.bytes,
		.artifacts_files = job->artifacts.files,
		.disk_bytes = maker->level == SANDBOX_NONE ? limits->disk_bytes : 0,
	};
	// Where a group bounds them, it shall be the group that refuses: it counts the refusals. The second wall stands behind.
	if (!maker->uid_counts && limits->processes > 0)
		spec.processes = limits->processes + 1 + (limits_processes(maker->limits) ? 64 : 0);
	(void)snprintf(spec.tree, sizeof(spec.tree), "%s", shared_tree(maker, job->tree));
	char *const none[] = {NULL}, *const *globs = job->artifacts.globs ? job->artifacts.globs : none;
	size_t bytes = count_texts(job->argv, &spec.argc) + count_texts(job->env, &spec.envc) + count_texts(globs, &spec.globc);
	if (spec.argc == 0 || bytes + sizeof(spec) > SPEC_BYTES_MAX)
		return error_set(error, ERROR_INPUT, "sandbox: a command of %zu bytes", bytes);
	spec.text_bytes = (uint32_t)bytes;
	AUTO_FREE char *data = mem_zalloc(sizeof(spec) + bytes);
	memcpy(data, &spec, sizeof(spec));
	(void)append_texts(append_texts(append_texts(data + sizeof(spec), job->argv), job->env), globs);
	AUTO_CLOSE int file = memfd_create("trabajos-job", MFD_CLOEXEC);
	if (file < 0 || write(file, data, sizeof(spec) + bytes) != (ssize_t)(sizeof(spec) + bytes))
		return error_set_errno(error, ERROR_UNAVAILABLE, errno, "sandbox: the job's specification");
	*fd = steal_fd(&file);
	return 0;
}

// artifacts -1: none are wanted.
static int hand_over(int socket, int spec, int tree, int artifacts) {
	char letter = 'J';
	const int descriptors[] = {spec, tree, artifacts};
	size_t bytes = (artifacts < 0 ? 2 : 3) * sizeof(int);
	union {
		char room[CMSG_SPACE(sizeof(descriptors))];
		struct cmsghdr align;
	} control = {0};
	struct iovec data = {.iov_base = &letter, .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(bytes)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(bytes)};
	memcpy(CMSG_DATA(header), descriptors, bytes);
	return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

// This machine's own addresses may have changed since the last time.
int box_write_rules(const struct box_maker *maker, struct error *error) {
	AUTO_FREE char *rules = NULL;
	if (!maker->rules) return error_set(error, ERROR_UNAVAILABLE, "egress is not offered here");
	if (egress_rules(maker->deny, &rules, error) != 0) return -1;
	return sandbox_root_write(&maker->root, EGRESS_FILE, rules, error);
}

int box_send(const struct box_maker *maker, struct box *box, const struct sandbox_job *job, struct error *error) {
	const struct sandbox_limits *limits = &job->limits;
	int64_t wall = limits->memory_bytes + limits->disk_bytes;
	int64_t tasks = limits->processes + OWN_TASKS(box) + (job->egress ? EGRESS_TASKS : 0);
	if (job->egress && box_write_rules(maker, error) != 0) return error_wrap(error, "sandbox");
	if (limits_group_set(box->group, wall, tasks, error) != 0) return error_wrap(error, "sandbox");
	AUTO_CLOSE int tree = open(job->tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tree < 0) return error_set_errno(error, ERROR_INTERNAL, errno, "sandbox: tree %s", job->tree);
	AUTO_CLOSE int spec = -1;
	if (make_spec(maker, job, &spec, error) != 0) return -1;
	// A box that has ended already has said why, which is read like all else it says.
	if (hand_over(box->socket, spec, tree, job->artifacts.globs ? job->artifacts.pipe : -1) != 0 && errno != EPIPE &&
		errno != ECONNRESET)
		return error_set_errno(error, ERROR_UNAVAILABLE, errno, "sandbox: hand the job over");
	return 0;
}

// ---- what it says

// A process that ends while we look may hand its number to another one; pid 1 of the box is our child's child, or our child.
static bool is_of_box(const struct box *box, pid_t pid) {
	if (pid == box->pid) return true;
	char path[64], text[1024];
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length <= 0) return false;
	text[length] = 0;
	const char *end = strrchr(text, ')');
	return end && strlen(end) > 4 && strtol(end + 4, NULL, 10) == box->pid;
}

static void learn_init(struct box *box, pid_t pid) {
	if (box->init_pid || pid <= 0) return;
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
	if (pidfd < 0 || !is_of_box(box, pid)) return;
	box->init_pid = pid;
	box->init_pidfd = steal_fd(&pidfd);
}

static void read_numbers(const json_t *json, struct box_event *event) {
	int64_t number = 0, landlock = 0, user_us = 0, kernel_us = 0, maxrss = 0, status = 0;
	const int64_t most = INT64_MAX / 1024;
	if (json_int(json, "at_us", 0, most, 0, &event->at_us, NULL) != 0) event->at_us = 0;
	if (json_int(json, "landlock", 0, INT16_MAX, 0, &landlock, NULL) == 0) event->landlock = (int)landlock;
	if (json_int(json, "errno", 0, 4096, 0, &number, NULL) == 0) event->number = (int)number;
	if (json_int(json, "status", 0, 65535, 0, &status, NULL) == 0) event->status = (int)status;
	if (json_int(json, "user_us", 0, most, 0, &user_us, NULL) == 0 &&
		json_int(json, "kernel_us", 0, most, 0, &kernel_us, NULL) == 0)
		event->cpu_us = user_us + kernel_us;
	if (json_int(json, "maxrss_kb", 0, most, 0, &maxrss, NULL) == 0) event->maxrss_bytes = maxrss * 1024;
	event->disk_full = json_is_true(json_object_get(json, "disk_full"));
	event->files_full = json_is_true(json_object_get(json, "files_full"));
	event->collecting = json_is_true(json_object_get(json, "collecting"));
	event->tree = json_is_true(json_object_get(json, "tree"));
	const char *what = json_text(json, "what");
	(void)snprintf(event->what, sizeof(event->what), "%s", what ? what : "");
}

static bool read_event(const char *line, size_t length, struct box_event *event) {
	static const char *const names[] = {[BOX_READY] = "ready",
		[BOX_COPIED] = "copied",
		[BOX_SHARED] = "shared",
		[BOX_UNSHARED] = "unshared",
		[BOX_STARTED] = "started",
		[BOX_REFUSED] = "refused",
		[BOX_FAILED] = "failed",
		[BOX_ENDED] = "ended",
		[BOX_COLLECTED] = "collected"};
	AUTO_JSON json_t *json = NULL;
	if (json_read(line, length, SPEC_LINE_MAX, &json, NULL) != 0) return false;
	const char *name = json_text(json, "event");
	for (size_t i = 0; name && i < COUNT_OF(names); i++) {
		if (strcmp(names[i], name) != 0) continue;
		*event = (struct box_event){.kind = (enum box_event_kind)i};
		read_numbers(json, event);
		return true;
	}
	return false;
}

static void complain(struct box *box, const char *line, size_t length) {
	if (length == 0) return;
	size_t before = box->complaint ? strlen(box->complaint) : 0;
	if (before >= COMPLAINT_MAX) return;
	char *longer = mem_format("%s%s%.*s", box->complaint ? box->complaint : "", before ? "; " : "", (int)length, line);
	free(box->complaint);
	box->complaint = longer;
}

// The first whole line that is an event; others are complaints.
static bool take_event(struct box *box, struct box_event *event) {
	bool found = false;
	for (char *end; !found && (end = memchr(box->line, '\n', box->line_length));) {
		size_t length = (size_t)(end - box->line);
		found = read_event(box->line, length, event);
		if (!found) complain(box, box->line, length);
		box->line_length -= length + 1;
		memmove(box->line, end + 1, box->line_length);
	}
	return found;
}

static ssize_t receive(struct box *box) {
	union {
		char room[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec data = {.iov_base = box->line + box->line_length, .iov_len = sizeof(box->line) - box->line_length};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t length;
	do length = recvmsg(box->socket, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	if (length <= 0) return length;
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	// Only what begins like our own lines: bubblewrap, too, may have complained.
	if (header && header->cmsg_type == SCM_CREDENTIALS && box->line[box->line_length] == '{') {
		struct ucred sender;
		memcpy(&sender, CMSG_DATA(header), sizeof(sender));
		learn_init(box, sender.pid);
	}
	return length;
}

int box_read(struct box *box, struct box_event *event) {
	for (;;) {
		if (take_event(box, event)) return 1;
		if (box->socket < 0) return -1;
		if (box->line_length == sizeof(box->line)) {
			complain(box, box->line, COMPLAINT_MAX);
			box->line_length = 0;
		}
		ssize_t length = receive(box);
		if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
		if (length <= 0) return -1;
		box->line_length += (size_t)length;
	}
}

// ---- the end

static void send_letter(struct box *box, char letter) {
	if (box->socket >= 0) (void)!send(box->socket, &letter, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void signal_pidfd(int pidfd, int number) {
	if (pidfd >= 0) (void)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0U);
}

void box_terminate(struct box *box) {
	send_letter(box, 'T');
}

// Without a namespace the job may have stopped its pid 1, and only we can still see who hangs below it: those are killed, and it
// goes on.
static void kill_bare(struct box *box) {
	limits_group_kill(box->group, box->reaped ? 0 : box->pid);
	if (!box->reaped) signal_pidfd(box->pidfd, box->kills > 2 ? SIGKILL : SIGCONT);
}

// First by pid 1 of the box, which kills and reaps, so that the usage of what it kills is known. It may still be copying, or the
// job may have found a way to hinder it: then it is killed itself, and the kernel kills all of its namespace; bubblewrap
// outside sees that and ends. While pid 1 is not known nothing of a job is there, and it dies with bubblewrap
// (--die-with-parent).
void box_kill(struct box *box) {
	if (++box->kills == 1)
		send_letter(box, 'K');
	else if (box->bare)
		kill_bare(box);
	else if (box->init_pidfd >= 0)
		signal_pidfd(box->init_pidfd, SIGKILL);
	else if (!box->reaped)
		signal_pidfd(box->pidfd, SIGKILL);
}

static bool has_ended(int pidfd) {
	struct pollfd polled = {.fd = pidfd, .events = POLLIN};
	return pidfd < 0 || poll(&polled, 1, 0) == 1;
}

bool box_over(struct box *box) {
	if (!box->reaped && box->pidfd >= 0) {
		int status;
		if (wait4(box->pid, &status, WNOHANG, &box->usage) != box->pid) return false;
		box->reaped = true;
	}
	if (box->bare && !limits_group_empty(box->group)) return false;
	// Killed from elsewhere, bubblewrap may end before pid 1 of the box does.
	return has_ended(box->init_pidfd);
}

static void close_one(int *fd) {
	if (*fd >= 0) close(*fd);
	*fd = -1;
}

static void free_parts(struct box *box) {
	close_one(&box->socket);
	close_one(&box->out);
	close_one(&box->err);
	close_one(&box->pidfd);
	close_one(&box->init_pidfd);
	free(STEAL(box->complaint));
}

int box_clear(struct box *box) {
	free_parts(box);
	if (box->group && limits_group_remove(box->group) != 0) return -1;
	box->group = NULL;
	return 0;
}

void box_abandon(struct box *box) {
	free_parts(box);
	limits_group_abandon(STEAL(box->group));
}
