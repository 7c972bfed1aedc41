// Loaded beside libfaketime, which moves the clock that a program reads, but of the waits until a moment of that clock only those that
// POSIX threads had long ago. Those of C11's threads, which librdkafka has, and of a join would wait for an hour, or not at all.
#include "lib/attr.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <threads.h>

#define NS_OF_S 1000000000

// A moment of the moved clock as one of the kernel's.
static struct timespec real(const struct timespec *moved) {
	struct timespec moved_now, now;
	clock_gettime(CLOCK_REALTIME, &moved_now);
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	struct timespec moment = {
		moved->tv_sec - moved_now.tv_sec + now.tv_sec, moved->tv_nsec - moved_now.tv_nsec + now.tv_nsec + NS_OF_S};
	moment.tv_sec += moment.tv_nsec / NS_OF_S - 1;
	moment.tv_nsec %= NS_OF_S;
	return moment;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
	static int (*wait)(cnd_t *, mtx_t *, const struct timespec *);
	if (!wait) *(void **)&wait = dlsym(RTLD_NEXT, "cnd_timedwait");
	struct timespec moment = real(until);
	return wait(condition, mutex, &moment);
}

int pthread_timedjoin_np(pthread_t thread, void **result, const struct timespec *until) {
	static int (*join)(pthread_t, void **, const struct timespec *);
	if (!join) *(void **)&join = dlsym(RTLD_NEXT, "pthread_timedjoin_np");
	struct timespec moment = real(until);
	return join(thread, result, &moment);
}
