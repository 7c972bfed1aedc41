// The worker's trees as a mount of their own that hangs nowhere yet, read-only, whose files belong to the box's user: what overlayfs
// takes as the lower layer of a job's workspace (helper.c).
//
// Started by root the files are the fetch's: the mount maps their owner to the box's (mount_setattr(2), MOUNT_ATTR_IDMAP; overlayfs
// takes such layers since Linux 5.19). An ordinary worker owns them itself, but may copy a mount only in namespaces of its own, which
// a child makes and leaves again.
#include "worker/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int clone_mount(const char *path, int idmap) {
	AUTO_CLOSE int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	if (idmap >= 0) {
		attributes.attr_set |= MOUNT_ATTR_IDMAP;
		attributes.userns_fd = (unsigned)idmap;
	}
	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) != 0) return -1;
	return steal_fd(&fd);
}

static int write_text(const char *path, const char *text) {
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t length = strlen(text);
	return fd >= 0 && write(fd, text, length) == (ssize_t)length ? 0 : -1;
}

static int write_map(pid_t pid, const char *name, unsigned inside, unsigned outside) {
	char path[64], text[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	(void)snprintf(text, sizeof(text), "%u %u 1", inside, outside);
	return write_text(path, text);
}

static void end_child(pid_t pid) {
	int number = errno;
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	errno = number;
}

// ---- by root

static NORETURN void hold_namespace(int ready) {
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	char byte = unshare(CLONE_NEWUSER) == 0 ? 1 : 0;
	(void)!write(ready, &byte, 1);
	for (;;) pause();
}

// A user namespace that nobody is in, which maps the files' owner to the box's user.
static int map_owner(const struct stat *owner, uid_t uid, gid_t gid) {
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0) return -1;
	pid_t pid = fork();
	if (pid == 0) hold_namespace(ends[1]);
	close(ends[1]);
	AUTO_CLOSE int ready = ends[0];
	if (pid < 0) return -1;
	char path[64], byte = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	bool made = read(ready, &byte, 1) == 1 && byte == 1 && write_map(pid, "uid_map", owner->st_uid, uid) == 0 &&
		    write_map(pid, "gid_map", owner->st_gid, gid) == 0;
	int fd = made ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	end_child(pid);
	return fd;
}

static int clone_mapped(const char *path, uid_t uid, gid_t gid) {
	struct stat owner;
	if (stat(path, &owner) != 0) return -1;
	if (owner.st_uid == uid && owner.st_gid == gid) return clone_mount(path, -1);
	AUTO_CLOSE int idmap = map_owner(&owner, uid, gid);
	return idmap < 0 ? -1 : clone_mount(path, idmap);
}

// ---- by an ordinary user

struct fd_message {
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	int number; // errno, where there is no descriptor
	struct iovec data;
	struct msghdr message;
};

static void prepare_message(struct fd_message *message) {
	message->data = (struct iovec){.iov_base = &message->number, .iov_len = sizeof(message->number)};
	message->message = (struct msghdr){.msg_iov = &message->data,
		.msg_iovlen = 1,
		.msg_control = message->control,
		.msg_controllen = sizeof(message->control)};
}

static NORETURN void clone_and_send(const char *path, int socket) {
	const uid_t uid = geteuid();
	const gid_t gid = getegid();
	struct fd_message sent = {.number = 0};
	prepare_message(&sent);
	int fd = -1;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_text("/proc/self/setgroups", "deny") == 0 &&
		write_map(getpid(), "uid_map", uid, uid) == 0 && write_map(getpid(), "gid_map", gid, gid) == 0)
		fd = clone_mount(path, -1);
	if (fd < 0) {
		sent.number = errno;
		sent.message.msg_control = NULL;
		sent.message.msg_controllen = 0;
	} else {
		struct cmsghdr *header = CMSG_FIRSTHDR(&sent.message);
		*header =
			(struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	(void)sendmsg(socket, &sent.message, MSG_NOSIGNAL);
	_exit(0);
}

static int receive_mount(int socket) {
	struct fd_message got = {.number = ECHILD};
	prepare_message(&got);
	int fd = -1;
	if (recvmsg(socket, &got.message, MSG_CMSG_CLOEXEC) > 0) {
		const struct cmsghdr *header = CMSG_FIRSTHDR(&got.message);
		if (header && header->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	}
	errno = got.number;
	return fd;
}

static int clone_by_child(const char *path) {
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -1;
	pid_t pid = fork();
	if (pid == 0) clone_and_send(path, ends[1]);
	close(ends[1]);
	AUTO_CLOSE int socket = ends[0];
	if (pid < 0) return -1;
	int fd = receive_mount(socket);
	end_child(pid);
	return fd;
}

int trees_clone(const char *path, uid_t uid, gid_t gid) {
	return uid == (uid_t)-1 ? clone_by_child(path) : clone_mapped(path, uid, gid);
}
