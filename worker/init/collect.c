// The job's artifacts, once nothing of it is alive: what its globs name in its view of the tree, as frames into a pipe (spec.h).
//
// This is pid 1 of the box: it has the job's own uid, no capabilities, its system call filter and its walls, so that what it
// could be led to reads nothing that the job itself could not. It is led nowhere all the same: each step opens one name below
// an open folder, beneath it and through no link or mount; only regular files are read, as many bytes as they had when they were
// opened. Names, depths, numbers and sizes are the job's: all of them are bounded here, and once more by the worker that reads
// the pipe. How long it takes is the worker's to bound.
//
// A pattern matches by segments, "**" any number of folders; one that names a folder stands for all that is in it. Which
// places of all patterns a path has come to is known at each folder, so that a folder under which nothing can match is not
// looked into.
#include "worker/init/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define DEPTH_MOST 64
#define LOOKS_MOST 200000 // names

struct segment {
	const char *text;
	bool last, any; // of its pattern; "**"
};

struct link {
	dev_t device;
	ino_t inode;
	int64_t file;
};

struct collector {
	const struct collect_order *order;
	struct segment *segments;
	size_t count;
	int64_t bytes, files; // taken
	int64_t looks, left;
	struct link *links; // those files that have other names
	size_t link_count;
	int depth;
	size_t length;
	char path[COLLECT_PATH_MOST + 1];
	char buffer[COLLECT_DATA_MOST];
};

// ---- frames

static void write_all(const struct collector *collector, const void *data, size_t length) {
	const char *at = data;
	while (length > 0) {
		ssize_t written = write(collector->order->pipe, at, length);
		if (written < 0 && errno == EINTR) continue;
		if (written <= 0) _exit(72); // nobody wants them any more
		at += written;
		length -= (size_t)written;
	}
}

static void send_frame(
	const struct collector *collector, enum collect_kind kind, int64_t number, const void *payload, size_t length) {
	const struct collect_head head = {.kind = kind, .length = (uint32_t)length, .number = number};
	write_all(collector, &head, sizeof(head));
	write_all(collector, payload, length);
}

static void leave_out(struct collector *collector, enum collect_reason reason) {
	if (collector->left++ < COLLECT_LEFT_MOST)
		send_frame(collector, COLLECT_LEFT, reason, collector->path, collector->length);
}

// ---- one file

static int open_below(int folder, const char *name, int flags) {
	const struct open_how how = {.flags = (unsigned)(flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
	int fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof(how));
	// Linux before 5.6, or a container that refuses it: one name, below a folder that is open, and no link.
	if (fd < 0 && (errno == ENOSYS || errno == EPERM)) fd = openat(folder, name, (int)how.flags);
	return fd;
}

static bool send_data(struct collector *collector, int fd, int64_t size) {
	while (size > 0) {
		size_t wanted = size < COLLECT_DATA_MOST ? (size_t)size : COLLECT_DATA_MOST;
		ssize_t length = read(fd, collector->buffer, wanted);
		if (length < 0 && errno == EINTR) continue;
		if (length <= 0) return false;
		send_frame(collector, COLLECT_DATA, 0, collector->buffer, (size_t)length);
		size -= length;
	}
	return true;
}

static const struct link *find_link(const struct collector *collector, const struct stat *info) {
	for (size_t i = 0; i < collector->link_count; i++)
		if (collector->links[i].device == info->st_dev && collector->links[i].inode == info->st_ino)
			return &collector->links[i];
	return NULL;
}

static void remember_link(struct collector *collector, const struct stat *info) {
	struct link *longer = reallocarray(collector->links, collector->link_count + 1, sizeof(*longer));
	if (!longer) return; // then it is read twice
	collector->links = longer;
	longer[collector->link_count++] = (struct link){info->st_dev, info->st_ino, collector->files};
}

static void take(struct collector *collector, int folder, const char *name) {
	AUTO_CLOSE int fd = open_below(folder, name, 0);
	struct stat info;
	if (fd < 0 || fstat(fd, &info) != 0) {
		leave_out(collector, COLLECT_UNREADABLE);
		return;
	}
	if (!S_ISREG(info.st_mode)) {
		leave_out(collector, COLLECT_NO_FILE);
		return;
	}
	if (collector->files >= collector->order->files) {
		leave_out(collector, COLLECT_TOO_MANY);
		return;
	}
	const struct link *link = info.st_nlink > 1 ? find_link(collector, &info) : NULL;
	if (link) {
		send_frame(collector, COLLECT_SAME, link->file, collector->path, collector->length);
		collector->files++;
		return;
	}
	if (info.st_size > collector->order->bytes - collector->bytes) {
		leave_out(collector, COLLECT_TOO_LARGE);
		return;
	}
	send_frame(collector, COLLECT_FILE, info.st_size, collector->path, collector->length);
	if (!send_data(collector, fd, info.st_size)) {
		leave_out(collector, COLLECT_UNREADABLE);
		return;
	}
	if (info.st_nlink > 1) remember_link(collector, &info);
	collector->bytes += info.st_size;
	collector->files++;
}

// ---- patterns

static void add_segment(struct collector *collector, const char *text) {
	collector->segments[collector->count++] = (struct segment){.text = text, .any = strcmp(text, "**") == 0};
}

// false: no memory.
static bool split(struct collector *collector) {
	size_t most = 1;
	for (char **glob = collector->order->globs; *glob; glob++) most += strlen(*glob) / 2 + 2;
	collector->segments = calloc(most, sizeof(*collector->segments));
	if (!collector->segments) return false;
	for (char **glob = collector->order->globs; *glob; glob++) {
		size_t before = collector->count;
		char *rest = NULL;
		for (char *text = strtok_r(*glob, "/", &rest); text; text = strtok_r(NULL, "/", &rest))
			if (strcmp(text, ".") != 0) add_segment(collector, text);
		// The tree itself: all in it.
		if (collector->count == before) add_segment(collector, "*");
		collector->segments[collector->count - 1].last = true;
	}
	return true;
}

// "**" may stand for no folder at all.
static void come_to(const struct collector *collector, bool *places, size_t place) {
	while (!places[place]) {
		places[place] = true;
		if (!collector->segments[place].any || collector->segments[place].last) return;
		place++;
	}
}

enum match { MATCH_NONE, MATCH_BELOW, MATCH_WHOLE };

// Where a name leads from these places; below a whole match every name is one (here NULL).
static enum match step(const struct collector *collector, const char *name, const bool *here, bool *next) {
	enum match match = MATCH_NONE;
	if (!here) return MATCH_WHOLE;
	for (size_t i = 0; i < collector->count; i++) {
		const struct segment *segment = &collector->segments[i];
		if (!here[i] || !glob_fits(segment->any ? "*" : segment->text, name)) continue;
		if (segment->last) return MATCH_WHOLE;
		come_to(collector, next, segment->any ? i : i + 1);
		match = MATCH_BELOW;
	}
	return match;
}

// ---- folders

struct names {
	char **list;
	size_t count, room;
};

static void free_names(struct names *names) {
	for (size_t i = 0; i < names->count; i++) free(names->list[i]);
	free(names->list);
}

static bool add_name(struct names *names, const char *name) {
	if (names->count == names->room) {
		size_t room = names->room ? 2 * names->room : 32;
		char **longer = reallocarray(names->list, room, sizeof(*longer));
		if (!longer) return false;
		names->list = longer;
		names->room = room;
	}
	char *copy = strdup(name);
	if (copy) names->list[names->count++] = copy;
	return copy != NULL;
}

static int compare(const void *one, const void *other) {
	return strcmp(*(char *const *)one, *(char *const *)other);
}

// Sorted, so that what is left out for being too much is the same each time.
static void read_names(struct collector *collector, int folder, struct names *names) {
	DIR *reading = fdopendir(folder);
	if (!reading) close(folder);
	if (!reading) return;
	const struct dirent *entry;
	while ((entry = readdir(reading))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
		if (collector->looks++ >= LOOKS_MOST || !add_name(names, entry->d_name)) {
			if (collector->looks <= LOOKS_MOST + 1) leave_out(collector, COLLECT_UNSEEN);
			collector->looks = LOOKS_MOST + 1;
			break;
		}
	}
	closedir(reading);
	if (names->list) qsort(names->list, names->count, sizeof(*names->list), compare);
}

static void walk(struct collector *collector, int folder, const bool *here);

static void look_into(struct collector *collector, int folder, const char *name, const bool *here) {
	AUTO_CLOSE int below = open_below(folder, name, O_DIRECTORY);
	if (below < 0) {
		leave_out(collector, COLLECT_UNREADABLE);
	} else if (collector->depth >= DEPTH_MOST) {
		leave_out(collector, COLLECT_TOO_DEEP);
	} else {
		collector->depth++;
		walk(collector, below, here);
		collector->depth--;
	}
}

static void look_at_match(struct collector *collector, int folder, const char *name, enum match match, const bool *next) {
	struct stat info;
	size_t before = collector->length, size = strlen(name);
	if (before + 1 + size > COLLECT_PATH_MOST) {
		leave_out(collector, COLLECT_TOO_DEEP);
		return;
	}
	if (before > 0) collector->path[collector->length++] = '/';
	memcpy(collector->path + collector->length, name, size + 1);
	collector->length += size;
	if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
		leave_out(collector, COLLECT_UNREADABLE);
	else if (S_ISDIR(info.st_mode))
		look_into(collector, folder, name, match == MATCH_WHOLE ? NULL : next);
	else if (match == MATCH_WHOLE && S_ISREG(info.st_mode))
		take(collector, folder, name);
	else if (match == MATCH_WHOLE)
		leave_out(collector, COLLECT_NO_FILE);
	collector->length = before;
	collector->path[before] = '\0';
}

static void look_at(struct collector *collector, int folder, const char *name, const bool *here) {
	bool *next = calloc(collector->count, sizeof(*next));
	if (!next) return;
	enum match match = step(collector, name, here, next);
	if (match != MATCH_NONE) look_at_match(collector, folder, name, match, next);
	free(next);
}

static void walk(struct collector *collector, int folder, const bool *here) {
	struct names names = {0};
	int reading = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (reading >= 0)
		read_names(collector, reading, &names);
	else
		leave_out(collector, COLLECT_UNREADABLE);
	for (size_t i = 0; i < names.count; i++) look_at(collector, folder, names.list[i], here);
	free_names(&names);
}

void collect(int folder, const struct collect_order *order) {
	static struct collector collector;
	collector.order = order;
	AUTO_CLOSE int top = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool *here = split(&collector) ? calloc(collector.count, sizeof(*here)) : NULL;
	for (size_t i = 0; here && i < collector.count; i++)
		if (i == 0 || collector.segments[i - 1].last) come_to(&collector, here, i);
	if (top < 0 || !here)
		leave_out(&collector, COLLECT_UNREADABLE);
	else
		walk(&collector, top, here);
	free(here);
	free(collector.segments);
	free(collector.links);
	send_frame(&collector, COLLECT_END, collector.left, NULL, 0);
	close(order->pipe);
}
