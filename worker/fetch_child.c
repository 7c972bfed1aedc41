#include "worker/fetch_child.h"

#include "lib/mem.h"
#include "lib/sanitized.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ANSWER_BYTES_MAX 65536
#define ORDER_BYTES_MAX  1048576 // the largest pipe that anybody may have (fs.pipe-max-size's default)
#define PIPE_BYTES       65536

struct fetch_child {
	struct loop *loop;
	int64_t timeout_ms;
	pid_t pid;
	int pidfd, in_fd, out_fd; // in_fd: -1 when the order was written
	struct loop_fd *exit_watch, *out_watch;
	struct loop_timer *timer;
	char *answer;
	size_t length;
	bool ordered, timed_out, flooded;
	fetch_child_done *done;
	void *arg;
};

// ---- between fork and exec: only what is async-signal-safe

static void limit(int resource, rlim_t most) {
	struct rlimit now, limits = {most, most};
	if (getrlimit((__rlimit_resource_t)resource, &now) == 0 && now.rlim_max < most)
		limits = (struct rlimit){now.rlim_max, now.rlim_max};
	if (setrlimit((__rlimit_resource_t)resource, &limits) < 0) _exit(126);
}

static void drop_privileges(const struct fetch_child_config *config) {
	if (config->uid == (uid_t)-1) return;
	if (setgroups(0, NULL) < 0 || setresgid(config->gid, config->gid, config->gid) < 0 ||
		setresuid(config->uid, config->uid, config->uid) < 0)
		_exit(126);
}

// Before the jobs (worker/init/launch.c) in the kernel's last resort: a fetch costs nobody but its own job, which tries again.
// Before the change of uid, after which the file is root's. Not vital.
static void prefer_for_oom(void) {
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0) return;
	ssize_t written = write(fd, "800", 3);
	(void)written;
	close(fd);
}

static void set_limits(const struct fetch_child_config *config) {
	limit(RLIMIT_FSIZE, (rlim_t)config->file_bytes);
	limit(RLIMIT_CPU, (rlim_t)(config->timeout_ms / 1000 + 10));
	limit(RLIMIT_NOFILE, 512);
	limit(RLIMIT_CORE, 0);
	if (SANITIZED) return;
	limit(RLIMIT_AS, (rlim_t)config->memory_bytes);
	limit(RLIMIT_NPROC, 0);
}

static void become_fetch(const struct fetch_child_config *config, int in_fd, int out_fd, pid_t parent) NORETURN;
static void become_fetch(const struct fetch_child_config *config, int in_fd, int out_fd, pid_t parent) {
	static char *const arguments[] = {"trabajos-fetch", NULL};
	char *const environment[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", config->ca_variable, NULL};
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid(); // a terminal's interrupt is for the worker to act on
	if (dup2(in_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0) _exit(126);
	prefer_for_oom();
	drop_privileges(config);
	set_limits(config);
	// After the change of uid, which clears it.
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(126);
	syscall(SYS_execveat, config->program_fd, "", arguments, environment, AT_EMPTY_PATH);
	_exit(127);
}

// ---- the worker's side

static void reap(struct fetch_child *child, int *status) {
	while (waitpid(child->pid, status, 0) < 0 && errno == EINTR) continue;
}

static void release(struct fetch_child *child) {
	loop_fd_remove(child->exit_watch);
	loop_fd_remove(child->out_watch);
	loop_timer_free(child->timer);
	if (child->in_fd >= 0) close(child->in_fd);
	close(child->out_fd);
	close(child->pidfd);
	free(child->answer);
	free(child);
}

static void kill_now(struct fetch_child *child) {
	(void)syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0U);
}

static void describe_end(const struct fetch_child *child, int status, struct outcome *outcome) {
	const char *text = "trabajos-fetch gave no answer";
	if (child->timed_out)
		outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "fetching took longer than %lld s",
			(long long)child->timeout_ms / 1000);
	else if (child->flooded)
		outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "trabajos-fetch said too much");
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
		outcome_set(outcome, OUTCOME_FETCH, BLAME_LIMIT, "the repository takes too much computing to fetch");
	else if (WIFSIGNALED(status))
		outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "%s: ended by signal %d", text, WTERMSIG(status));
	else
		outcome_set(outcome, OUTCOME_FETCH, BLAME_PLATFORM, "%s: exited with %d", text, WEXITSTATUS(status));
}

// False: nothing more to read now, or ever.
static bool read_some(struct fetch_child *child) {
	char rest[4096];
	bool full = child->length == ANSWER_BYTES_MAX;
	ssize_t got = full ? read(child->out_fd, rest, sizeof rest)
			   : read(child->out_fd, child->answer + child->length, ANSWER_BYTES_MAX - child->length);
	if (got < 0 && errno == EINTR) return true;
	if (got <= 0) return false;
	if (full)
		child->flooded = true;
	else
		child->length += (size_t)got;
	return !child->flooded;
}

static void answer_ready(uint32_t events, void *arg) {
	struct fetch_child *child = arg;
	(void)events;
	while (read_some(child)) continue;
	if (child->flooded) kill_now(child);
	// At its end the descriptor stays readable: the exit is what counts from here.
	if (child->flooded || (events & (EPOLLHUP | EPOLLERR))) {
		loop_fd_remove(child->out_watch);
		child->out_watch = NULL;
	}
}

static void ended(uint32_t events, void *arg) {
	struct fetch_child *child = arg;
	struct outcome outcome = {0};
	int status = 0;
	(void)events;
	reap(child, &status);
	while (read_some(child)) continue;
	bool whole = child->length > 0 && child->answer[child->length - 1] == '\n' && !child->flooded;
	if (whole && !child->timed_out && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		child->answer[--child->length] = '\0';
		child->done(child->answer, child->length, NULL, child->arg);
	} else if (child->ordered) {
		describe_end(child, status, &outcome);
		child->done(NULL, 0, &outcome, child->arg);
	} else {
		child->done(NULL, 0, NULL, child->arg);
	}
	outcome_clear(&outcome);
	release(child);
}

static void too_late(void *arg) {
	struct fetch_child *child = arg;
	child->timed_out = true;
	kill_now(child);
}

static int make_pipes(int in_pipe[2], int out_pipe[2], struct error *error) {
	if (pipe2(in_pipe, O_CLOEXEC) < 0) return error_set_errno(error, ERROR_UNAVAILABLE, errno, "pipe for trabajos-fetch");
	if (pipe2(out_pipe, O_CLOEXEC) == 0) return 0;
	int number = errno;
	close(in_pipe[0]);
	close(in_pipe[1]);
	return error_set_errno(error, ERROR_UNAVAILABLE, number, "pipe for trabajos-fetch");
}

int fetch_child_start(struct loop *loop, const struct fetch_child_config *config, fetch_child_done *done, void *arg,
	struct fetch_child **child, struct error *error) {
	int in_pipe[2] = {-1, -1}, out_pipe[2] = {-1, -1};
	if (make_pipes(in_pipe, out_pipe, error) < 0) return -1;
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) become_fetch(config, in_pipe[0], out_pipe[1], parent);
	int number = errno;
	close(in_pipe[0]);
	close(out_pipe[1]);
	int pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0U);
	if (pidfd < 0) {
		if (pid > 0) number = errno;
		close(in_pipe[1]); // without an order it ends by itself
		close(out_pipe[0]);
		if (pid > 0) waitpid(pid, NULL, 0);
		return error_set_errno(error, ERROR_UNAVAILABLE, number, "starting trabajos-fetch");
	}
	struct fetch_child *started = mem_zalloc(sizeof *started);
	*started = (struct fetch_child){.loop = loop,
		.timeout_ms = config->timeout_ms,
		.pid = pid,
		.pidfd = pidfd,
		.in_fd = in_pipe[1],
		.out_fd = out_pipe[0],
		.answer = mem_zalloc(ANSWER_BYTES_MAX + 1),
		.done = done,
		.arg = arg};
	fcntl(started->in_fd, F_SETFL, O_NONBLOCK);
	fcntl(started->out_fd, F_SETFL, O_NONBLOCK);
	started->exit_watch = loop_fd_add(loop, pidfd, EPOLLIN, ended, started);
	started->out_watch = loop_fd_add(loop, started->out_fd, EPOLLIN, answer_ready, started);
	started->timer = loop_timer_new(loop, too_late, started);
	*child = started;
	return 0;
}

// The pipe takes the whole order at once, so that nobody has to wait for the child to read.
int fetch_child_order(struct fetch_child *child, const char *order) {
	size_t length = strlen(order);
	if (length > ORDER_BYTES_MAX) return -1;
	if (length > PIPE_BYTES && fcntl(child->in_fd, F_SETPIPE_SZ, (int)length) < 0) return -1;
	ssize_t wrote = write(child->in_fd, order, length);
	if (wrote != (ssize_t)length) return -1;
	close(child->in_fd);
	child->in_fd = -1;
	child->ordered = true;
	loop_timer_set(child->timer, child->timeout_ms);
	return 0;
}

void fetch_child_hand_over(struct fetch_child *child, fetch_child_done *done, void *arg) {
	child->done = done;
	child->arg = arg;
}

void fetch_child_free(struct fetch_child *child) {
	int status;
	if (!child) return;
	kill_now(child);
	reap(child, &status);
	release(child);
}
