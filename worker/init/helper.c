// A process beside bubblewrap, outside of the box, that does for the box's pid 1 what needs rights over the box's namespaces: rights
// that nobody inside ever has, and that its own user has from outside, as the one who made them. It is forked before bubblewrap
// is executed, serves that one box while no job runs in it, and has ended when the job begins.
//
//   start   takes the worker's trees as a mount that hangs nowhere (trees.c; the last thing for which root's rights are needed)
//   READY   pid 1 is there, the kernel says by which number: enter its namespaces, make the places of the layer
//   TREE    hang the trees into the box, make overlayfs of the tree named and the layer over /trabajo/repo, and take the trees
//           out again; overlayfs holds on to the one. Where it cannot be (the answer says why) pid 1 copies the tree instead;
//           but trees that could not be taken out again end the box
//
// What it hears comes from pid 1 before any job is there. The layer lies in the job's own disk, and is covered by an empty folder
// lest the job changes it below overlayfs.
#include "worker/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define LAYER SPEC_BOX "/.layer"
#define UPPER LAYER "/upper"
#define WORK  LAYER "/work"
#define HOOK  "/mnt" // empty in every box

struct helper {
	int socket, trees;
	int trees_number; // errno: why there are none
	int layer_number; // errno: why there is no layer; 0: it stands
};

// ---- the box's namespaces

// The namespace that owns the mounts is the one above the job's own (--disable-userns).
static int enter(pid_t pid) {
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	AUTO_CLOSE int mounts = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int owner = mounts < 0 ? -1 : ioctl(mounts, NS_GET_USERNS);
	if (owner < 0 || setns(owner, CLONE_NEWUSER) != 0 || setns(mounts, CLONE_NEWNS) != 0) return -1;
	return 0;
}

// overlayfs marks in attributes what was removed; tmpfs has those since Linux 6.6.
static int make_layer(void) {
	if (mkdir(LAYER, 0700) != 0 || mkdir(UPPER, 0755) != 0 || mkdir(WORK, 0700) != 0) return -1;
	return setxattr(UPPER, "user.overlay.trabajos", "", 0, 0) == 0 ? removexattr(UPPER, "user.overlay.trabajos") : -1;
}

static void remove_layer(void) {
	(void)rmdir(WORK "/work");
	(void)rmdir(WORK);
	(void)rmdir(UPPER);
	(void)rmdir(LAYER);
}

static void hear_ready(struct helper *helper, pid_t pid) {
	helper->layer_number = helper->trees < 0                                  ? helper->trees_number
			       : pid <= 0 || enter(pid) != 0 || make_layer() != 0 ? errno
										  : 0;
}

// ---- the workspace

static bool is_plain(const char *tree) {
	for (const char *at = tree; *at; at++)
		if (!strchr("0123456789abcdefghijklmnopqrstuvwxyz-_/", *at)) return false;
	return *tree && *tree != '/';
}

static void fill(struct helper_answer *answer, enum helper_result result, int number, const char *what) {
	*answer = (struct helper_answer){.result = result, .number = number};
	(void)snprintf(answer->what, sizeof(answer->what), "%s", what);
}

static int overlay(const char *tree, struct helper_answer *answer) {
	char options[sizeof(((struct spec *)0)->tree) + 128];
	(void)snprintf(options, sizeof(options), "lowerdir=" HOOK "/%s,upperdir=" UPPER ",workdir=" WORK ",userxattr", tree);
	int result = mount("trabajos", SPEC_BOX "/repo", "overlay", MS_NOSUID | MS_NODEV, options);
	if (result != 0) fill(answer, HELPER_CANNOT, errno, "overlayfs");
	if (umount2(HOOK, MNT_DETACH) != 0) {
		fill(answer, HELPER_BROKEN, errno, "take the trees out");
		return -1;
	}
	return result;
}

static void hear_tree(struct helper *helper, const char *tree, struct helper_answer *answer) {
	fill(answer, HELPER_DONE, 0, "");
	if (helper->layer_number)
		fill(answer, HELPER_CANNOT, helper->layer_number, helper->trees < 0 ? "the trees' mount" : "overlayfs' layer");
	else if (!is_plain(tree))
		fill(answer, HELPER_CANNOT, EINVAL, "the tree's name");
	else if (move_mount(helper->trees, "", AT_FDCWD, HOOK, MOVE_MOUNT_F_EMPTY_PATH) != 0)
		fill(answer, HELPER_CANNOT, errno, "hang the trees");
	else if (overlay(tree, answer) == 0 && mount(HOOK, LAYER, NULL, MS_BIND, NULL) != 0)
		fill(answer, HELPER_BROKEN, errno, "cover the layer");
	if (answer->result == HELPER_CANNOT && !helper->layer_number) remove_layer();
}

// ---- the one it serves

// The kernel names the sender. 0: there will be no more.
static ssize_t hear(int socket, struct helper_question *question, pid_t *sender) {
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

static void serve(struct helper *helper) {
	struct helper_question question;
	struct helper_answer answer;
	pid_t sender;
	while (hear(helper->socket, &question, &sender) > 0) {
		if (question.kind == HELPER_READY) hear_ready(helper, sender);
		if (question.kind != HELPER_TREE) continue;
		hear_tree(helper, question.tree, &answer);
		if (send(helper->socket, &answer, sizeof(answer), MSG_NOSIGNAL) < 0) return;
	}
}

static NORETURN void helper_main(const struct helper_order *order, int socket, pid_t parent) {
	struct helper helper = {.socket = socket};
	// The box's ends are the box's: who waits for the end of its output shall not wait for this process.
	for (int fd = SPEC_FD_SOCKET; fd <= SPEC_FD_HELPER; fd++) close(fd);
	helper.trees = trees_clone(order->trees, order->uid, order->gid);
	helper.trees_number = errno;
	order->drop(order->arg);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(70);
	serve(&helper);
	_exit(0);
}

int helper_start(const struct helper_order *order) {
	int ends[2], yes = 1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
	if (setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) != 0) return -1;
	pid_t parent = getpid();
	int inner = fcntl(ends[0], F_DUPFD_CLOEXEC, SPEC_FD_HELPER + 1),
	    outer = fcntl(ends[1], F_DUPFD_CLOEXEC, SPEC_FD_HELPER + 1);
	close(ends[0]);
	close(ends[1]);
	if (inner < 0 || outer < 0) return -1;
	pid_t pid = fork();
	if (pid == 0) {
		close(inner);
		helper_main(order, outer, parent);
	}
	close(outer);
	int result = pid < 0 || dup2(inner, SPEC_FD_HELPER) < 0 ? -1 : 0;
	close(inner);
	return result;
}

// ---- for pid 1

bool helper_is_there(void) {
	return fcntl(SPEC_FD_HELPER, F_GETFD) >= 0;
}

void helper_tell_ready(void) {
	const struct helper_question question = {.kind = HELPER_READY};
	(void)!send(SPEC_FD_HELPER, &question, sizeof(question), MSG_NOSIGNAL);
}

void helper_ask_tree(const char *tree, struct helper_answer *answer) {
	struct helper_question question = {.kind = HELPER_TREE};
	(void)snprintf(question.tree, sizeof(question.tree), "%s", tree);
	ssize_t length = send(SPEC_FD_HELPER, &question, sizeof(question), MSG_NOSIGNAL);
	while (length >= 0 && (length = recv(SPEC_FD_HELPER, answer, sizeof(*answer), 0)) < 0 && errno == EINTR)
		;
	// It has died: nobody knows what hangs in the box.
	if (length != (ssize_t)sizeof(*answer)) fill(answer, HELPER_BROKEN, ECHILD, "the helper");
	answer->what[sizeof(answer->what) - 1] = 0;
}
