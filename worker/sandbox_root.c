// All mount points exist in it beforehand: bubblewrap older than 0.12 follows links when it makes them, so it shall make none.
//
// /etc is copied, not bound, for one reason: a bind is a mount for each box, and each mount costs every start. What is copied is
// what programs read to find their libraries, certificates, alternatives and tables; only files that everybody may read.
#include "worker/sandbox_root.h"

#include "lib/mem.h"
#include "worker/init/spec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEPTH_MOST 8

static const struct {
	const char *path, *text;
} own_files[] = {
	{"etc/passwd", "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
		       "trabajo:x:1000:1000:job:" SPEC_BOX "/home:/bin/sh\n"
		       "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
	{"etc/group", "root:x:0:\ntrabajo:x:1000:\nnogroup:x:65534:\n"},
	{"etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 trabajo\n"},
	{"etc/hostname", "trabajo\n"},
	{"etc/nsswitch.conf",
		"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"},
	{"etc/resolv.conf", ""},
	{"etc/shells", "/bin/sh\n/bin/bash\n"},
};

// Names in /etc; those that end with * are prefixes.
static const char *const host_files[] = {"alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl/certs",
	"ssl/openssl.cnf", "ssl/java", "pki/tls", "pki/ca-trust", "ca-certificates", "ca-certificates.conf", "java*", "maven",
	"gradle", "python*", "perl", "php", "R", "ghc*", "fonts", "mime.types", "mailcap", "services", "protocols", "rpc",
	"networks", "localtime", "timezone", "os-release", "debian_version", "lsb-release", "locale.alias", "locale.conf",
	"default/locale", "profile", "bash.bashrc", "inputrc", "terminfo", "magic", "host.conf", "gai.conf", "xml", "sgml",
	"emacs", "vim", "dpkg/origins"};

static const char *const folders[] = {"usr", "etc", "etc/ssl", "etc/pki", "etc/dpkg", "etc/default", "proc", "dev", "trabajo",
	"var", "var/lib", "var/cache", "var/log", "run", "home", "root", "opt", "srv", "mnt", "media", "sys"};

// /tmp and its like are the job's own, in the layer that it can write.
static const struct {
	const char *path, *target;
} links[] = {
	{"tmp", "." SPEC_BOX "/tmp"},
	{"var/tmp", ".." SPEC_BOX "/tmp"},
	{"var/run", "../run"},
	{"etc/mtab", "../proc/self/mounts"},
};

static const char *const usr_names[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"};

// ---- copying the host's files

static int copy_data(int from, int to) {
	char buffer[65536];
	for (;;) {
		ssize_t length = read(from, buffer, sizeof(buffer));
		if (length <= 0) return length == 0 ? 0 : -1;
		if (write(to, buffer, (size_t)length) != length) return -1;
	}
}

static int copy_file(int from_folder, const char *from_name, int to_folder, const char *name, mode_t mode) {
	AUTO_CLOSE int from = openat(from_folder, from_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	AUTO_CLOSE int to = from < 0 ? -1 : openat(to_folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	return to < 0 || copy_data(from, to) != 0 || fchmod(to, mode) != 0 ? -1 : 0;
}

static void copy_entry(int from, int to, const char *name, int depth);

static void copy_folder(int from_parent, int to_parent, const char *name, int depth) {
	if (depth > DEPTH_MOST || (mkdirat(to_parent, name, 0755) != 0 && errno != EEXIST)) return;
	AUTO_CLOSE int to = openat(to_parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int from = openat(from_parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = from < 0 ? NULL : fdopendir(from);
	if (!folder) return;
	for (struct dirent *entry; to >= 0 && (entry = readdir(folder));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			copy_entry(from, to, entry->d_name, depth + 1);
	closedir(folder);
}

// What cannot be copied is left out: nothing of it is vital, and the probe runs in the result.
static void copy_entry(int from, int to, const char *name, int depth) {
	struct stat info;
	if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return;
	if (S_ISLNK(info.st_mode)) {
		char target[PATH_MAX];
		ssize_t length = readlinkat(from, name, target, sizeof(target) - 1);
		if (length <= 0) return;
		target[length] = 0;
		(void)!symlinkat(target, to, name);
	} else if (S_ISDIR(info.st_mode) && (info.st_mode & S_IXOTH)) {
		copy_folder(from, to, name, depth);
	} else if (S_ISREG(info.st_mode) && (info.st_mode & S_IROTH)) {
		(void)!copy_file(from, name, to, name, info.st_mode & 0111 ? 0755 : 0644);
	}
}

static void copy_prefix(int from, int to, const char *pattern) {
	size_t length = strlen(pattern) - 1;
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = copy < 0 ? NULL : fdopendir(copy);
	if (!folder) return;
	for (struct dirent *entry; (entry = readdir(folder));)
		if (strncmp(entry->d_name, pattern, length) == 0) copy_entry(from, to, entry->d_name, 0);
	closedir(folder);
}

static void copy_host_files(int root) {
	AUTO_CLOSE int from = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int to = openat(root, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from < 0 || to < 0) return;
	for (size_t i = 0; i < COUNT_OF(host_files); i++) {
		const char *name = host_files[i];
		const char *slash = strchr(name, '/');
		if (name[strlen(name) - 1] == '*') {
			copy_prefix(from, to, name);
		} else if (slash) {
			AUTO_FREE char *parent = mem_strndup(name, (size_t)(slash - name));
			AUTO_CLOSE int inner_from = openat(from, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			AUTO_CLOSE int inner_to = openat(to, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (inner_from >= 0 && inner_to >= 0) copy_entry(inner_from, inner_to, slash + 1, 1);
		} else {
			copy_entry(from, to, name, 0);
		}
	}
}

// ---- making the root

static int write_file(int root, const char *path, const char *text) {
	AUTO_CLOSE int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	size_t length = strlen(text);
	return fd >= 0 && write(fd, text, length) == (ssize_t)length ? 0 : -1;
}

// A link of the host stays one; a folder of its own is bound.
static int add_usr_names(struct sandbox_root *made, int root) {
	size_t count = 0;
	made->binds = mem_zalloc_array(COUNT_OF(usr_names) + 1, sizeof(char *));
	for (size_t i = 0; i < COUNT_OF(usr_names); i++) {
		AUTO_FREE char *path = mem_format("/%s", usr_names[i]);
		char target[PATH_MAX];
		ssize_t length = readlink(path, target, sizeof(target) - 1);
		struct stat info;
		if (length > 0) {
			target[length] = 0;
			if (symlinkat(target, root, usr_names[i]) != 0) return -1;
		} else if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
			if (mkdirat(root, usr_names[i], 0755) != 0) return -1;
			made->binds[count++] = STEAL(path);
		}
	}
	return 0;
}

static int add_links(int root) {
	for (size_t i = 0; i < COUNT_OF(links); i++)
		if (symlinkat(links[i].target, root, links[i].path) != 0) return -1;
	return 0;
}

static int fill_root(struct sandbox_root *made, int root) {
	for (size_t i = 0; i < COUNT_OF(folders); i++)
		if (mkdirat(root, folders[i], 0755) != 0) return -1;
	if (add_links(root) != 0 || add_usr_names(made, root) != 0) return -1;
	copy_host_files(root);
	for (size_t i = 0; i < COUNT_OF(own_files); i++)
		if (write_file(root, own_files[i].path, own_files[i].text) != 0) return -1;
	return 0;
}

// ---- the folder of this worker

// By the program itself, which knows how to remove what a hostile job has left.
static int clear(const char *init_program, const char *parent, const char *name) {
	const char *const argv[] = {init_program, "clear", parent, name, NULL};
	char *none[] = {NULL};
	pid_t pid;
	if (posix_spawn(&pid, init_program, NULL, NULL, (char *const *)(uintptr_t)argv, none) != 0) return -1;
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) return -1;
	return status == 0 ? 0 : -1;
}

static bool is_abandoned(int boxes, const char *name) {
	AUTO_FREE char *path = mem_format("%s/lock", name);
	AUTO_CLOSE int lock = openat(boxes, path, O_RDONLY | O_CLOEXEC);
	return lock < 0 || flock(lock, LOCK_EX | LOCK_NB) == 0;
}

static void remove_abandoned(int boxes, const char *path, const char *init_program) {
	int copy = openat(boxes, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = copy < 0 ? NULL : fdopendir(copy);
	if (!folder) return;
	for (struct dirent *entry; (entry = readdir(folder));)
		if (entry->d_name[0] != '.' && is_abandoned(boxes, entry->d_name))
			(void)!clear(init_program, path, entry->d_name);
	closedir(folder);
}

static int make_places(const struct sandbox_root *root, int places, uid_t uid_base) {
	for (int i = 0; i < places; i++) {
		AUTO_FREE char *path = sandbox_root_place(root, i);
		if (mkdir(path, 0700) != 0) return -1;
		if (uid_base != (uid_t)-1 && chown(path, uid_base + 1 + (uid_t)i, uid_base) != 0) return -1;
	}
	return 0;
}

static int make_inner(const char *init_program, int places, uid_t uid_base, struct sandbox_root *root) {
	if (chmod(root->folder, 0711) != 0) return -1;
	AUTO_FREE char *lock = mem_format("%s/lock", root->folder);
	root->lock = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (root->lock < 0 || flock(root->lock, LOCK_EX | LOCK_NB) != 0) return -1;
	AUTO_FREE char *empty = mem_format("%s/empty", root->folder);
	if (mkdir(root->root, 0755) != 0 || mkdir(empty, 0755) != 0) return -1;
	AUTO_CLOSE int fd = open(root->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fill_root(root, fd) != 0) return -1;
	if (copy_file(AT_FDCWD, init_program, fd, &SPEC_INIT[1], 0755) != 0) return -1;
	return make_places(root, places, uid_base);
}

static int make_folder(const char *dir, const char *init_program, struct sandbox_root *root, int *boxes) {
	if (mkdir(dir, 0711) != 0 && errno != EEXIST) return -1;
	// bubblewrap and the launch stand in other folders than the worker.
	AUTO_FREE char *real = realpath(dir, NULL);
	if (!real) return -1;
	AUTO_FREE char *path = mem_format("%s/boxes", real);
	if (mkdir(path, 0711) != 0 && errno != EEXIST) return -1;
	*boxes = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	// Held until our own folder has its lock: a worker that starts at the same time shall not take it for abandoned.
	if (*boxes < 0 || flock(*boxes, LOCK_EX) != 0) return -1;
	remove_abandoned(*boxes, path, init_program);
	root->folder = mem_format("%s/XXXXXX", path);
	if (!mkdtemp(root->folder)) {
		free(STEAL(root->folder));
		return -1;
	}
	root->root = mem_format("%s/root", root->folder);
	root->init = mem_format("%s" SPEC_INIT, root->root);
	return 0;
}

int sandbox_root_write(const struct sandbox_root *root, const char *name, const char *text, struct error *error) {
	AUTO_CLOSE int folder = open(root->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FREE char *fresh = mem_format("%s.new", name);
	if (folder < 0 || write_file(folder, fresh, text) != 0 || fchmodat(folder, fresh, 0644, 0) != 0 ||
		renameat(folder, fresh, folder, name) != 0)
		return error_set_errno(error, ERROR_UNAVAILABLE, errno, "sandbox: write %s/%s", root->folder, name);
	return 0;
}

char *sandbox_root_place(const struct sandbox_root *root, int place) {
	return mem_format("%s/place-%d", root->folder, place);
}

void sandbox_root_remove(struct sandbox_root *root) {
	if (root->folder) {
		char *slash = strrchr(root->folder, '/');
		*slash = 0;
		// A copy of the program is in the folder that it removes; it is open until it ends.
		(void)!clear(root->init, root->folder, slash + 1);
	}
	if (root->lock >= 0) close(root->lock);
	for (char **bind = root->binds; bind && *bind; bind++) free(*bind);
	free(root->binds);
	free(root->folder);
	free(root->root);
	free(root->init);
	*root = (struct sandbox_root){.lock = -1};
}

int sandbox_root_make(
	const char *dir, const char *init_program, int places, uid_t uid_base, struct sandbox_root *root, struct error *error) {
	*root = (struct sandbox_root){.lock = -1};
	AUTO_CLOSE int boxes = -1;
	// The folders shall be what they are said to be, whatever mask the worker was started with.
	mode_t mask = umask(022);
	int result = make_folder(dir, init_program, root, &boxes);
	if (result == 0) result = make_inner(init_program, places, uid_base, root);
	if (result != 0)
		(void)error_set_errno(
			error, ERROR_INTERNAL, errno, "sandbox: make the boxes' root in %s with %s", dir, init_program);
	(void)umask(mask);
	if (result != 0) sandbox_root_remove(root);
	return result;
}
