// Removes a folder that a hostile job has filled, in constant space whatever its depth: a folder found in it is not entered
// but moved up beside the first one, and has its turn later. Nothing writes there any more, and no link is followed.
#include "worker/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static unsigned long moved; // names for what is moved up

// Its owner may have taken every right from it.
static int open_folder(int parent, const char *name) {
	(void)!fchmodat(parent, name, 0700, 0);
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int move_up(int from, const char *name, int parent) {
	struct stat info;
	if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(info.st_mode)) return -1;
	(void)!fchmodat(from, name, 0700, 0);
	char place[48];
	do {
		(void)snprintf(place, sizeof(place), ".clear-%d-%lu", (int)getpid(), ++moved);
		if (renameat2(from, name, parent, place, RENAME_NOREPLACE) == 0) return 0;
	} while (errno == EEXIST);
	return -1;
}

static bool is_dots(const char *name) {
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

// Everything in it is removed, or moved up into parent.
static int empty_folder(int parent, const char *name) {
	int fd = open_folder(parent, name);
	if (fd < 0) return -1;
	DIR *folder = fdopendir(fd);
	if (!folder) {
		close(fd);
		return -1;
	}
	int result = 0;
	for (struct dirent *entry; (entry = readdir(folder));) {
		if (is_dots(entry->d_name)) continue;
		if (unlinkat(fd, entry->d_name, 0) == 0) continue;
		if (errno != EISDIR && errno != EPERM)
			result = -1;
		else if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) != 0 && move_up(fd, entry->d_name, parent) != 0)
			result = -1;
	}
	closedir(folder);
	return result;
}

// A folder of many entries can need several readings while it changes.
static int remove_emptied(int parent, const char *name) {
	for (int round = 0; round < 64; round++) {
		int emptied = empty_folder(parent, name);
		if (unlinkat(parent, name, AT_REMOVEDIR) == 0) return 0;
		if (errno == ENOENT) return 0;
		if (emptied != 0 || errno != ENOTEMPTY) return -1;
	}
	return -1;
}

// The names that were moved up begin with our own prefix; each is emptied in turn, which may bring new ones.
static int clear_moved(int parent) {
	for (unsigned long i = 1; i <= moved; i++) {
		char place[48];
		(void)snprintf(place, sizeof(place), ".clear-%d-%lu", (int)getpid(), i);
		if (remove_emptied(parent, place) != 0) return -1;
	}
	return 0;
}

int clear_folder(int parent, const char *name) {
	struct stat info;
	if (fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT ? 0 : -1;
	if (!S_ISDIR(info.st_mode)) return unlinkat(parent, name, 0);
	moved = 0;
	if (remove_emptied(parent, name) != 0) return -1;
	return clear_moved(parent);
}

// trabajos-init clear FOLDER NAME
int clear_main(int argc, char **argv) {
	if (argc != 2) return 64;
	AUTO_CLOSE int parent = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return parent >= 0 && clear_folder(parent, argv[1]) == 0 ? 0 : 1;
}
