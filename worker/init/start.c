// The command's first moments: between its process's birth and its program.
//
// Made as posix_spawn makes it (the memory is shared, and this process stands still until the program is executed), which cannot
// load a filter.
#include "worker/init/init.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct birth {
	const struct command *command;
	int socket; // for the listener; -1: none is wanted
	int number; // why there is no program
};

static void send_listener(int socket, int listener) {
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	char letter = 'L';
	struct iovec data = {.iov_base = &letter, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(header), &listener, sizeof(int));
	(void)!sendmsg(socket, &message, MSG_NOSIGNAL);
}

static int receive_listener(int socket) {
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char letter;
	struct iovec data = {.iov_base = &letter, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1) return -1;
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int listener = -1;
	if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&listener, CMSG_DATA(header), sizeof(int));
	return listener;
}

// Not before the listener is sent: the kernel holds this bound against all descriptors that are in flight of this uid, and another
// job may have left as many there as it could.
static int limit_files(int64_t most) {
	struct rlimit files;
	if (most <= 0) return 0;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0) return -1;
	if (files.rlim_max > (rlim_t)most) files.rlim_max = (rlim_t)most;
	files.rlim_cur = files.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &files);
}

static int be_born(void *arg) {
	struct birth *birth = arg;
	const struct command *command = birth->command;
	sigset_t none;
	sigemptyset(&none);
	(void)setsid();
	for (int i = 1; i < NSIG; i++) (void)signal(i, SIG_DFL);
	if (dup2(SPEC_FD_OUT, STDOUT_FILENO) >= 0 && dup2(SPEC_FD_ERR, STDERR_FILENO) >= 0) {
		int listener = birth->socket < 0 ? -1 : files_watch(command->open_files);
		if (listener >= 0) send_listener(birth->socket, listener);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		// An executable text without "#!" is a shell script, as every shell treats it.
		if (limit_files(command->open_files) == 0) (void)execvpe(command->argv[0], command->argv, command->env);
	}
	birth->number = errno;
	_exit(127);
}

int start(const struct command *command, pid_t *pid, int *listener) {
	static char stack[65536] __attribute__((aligned(16)));
	int pair[2] = {-1, -1};
	struct birth birth = {.command = command};
	*listener = -1;
	if (command->open_files <= 0 || socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) != 0) pair[0] = pair[1] = -1;
	birth.socket = pair[1];
	*pid = clone(be_born, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &birth);
	int number = *pid < 0 ? errno : birth.number;
	if (pair[0] >= 0) {
		if (number == 0) *listener = receive_listener(pair[0]);
		close(pair[0]);
		close(pair[1]);
	}
	if (*pid > 0 && number != 0)
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR) {
		}
	return number;
}
