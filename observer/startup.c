#include "observer/startup.h"

#include <stdlib.h>
#include <string.h>

static void forget_oldest(struct startup *startup, int count) {
	startup->asked -= count;
	memmove(startup->asked_at_ms, startup->asked_at_ms + count, (size_t)startup->asked * sizeof *startup->asked_at_ms);
}

void startup_actual(struct startup *startup, int64_t at_ms, int64_t actual) {
	int lost = 0;
	while (lost < startup->asked && at_ms - startup->asked_at_ms[lost] > STARTUP_LOST_MS) lost++;
	forget_oldest(startup, lost);
	for (int64_t came = actual - startup->actual; came > 0 && startup->asked > 0; came--) {
		startup->took_ms[startup->measured++ % STARTUP_KEPT] = at_ms - startup->asked_at_ms[0];
		forget_oldest(startup, 1);
	}
	startup->actual = actual;
}

void startup_wanted(struct startup *startup, int64_t at_ms, int64_t wanted) {
	int64_t awaited = wanted > startup->actual ? wanted - startup->actual : 0;
	if (awaited > STARTUP_ASKS) awaited = STARTUP_ASKS;
	while (startup->asked < awaited) startup->asked_at_ms[startup->asked++] = at_ms;
	startup->asked = (int)awaited; // the latest ones are not wanted any more
}

static int by_size(const void *left, const void *right) {
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
	return (a > b) - (a < b);
}

int64_t startup_ms(const struct startup *startup) {
	int64_t sorted[STARTUP_KEPT];
	size_t count = (size_t)(startup->measured < STARTUP_KEPT ? startup->measured : STARTUP_KEPT);
	if (count == 0) return 0;
	memcpy(sorted, startup->took_ms, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, by_size);
	return sorted[count / 2];
}
