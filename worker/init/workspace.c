// The helper that shows a job its tree.
//
//   start   takes the worker's trees as a mount that hangs nowhere (trees.c; the last thing for which root's rights are needed)
//   READY   pid 1 is there, the kernel says by which number: enter its namespaces, make the places of the layer
//   TREE    hang the trees into the box, make overlayfs of the tree named and the layer over /trabajo/repo, and take the trees
//           out again; overlayfs holds on to the one. Where it cannot be (the answer says why) pid 1 copies the tree instead;
//           but trees that could not be taken out again end the box
//
// The layer lies in the job's own disk, and is covered by an empty folder lest the job changes it below overlayfs.
#include "worker/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define LAYER SPEC_BOX "/.layer"
#define UPPER LAYER "/upper"
#define WORK  LAYER "/work"
#define HOOK  "/mnt" // empty in every box

struct shower {
	int trees;        // a mount; -1: none
	int trees_number; // errno: why there is none
	int layer_number; // errno: why there is no layer; 0: it stands
};

static struct shower shower;

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

static void hear_ready(pid_t pid) {
	shower.layer_number = shower.trees < 0                                                 ? shower.trees_number
			      : pid <= 0 || helper_enter(pid, "mnt") != 0 || make_layer() != 0 ? errno
											       : 0;
}

// ---- the workspace

static bool is_plain(const char *tree) {
	for (const char *at = tree; *at; at++)
		if (!strchr("0123456789abcdefghijklmnopqrstuvwxyz-_/", *at)) return false;
	return *tree && *tree != '/';
}

static int overlay(const char *tree, struct helper_answer *answer) {
	char options[sizeof(((struct spec *)0)->tree) + 128];
	(void)snprintf(options, sizeof(options), "lowerdir=" HOOK "/%s,upperdir=" UPPER ",workdir=" WORK ",userxattr", tree);
	int result = mount("trabajos", SPEC_BOX "/repo", "overlay", MS_NOSUID | MS_NODEV, options);
	if (result != 0) helper_fill(answer, HELPER_CANNOT, errno, "overlayfs");
	if (umount2(HOOK, MNT_DETACH) != 0) {
		helper_fill(answer, HELPER_BROKEN, errno, "take the trees out");
		return -1;
	}
	return result;
}

static void hear_tree(const char *tree, struct helper_answer *answer) {
	helper_fill(answer, HELPER_DONE, 0, "");
	if (shower.layer_number)
		helper_fill(
			answer, HELPER_CANNOT, shower.layer_number, shower.trees < 0 ? "the trees' mount" : "overlayfs' layer");
	else if (!is_plain(tree))
		helper_fill(answer, HELPER_CANNOT, EINVAL, "the tree's name");
	else if (move_mount(shower.trees, "", AT_FDCWD, HOOK, MOVE_MOUNT_F_EMPTY_PATH) != 0)
		helper_fill(answer, HELPER_CANNOT, errno, "hang the trees");
	else if (overlay(tree, answer) == 0 && mount(HOOK, LAYER, NULL, MS_BIND, NULL) != 0)
		helper_fill(answer, HELPER_BROKEN, errno, "cover the layer");
	if (answer->result == HELPER_CANNOT && !shower.layer_number) remove_layer();
}

// ---- the one it serves

static void prepare(const struct helper_order *order) {
	shower.trees = trees_clone(order->subject, order->uid, order->gid);
	shower.trees_number = errno;
}

static void serve(const struct helper_order *order, int socket) {
	struct helper_question question;
	struct helper_answer answer;
	pid_t sender;
	(void)order;
	while (helper_hear(socket, &question, &sender) > 0) {
		if (question.kind == HELPER_READY) hear_ready(sender);
		if (question.kind != HELPER_TREE) continue;
		hear_tree(question.tree, &answer);
		if (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) < 0) return;
	}
}

void workspace_order(struct helper_order *order) {
	order->place = SPEC_FD_WORKSPACE;
	order->prepare = prepare;
	order->serve = serve;
}
