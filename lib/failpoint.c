#include "lib/failpoint.h"

#ifdef FAILPOINTS

#include "lib/attr.h"
#include "lib/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#define POINTS_MOST 16

struct point {
	char *name, *action;
	unsigned long nth, percent; // one of the two is 0
	unsigned long passes;
};

static struct point points[POINTS_MOST];
static size_t count;
static unsigned seed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void add(char *text) {
	char *action = strchr(text, '='), *when = action ? strpbrk(action, "@%") : NULL;
	if (!when || count == POINTS_MOST) mem_die("FAILPOINTS: name=action@n or name=action%percent, 16 of them at the most");
	struct point *point = &points[count++];
	unsigned long number = strtoul(when + 1, NULL, 10);
	*(*when == '@' ? &point->nth : &point->percent) = number;
	*when = '\0';
	*action = '\0';
	point->name = text;
	point->action = action + 1;
}

// What is read stays until the end.
static void read_environment(void) {
	const char *given = getenv("FAILPOINTS"), *random = getenv("FAILPOINT_SEED");
	char *rest = mem_strdup(given ? given : ""), *text;
	seed = random ? (unsigned)strtoul(random, NULL, 10) : 1;
	while ((text = strsep(&rest, ",")))
		if (*text) add(text);
}

static void tell(const struct point *point) {
	const char *path = getenv("FAILPOINT_LOG");
	AUTO_CLOSE int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
	AUTO_FREE char *line = mem_format("%s %s %d\n", point->name, point->action, (int)getpid());
	if (fd >= 0 && write(fd, line, strlen(line)) < 0) mem_die("FAILPOINT_LOG cannot be written");
}

static bool due(struct point *point) {
	pthread_mutex_lock(&lock);
	bool now = point->nth ? ++point->passes == point->nth : (unsigned long)rand_r(&seed) % 100 < point->percent;
	pthread_mutex_unlock(&lock);
	return now;
}

bool failpoint_passed(const char *name) {
	pthread_once(&once, read_environment);
	bool fails = false;
	for (size_t i = 0; i < count; i++) {
		struct point *point = &points[i];
		if (strcmp(point->name, name) != 0 || !due(point)) continue;
		tell(point);
		if (strcmp(point->action, "kill") == 0)
			kill(getpid(), SIGKILL);
		else if (strcmp(point->action, "stop") == 0)
			kill(getpid(), SIGSTOP);
		else
			fails = true;
	}
	return fails;
}

#endif
