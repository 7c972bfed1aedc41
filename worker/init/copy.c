// The tree's copy into the writable layer. The tree is any repository on the internet: names may be any bytes, links may point
// anywhere, so that every step opens one name below an open folder and follows no link; links are copied as they are. Nobody
// else writes on either side meanwhile.
//
// Only what a repository can hold is copied: files (with the x bit and no other mode), folders, symbolic links.
#include "worker/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define DEPTH_MOST   400 // two descriptors each
#define BUFFER_BYTES (256 << 10)

struct copy {
	const struct copy_limits *limits;
	struct copy_result *result;
	int depth;
	bool apart; // the two sides cannot share blocks
	char buffer[BUFFER_BYTES];
};

static int failed(struct copy *copy, const char *name, int number, bool tree) {
	struct copy_result *result = copy->result;
	if (result->number) return -1;
	result->number = number;
	result->tree = tree;
	(void)snprintf(result->what, sizeof(result->what), "copy: %s", name);
	return -1;
}

// Names of what failed are given with their folders as the recursion unwinds.
static int failed_below(struct copy *copy, const char *folder) {
	char whole[sizeof(copy->result->what)];
	const char *inner = copy->result->what + strlen("copy: ");
	int length = snprintf(whole, sizeof(whole), "copy: %s/%s", folder, inner);
	if (length > 0 && (size_t)length < sizeof(whole)) memcpy(copy->result->what, whole, (size_t)length + 1);
	return -1;
}

// One more thing of the tree; its number and bytes are bounded.
static int count(struct copy *copy, const char *name, int64_t bytes) {
	copy->result->files++;
	copy->result->bytes += bytes;
	if (copy->limits->files > 0 && copy->result->files > copy->limits->files) return failed(copy, name, EDQUOT, true);
	if (copy->limits->bytes > 0 && copy->result->bytes > copy->limits->bytes) return failed(copy, name, ENOSPC, true);
	return 0;
}

static int copy_data(struct copy *copy, const char *name, int from, int to) {
	for (;;) {
		ssize_t length = read(from, copy->buffer, sizeof(copy->buffer));
		if (length < 0 && errno == EINTR) continue;
		if (length < 0) return failed(copy, name, errno, false);
		if (length == 0) return 0;
		for (ssize_t done = 0; done < length;) {
			ssize_t written = write(to, copy->buffer + done, (size_t)(length - done));
			if (written < 0 && errno == EINTR) continue;
			if (written < 0) return failed(copy, name, errno, errno == ENOSPC || errno == EDQUOT);
			done += written;
		}
		// Saves most files' second read, which would only say that there is no more.
		if ((size_t)length < sizeof(copy->buffer)) return 0;
	}
}

// Within one file system that has reflinks (btrfs, xfs) the copy shares its blocks with the tree until either is written to. A box's
// own file system is always another one; at level none both are WORKER_DIR's.
static bool clone_data(struct copy *copy, int from, int to) {
	if (copy->apart) return false;
	copy->apart = ioctl(to, FICLONE, from) != 0;
	if (!copy->apart) copy->result->cloned++;
	return !copy->apart;
}

static int copy_file(struct copy *copy, int from_folder, int to_folder, const char *name) {
	// O_NONBLOCK: a FIFO that is put in a file's place blocks nobody.
	AUTO_CLOSE int from = openat(from_folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (from < 0) return failed(copy, name, errno, false);
	struct stat info;
	if (fstat(from, &info) != 0) return failed(copy, name, errno, false);
	if (!S_ISREG(info.st_mode)) {
		copy->result->skipped++;
		return 0;
	}
	if (count(copy, name, info.st_size) != 0) return -1;
	mode_t mode = info.st_mode & 0111 ? 0755 : 0644;
	AUTO_CLOSE int to = openat(to_folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (to < 0) return failed(copy, name, errno, errno == ENOSPC);
	return info.st_size == 0 || clone_data(copy, from, to) ? 0 : copy_data(copy, name, from, to);
}

static int copy_link(struct copy *copy, int from, int to, const char *name) {
	char target[PATH_MAX + 1];
	ssize_t length = readlinkat(from, name, target, sizeof(target) - 1);
	if (length < 0) return failed(copy, name, errno, false);
	target[length] = 0;
	if (count(copy, name, length) != 0) return -1;
	return symlinkat(target, to, name) == 0 ? 0 : failed(copy, name, errno, errno == ENOSPC);
}

static int copy_folder(struct copy *copy, int from, int to);

static int copy_below(struct copy *copy, int from_folder, int to_folder, const char *name) {
	if (copy->depth >= DEPTH_MOST) return failed(copy, name, ENAMETOOLONG, true);
	if (count(copy, name, 0) != 0) return -1;
	if (mkdirat(to_folder, name, 0755) != 0) return failed(copy, name, errno, errno == ENOSPC);
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int from = openat(from_folder, name, flags);
	if (from < 0) return failed(copy, name, errno, false);
	AUTO_CLOSE int to = openat(to_folder, name, flags);
	if (to < 0) {
		close(from);
		return failed(copy, name, errno, false);
	}
	copy->depth++;
	int result = copy_folder(copy, from, to);
	copy->depth--;
	return result == 0 ? 0 : failed_below(copy, name);
}

static int copy_entry(struct copy *copy, int from, int to, const struct dirent *entry) {
	unsigned char type = entry->d_type;
	if (type == DT_UNKNOWN) {
		struct stat info;
		if (fstatat(from, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
			return failed(copy, entry->d_name, errno, false);
		type = IFTODT(info.st_mode);
	}
	switch (type) {
	case DT_REG:
		return copy_file(copy, from, to, entry->d_name);
	case DT_DIR:
		return copy_below(copy, from, to, entry->d_name);
	case DT_LNK:
		return copy_link(copy, from, to, entry->d_name);
	default:
		copy->result->skipped++;
		return 0;
	}
}

// Takes `from` over.
static int copy_folder(struct copy *copy, int from, int to) {
	DIR *folder = fdopendir(from);
	if (!folder) {
		int number = errno;
		close(from);
		return failed(copy, ".", number, false);
	}
	int result = 0;
	errno = 0;
	for (struct dirent *entry; result == 0 && (entry = readdir(folder)); errno = 0) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
		result = copy_entry(copy, from, to, entry);
	}
	if (result == 0 && errno != 0) result = failed(copy, ".", errno, false);
	closedir(folder);
	return result;
}

int copy_tree(int from, int to, const struct copy_limits *limits, struct copy_result *result) {
	static struct copy copy;
	copy.limits = limits;
	copy.result = result;
	copy.depth = 0;
	copy.apart = false;
	*result = (struct copy_result){0};
	mode_t mask = umask(0);
	int outcome = copy_folder(&copy, from, to);
	(void)umask(mask);
	return outcome;
}
