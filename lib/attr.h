// Attributes used everywhere, and cleanup attributes for what the C library owns.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MUST_USE           __attribute__((warn_unused_result))
#define PRINTF(text, from) __attribute__((format(printf, text, from)))
#define NORETURN           __attribute__((noreturn))
#define UNUSED             __attribute__((unused))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline void cleanup_free(void *place) {
	free(*(void **)place);
}

static inline void cleanup_close(int *fd) {
	if (*fd >= 0) close(*fd);
}

static inline void cleanup_fclose(FILE **file) {
	if (*file) fclose(*file);
}

// The variable is freed / closed when it goes out of scope, unless it was handed over with a steal.
#define AUTO_FREE   __attribute__((cleanup(cleanup_free)))
#define AUTO_CLOSE  __attribute__((cleanup(cleanup_close)))
#define AUTO_FCLOSE __attribute__((cleanup(cleanup_fclose)))

static inline void *steal_pointer_(void *place) {
	void *value = *(void **)place;
	*(void **)place = NULL;
	return value;
}

// Hands the pointer over and leaves NULL behind.
#define STEAL(pointer) ((__typeof__(pointer))steal_pointer_(&(pointer)))

static inline int steal_fd(int *fd) {
	int value = *fd;
	*fd = -1;
	return value;
}
