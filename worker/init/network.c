// The helper that gives a job's box a way out (network policy `egress`).
//
//   NETWORK   first the rules, loaded by nft(8) into the box's network namespace: what is not public is refused by the kernel in
//             front of every packet that leaves, and nobody in the box can change them. Then slirp4netns(1), in this process's
//             place: it puts an interface into the namespace and speaks for it in the worker's network, as the box's user.
//
// slirp4netns says "1" to pid 1 by the socket when it is ready, and ends when pid 1 has. Every failure ends the box: there is no
// way out without the rules, and a job that was promised one is not run without.
#include "worker/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int keep_open(int fd) {
	return fcntl(fd, F_SETFD, 0);
}

static NORETURN void load_rules(const char *rules, pid_t pid) {
	static char name[] = "nft", file[] = "-f";
	char *path = strdup(rules);
	char *const argv[] = {name, file, path, NULL}, *const env[] = {NULL};
	if (path && helper_enter(pid, "net") == 0) (void)execve(SPEC_NFT, argv, env);
	_exit(127);
}

static int run_rules(const char *rules, pid_t pid) {
	pid_t child = fork();
	if (child == 0) load_rules(rules, pid);
	int status = -1;
	while (child > 0 && waitpid(child, &status, 0) < 0)
		if (errno != EINTR) return -1;
	errno = ENOEXEC;
	return status == 0 ? 0 : -1;
}

// From within the user namespace that owns the network: as its root slirp4netns shuts itself into an empty file system.
static void become_slirp(int socket, pid_t pid) {
	int owner = -1, network = -1, until = fcntl(socket, F_DUPFD, SPEC_FD_LAST + 1);
	if (until < 0 || helper_open_namespaces(pid, "net", &owner, &network) != 0) return;
	if (keep_open(socket) != 0 || keep_open(network) != 0 || setns(owner, CLONE_NEWUSER) != 0) return;
	close(owner);
	char ready[32], exit_by[32], net[64];
	(void)snprintf(ready, sizeof(ready), "--ready-fd=%d", socket);
	(void)snprintf(exit_by, sizeof(exit_by), "--exit-fd=%d", until);
	(void)snprintf(net, sizeof(net), "/proc/self/fd/%d", network);
	static char name[] = "slirp4netns", up[] = "--configure", mtu[] = "--mtu=65520", alone[] = "--disable-host-loopback",
		    sandbox[] = "--enable-sandbox", filter[] = "--enable-seccomp", path[] = "--netns-type=path", tap[] = "tap0";
	char *const argv[] = {name, up, mtu, alone, sandbox, filter, ready, exit_by, path, net, tap, NULL}, *const env[] = {
														    NULL};
	(void)execve(SPEC_SLIRP, argv, env);
}

static void serve(const struct helper_order *order, int socket) {
	struct helper_question question;
	struct helper_answer answer;
	pid_t sender;
	if (helper_hear(socket, &question, &sender) <= 0 || question.kind != HELPER_NETWORK) return;
	if (run_rules(order->subject, sender) != 0) {
		helper_fill(&answer, HELPER_BROKEN, errno, "network: " SPEC_NFT);
	} else {
		become_slirp(socket, sender);
		helper_fill(&answer, HELPER_BROKEN, errno, "network: " SPEC_SLIRP);
	}
	(void)!send(socket, &answer, sizeof(answer), MSG_NOSIGNAL);
}

void network_order(struct helper_order *order) {
	order->place = SPEC_FD_NETWORK;
	order->serve = serve;
}
