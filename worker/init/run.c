// Inside the box, as its pid 1 (`run box`), or without one (`run bare FOLDER`, level none): makes the places of the writable
// layer, says that it is ready, waits for the job, copies the tree, and hands over to supervise().
//
// It may wait for a long time: the worker makes boxes ready before it has jobs for them. Nothing of any job is in it until the
// worker's message comes; a box serves one job and ends with it.
#include "worker/init/init.h"
#include "worker/init/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static const char default_path[] = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

struct run {
	bool bare, shown, connected; // by helpers
	const char *root;            // of the writable layer: SPEC_BOX, or a folder of the worker's
	int root_fd, repo_fd;
	int wall; // Landlock ruleset; -1: none
	struct spec spec;
	struct command command;
	struct collect_order collect;
};

static NORETURN void give_up(const char *what, int number, bool tree) {
	say_failed(what, number, tree);
	_exit(71);
}

static int open_folder(int parent, const char *name) {
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// ---- before the job is known

static void keep_to_itself(void) {
	// Nobody of the same uid may open what is this process's in /proc, or trace it.
	if (prctl(PR_SET_DUMPABLE, 0) != 0) give_up("init: dumpable", errno, false);
	for (int fd = SPEC_FD_SOCKET; fd <= SPEC_FD_LAST; fd++) (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

// At level none bubblewrap is not there to do it.
static void load_filter(void) {
	static struct sock_filter instructions[4096];
	size_t length = 0;
	for (ssize_t part = 1; part > 0 && length < sizeof(instructions);) {
		part = read(SPEC_FD_FILTER, (char *)instructions + length, sizeof(instructions) - length);
		if (part < 0) give_up("init: read the system call filter", errno, false);
		length += (size_t)part;
	}
	close(SPEC_FD_FILTER);
	const struct sock_fprog program = {.len = (unsigned short)(length / sizeof(*instructions)), .filter = instructions};
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) give_up("init: system call filter", errno, false);
}

static void make_places(struct run *run) {
	static const struct {
		const char *name;
		mode_t mode;
	} places[] = {{"repo", 0755}, {"home", 0755}, {"tmp", 01777}};
	run->root_fd = open(run->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (run->root_fd < 0) give_up("init: the writable layer", errno, false);
	if (run->bare) {
		int outer = run->root_fd;
		if (clear_folder(outer, "box") != 0 || mkdirat(outer, "box", 0700) != 0)
			give_up("init: the job's folder", errno, false);
		run->root_fd = open_folder(outer, "box");
		if (run->root_fd < 0) give_up("init: the job's folder", errno, false);
	}
	for (size_t i = 0; i < COUNT_OF(places); i++) {
		if (mkdirat(run->root_fd, places[i].name, 0700) != 0 ||
			fchmodat(run->root_fd, places[i].name, places[i].mode, 0) != 0)
			give_up("init: the job's folders", errno, false);
	}
	run->repo_fd = open_folder(run->root_fd, "repo");
	if (run->repo_fd < 0) give_up("init: the job's folder", errno, false);
}

// The second wall around the job's files: even where the mounts did not hold (a read-only mount that is none, a descriptor or a
// path that leads out of the box), the job may write only below its own places, and read and execute only what hangs below the
// box's root. Landlock's rules stick to inodes, not to paths: what is reached from outside of the root has none.
static int wall_around_places(int version, int *wall) {
	static const struct {
		const char *path;
		uint64_t rights;
	} places[] = {
		{"/", LANDLOCK_SEE},
		{"/dev", LANDLOCK_USE}, // null, zero, terminals of its own
		{"/dev/shm", LANDLOCK_WRITE},
		{SPEC_BOX, LANDLOCK_WRITE},
	};
	AUTO_CLOSE int made = -1;
	if (landlock_new(version, &made) != 0) return -1;
	for (size_t i = 0; i < COUNT_OF(places); i++)
		if (landlock_allow(made, version, places[i].path, places[i].rights) != 0) return -1;
	*wall = steal_fd(&made);
	return 0;
}

// A kernel without Landlock, or with one that is too old, leaves the box with its first wall; the worker shows it. Where it is
// there, a box without it is none.
static void make_wall(struct run *run) {
	int version = run->bare ? 0 : landlock_version();
	int number = version < 0 ? errno : 0;
	if (version >= LANDLOCK_LEAST && wall_around_places(version, &run->wall) != 0) give_up("init: Landlock", errno, false);
	say("{\"event\":\"ready\",\"landlock\":%d,\"errno\":%d}", version < 0 ? 0 : version, number);
}

// ---- the job

// Blocks until the worker's message is there; its end means that there will be none.
static void receive(int *spec_fd, int *tree_fd, int *artifacts_fd) {
	char letter = 0;
	union {
		char room[CMSG_SPACE(3 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec data = {.iov_base = &letter, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t length;
	do length = recvmsg(SPEC_FD_SOCKET, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	if (length <= 0 || letter != 'J') _exit(0);
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	size_t bytes = header && header->cmsg_type == SCM_RIGHTS ? header->cmsg_len - CMSG_LEN(0) : 0;
	int descriptors[] = {-1, -1, -1};
	if (bytes != 2 * sizeof(int) && bytes != sizeof(descriptors)) give_up("init: the job's message", EPROTO, false);
	memcpy(descriptors, CMSG_DATA(header), bytes);
	*spec_fd = descriptors[0];
	*tree_fd = descriptors[1];
	*artifacts_fd = descriptors[2];
}

static char **strings(char **text, const char *end, uint32_t count, uint32_t more) {
	char **list = calloc((size_t)count + more + 1, sizeof(*list));
	if (!list) give_up("init: memory", ENOMEM, false);
	for (uint32_t i = 0; i < count; i++) {
		char *stop = memchr(*text, 0, (size_t)(end - *text));
		if (!stop) give_up("init: the job's specification", EPROTO, false);
		list[i] = *text;
		*text = stop + 1;
	}
	return list;
}

static void read_spec(struct run *run, int fd) {
	struct stat info;
	if (fstat(fd, &info) != 0) give_up("init: the job's specification", errno, false);
	size_t size = (size_t)info.st_size;
	if (size < sizeof(struct spec) || size > SPEC_BYTES_MAX) give_up("init: the job's specification", EPROTO, false);
	// Private: the strings may be written to, and the descriptor goes.
	char *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED) give_up("init: the job's specification", errno, false);
	close(fd);
	memcpy(&run->spec, data, sizeof(run->spec));
	const struct spec *spec = &run->spec;
	if (spec->magic != SPEC_MAGIC || spec->argc == 0 || spec->text_bytes != size - sizeof(*spec) ||
		spec->argc > spec->text_bytes || spec->envc > spec->text_bytes || spec->globc > spec->text_bytes)
		give_up("init: the job's specification", EPROTO, false);
	run->spec.tree[sizeof(run->spec.tree) - 1] = 0;
	char *text = data + sizeof(*spec);
	run->command.argv = strings(&text, data + size, spec->argc, 0);
	run->command.env = strings(&text, data + size, spec->envc, 3);
	run->collect.globs = strings(&text, data + size, spec->globc, 0);
	run->collect.bytes = spec->artifacts_bytes;
	run->collect.files = spec->artifacts_files;
}

static const char *lookup(char *const *env, const char *name) {
	size_t length = strlen(name);
	for (; *env; env++)
		if (strncmp(*env, name, length) == 0 && (*env)[length] == '=') return *env + length + 1;
	return NULL;
}

static void add_default(struct run *run, const char *name, const char *value) {
	if (lookup(run->command.env, name)) return;
	char *pair = NULL;
	if (asprintf(&pair, "%s=%s", name, value) < 0) give_up("init: memory", ENOMEM, false);
	run->command.env[run->spec.envc++] = pair;
}

static void complete_environment(struct run *run) {
	char place[512];
	const char *inner = run->bare ? "/box" : "";
	(void)snprintf(place, sizeof(place), "%s%s/home", run->root, inner);
	add_default(run, "HOME", place);
	add_default(run, "PATH", default_path);
	(void)snprintf(place, sizeof(place), "%s%s/tmp", run->root, inner);
	if (run->bare) add_default(run, "TMPDIR", place);
	// The command is looked for as the job would look for it.
	if (clearenv() != 0 || setenv("PATH", lookup(run->command.env, "PATH"), 1) != 0) give_up("init: memory", ENOMEM, false);
}

static void limit(__rlimit_resource_t which, int64_t most) {
	if (most <= 0) return;
	struct rlimit now;
	if (getrlimit(which, &now) != 0) give_up("init: limits", errno, false);
	rlim_t wanted = (rlim_t)most < now.rlim_max ? (rlim_t)most : now.rlim_max;
	now = (struct rlimit){.rlim_cur = wanted, .rlim_max = wanted};
	if (setrlimit(which, &now) != 0) give_up("init: limits", errno, false);
}

static void copy_in(struct run *run, int tree_fd) {
	const struct copy_limits limits = {.files = run->spec.files_most, .bytes = run->spec.disk_bytes};
	struct copy_result result;
	if (copy_tree(tree_fd, run->repo_fd, &limits, &result) != 0) give_up(result.what, result.number, result.tree);
	say("{\"event\":\"copied\",\"at_us\":%lld,\"files\":%lld,\"bytes\":%lld,\"skipped\":%lld,\"cloned\":%lld}",
		(long long)say_now_us(), (long long)result.files, (long long)result.bytes, (long long)result.skipped,
		(long long)result.cloned);
}

// Whether overlayfs shows the tree in its place.
static bool share(struct run *run) {
	struct helper_answer answer = {.result = HELPER_CANNOT};
	char quoted[128];
	if (!*run->spec.tree || !run->shown) return false;
	helper_ask(SPEC_FD_WORKSPACE, HELPER_TREE, run->spec.tree, &answer);
	if (answer.result == HELPER_BROKEN) give_up(answer.what, answer.number, false);
	if (answer.result == HELPER_CANNOT) {
		say_quoted(answer.what, quoted, sizeof(quoted));
		say("{\"event\":\"unshared\",\"errno\":%d,\"what\":%s}", answer.number, quoted);
		return false;
	}
	// What was opened is the folder below.
	close(run->repo_fd);
	run->repo_fd = open_folder(run->root_fd, "repo");
	if (run->repo_fd < 0) give_up("init: the job's folder", errno, false);
	say("{\"event\":\"shared\",\"at_us\":%lld}", (long long)say_now_us());
	return true;
}

// The other end becomes slirp4netns, which says "1" and lives as long as this process keeps its own; a helper that could not
// says why.
static void connect_out(struct run *run) {
	if (!run->spec.network) {
		if (run->connected) close(SPEC_FD_NETWORK);
		return;
	}
	union {
		struct helper_answer answer;
		char byte;
	} said;
	const struct helper_question question = {.kind = HELPER_NETWORK};
	if (!run->connected) give_up("network: not offered here", ENONET, false);
	ssize_t length = send(SPEC_FD_NETWORK, &question, sizeof(question), MSG_NOSIGNAL);
	while (length >= 0 && (length = recv(SPEC_FD_NETWORK, &said, sizeof(said), 0)) < 0 && errno == EINTR)
		;
	if (length == 1 && said.byte == '1') return;
	if (length == (ssize_t)sizeof(said.answer)) give_up(said.answer.what, said.answer.number, false);
	give_up("network: slirp4netns ended", ECHILD, false);
}

// `tree_fd` stands outside of the box: the copy takes it over, and with its end nothing of the outside is open any more.
static void prepare(struct run *run) {
	int spec_fd = -1, tree_fd = -1;
	receive(&spec_fd, &tree_fd, &run->collect.pipe);
	read_spec(run, spec_fd);
	complete_environment(run);
	if (share(run))
		close(tree_fd);
	else
		copy_in(run, tree_fd);
	if (run->shown) close(SPEC_FD_WORKSPACE);
	connect_out(run);
	if (fchdir(run->repo_fd) != 0) give_up("init: the job's folder", errno, false);
	close(run->repo_fd);
	limit(RLIMIT_FSIZE, run->spec.file_bytes);
	limit(RLIMIT_NPROC, run->spec.processes);
	// Behind the sampler of the whole tree, so that what it ends is over the limit by any measure.
	if (run->spec.cpu_s > 0) limit(RLIMIT_CPU, run->spec.cpu_s + 1);
	// Not before the copy, which reads what is outside.
	if (run->wall < 0) return;
	if (landlock_enforce(run->wall) != 0) give_up("init: Landlock", errno, false);
	close(run->wall);
}

int run_main(int argc, char **argv) {
	struct run run = {.root = SPEC_BOX, .wall = -1};
	if (argc == 2 && strcmp(argv[0], "bare") == 0)
		run = (struct run){.root = argv[1], .bare = true, .wall = -1};
	else if (argc != 1 || strcmp(argv[0], "box") != 0)
		return 64;
	say_open(SPEC_FD_SOCKET);
	(void)umask(022);
	run.shown = helper_is_there(SPEC_FD_WORKSPACE);
	run.connected = helper_is_there(SPEC_FD_NETWORK);
	keep_to_itself();
	if (run.bare) {
		if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) give_up("init: reaper", errno, false);
		load_filter();
	}
	make_places(&run);
	if (run.shown) helper_tell_ready(SPEC_FD_WORKSPACE);
	make_wall(&run);
	prepare(&run);
	run.command.bare = run.bare;
	run.command.root_fd = run.root_fd;
	run.command.files_most = run.spec.files_most;
	run.command.open_files = run.spec.open_files;
	run.command.collecting = run.collect.pipe >= 0;
	bool whole = false;
	int code = supervise(&run.command, &whole);
	if (whole && run.command.collecting) {
		// What this process stands in is the tree, wherever the job may have moved it and whatever it put in its place.
		collect(AT_FDCWD, &run.collect);
		say("{\"event\":\"collected\"}");
	}
	if (run.bare) {
		AUTO_CLOSE int outer = open(run.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (outer >= 0) (void)!clear_folder(outer, "box");
	}
	return code;
}
