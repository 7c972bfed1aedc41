// Each folder on the way is opened from the one before, never through a link, and named by one component that is neither "." nor "..":
// so whatever stands in the target folder already, links to elsewhere included, nothing outside of it is reached.
#include "cli/place.h"

#include "cli/words.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static bool is_component(const char *text, size_t length) {
	bool dots = (length == 1 && text[0] == '.') || (length == 2 && text[0] == '.' && text[1] == '.');
	return length > 0 && length <= 255 && !dots;
}

// One folder down; the one before is closed.
static int descend(int folder, const char *name) {
	int made = mkdirat(folder, name, 0777), number = errno;
	int next = made && number != EEXIST ? -1 : openat(folder, name, FOLDER);
	if (next < 0 && (!made || number == EEXIST)) number = errno;
	close(folder);
	errno = number;
	return next;
}

static bool is_free(int folder, const char *name) {
	struct stat about;
	return fstatat(folder, name, &about, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT;
}

// Looked at as a whole, before anything is made.
static bool is_below(const char *path) {
	for (;; path++) {
		size_t length = strcspn(path, "/");
		if (!is_component(path, length)) return false;
		path += length;
		if (!*path) return true;
	}
}

int place_open(int root, const char *path, bool replaces, struct place *place, struct error *error) {
	*place = (struct place){.folder = -1, .fd = -1};
	if (!is_below(path)) return error_set(error, ERROR_INPUT, _("\"%s\" is no path below the folder"), path);
	place->folder = fcntl(root, F_DUPFD_CLOEXEC, 3);
	const char *at = path;
	while (place->folder >= 0) {
		size_t length = strcspn(at, "/");
		free(place->name);
		place->name = mem_strndup(at, length);
		if (!at[length]) break;
		place->folder = descend(place->folder, place->name);
		at += length + 1;
	}
	if (place->folder < 0) return error_set_errno(error, ERROR_INPUT, errno, "%s", path);
	if (!replaces && !is_free(place->folder, place->name))
		return error_set(error, ERROR_INPUT, _("%s is there already; --force replaces it"), path);
	place->temporary = mem_format(".trabajos-%d", (int)getpid());
	unlinkat(place->folder, place->temporary, 0);
	place->fd = openat(place->folder, place->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	return place->fd < 0 ? error_set_errno(error, ERROR_INPUT, errno, "%s", path) : 0;
}

int place_keep(struct place *place, bool replaces, struct error *error) {
	unsigned flags = replaces ? 0 : RENAME_NOREPLACE;
	int result = renameat2(place->folder, place->temporary, place->folder, place->name, flags);
	if (result && errno == EINVAL && is_free(place->folder, place->name)) // a file system that cannot
		result = renameat(place->folder, place->temporary, place->folder, place->name);
	if (result) return error_set_errno(error, ERROR_INPUT, errno, "%s", place->name);
	free(STEAL(place->temporary));
	return 0;
}

void place_close(struct place *place) {
	if (place->temporary && place->fd >= 0) unlinkat(place->folder, place->temporary, 0);
	if (place->fd >= 0) close(place->fd);
	if (place->folder >= 0) close(place->folder);
	free(place->name);
	free(place->temporary);
	*place = (struct place){.folder = -1, .fd = -1};
}
