// Processes beside bubblewrap, outside of the box, that do for the box's pid 1 what needs rights over the box's namespaces: rights
// that nobody inside ever has, and that their own user has from outside, as the one who made the namespaces. Each is forked before
// bubblewrap is executed and serves that one box (workspace.c, network.c); none that has such rights is left when the job begins.
//
// What they hear comes from pid 1 before any job is there. pid 1 holds the other end of each one's socket: they end with it.
#include "worker/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

// ---- for the helper

int helper_open_namespaces(pid_t pid, const char *kind, int *owner, int *namespace) {
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	*owner = fd < 0 ? -1 : ioctl(fd, NS_GET_USERNS);
	if (*owner < 0) return -1;
	*namespace = steal_fd(&fd);
	return 0;
}

int helper_enter(pid_t pid, const char *kind) {
	int owner = -1, namespace = -1;
	int result = helper_open_namespaces(pid, kind, &owner, &namespace);
	if (result == 0 && (setns(owner, CLONE_NEWUSER) != 0 || setns(namespace, 0) != 0)) result = -1;
	int number = errno;
	if (owner >= 0) close(owner);
	if (namespace >= 0) close(namespace);
	errno = number;
	return result;
}

void helper_fill(struct helper_answer *answer, enum helper_result result, int number, const char *what) {
	*answer = (struct helper_answer){.result = result, .number = number};
	(void)snprintf(answer->what, sizeof(answer->what), "%s", what);
}

// The kernel names the sender. 0: there will be no more.
ssize_t helper_hear(int socket, struct helper_question *question, pid_t *sender) {
	union {
		char room[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec data = {.iov_base = question, .iov_len = sizeof(*question)};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	*question = (struct helper_question){.kind = 0};
	ssize_t length;
	do length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*sender = 0;
	if (length <= 0 || !header || header->cmsg_type != SCM_CREDENTIALS) return length;
	struct ucred credentials;
	memcpy(&credentials, CMSG_DATA(header), sizeof(credentials));
	*sender = credentials.pid;
	question->tree[sizeof(question->tree) - 1] = 0;
	return length;
}

// ---- its start

static NORETURN void helper_main(const struct helper_order *order, int socket, pid_t parent) {
	// What it starts may be talkative; the standard error is the box's stream.
	(void)dup2(STDOUT_FILENO, STDERR_FILENO);
	// The box's ends are the box's: who waits for the end of its output shall not wait for this process.
	for (int fd = SPEC_FD_SOCKET; fd <= SPEC_FD_LAST; fd++) close(fd);
	if (order->prepare) order->prepare(order);
	order->drop(order->arg);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(70);
	order->serve(order, socket);
	_exit(0);
}

int helper_start(const struct helper_order *order) {
	int ends[2], yes = 1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
	if (setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) != 0) return -1;
	pid_t parent = getpid();
	int inner = fcntl(ends[0], F_DUPFD_CLOEXEC, SPEC_FD_LAST + 1),
	    outer = fcntl(ends[1], F_DUPFD_CLOEXEC, SPEC_FD_LAST + 1);
	close(ends[0]);
	close(ends[1]);
	if (inner < 0 || outer < 0) return -1;
	pid_t pid = fork();
	if (pid == 0) {
		close(inner);
		helper_main(order, outer, parent);
	}
	close(outer);
	int result = pid < 0 || dup2(inner, order->place) < 0 ? -1 : 0;
	close(inner);
	return result;
}

// ---- for pid 1

bool helper_is_there(int place) {
	return fcntl(place, F_GETFD) >= 0;
}

void helper_tell_ready(int place) {
	const struct helper_question question = {.kind = HELPER_READY};
	(void)!send(place, &question, sizeof(question), MSG_NOSIGNAL);
}

void helper_ask(int place, enum helper_kind kind, const char *tree, struct helper_answer *answer) {
	struct helper_question question = {.kind = kind};
	(void)snprintf(question.tree, sizeof(question.tree), "%s", tree);
	ssize_t length = send(place, &question, sizeof(question), MSG_NOSIGNAL);
	while (length >= 0 && (length = recv(place, answer, sizeof(*answer), 0)) < 0 && errno == EINTR)
		;
	// It has died: nobody knows what it has done to the box.
	if (length != (ssize_t)sizeof(*answer)) helper_fill(answer, HELPER_BROKEN, ECHILD, "the helper");
	answer->what[sizeof(answer->what) - 1] = 0;
}
