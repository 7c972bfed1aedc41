#include "lib/mem.h"

#include <errno.h>
#include <stdint.h>
#include <sys/uio.h>

static char end_of_line[] = "\n";

void mem_die(const char *what) {
	// Without the C library's buffers, which may need memory themselves.
	struct iovec parts[] = {
		{.iov_base = program_invocation_short_name, .iov_len = strlen(program_invocation_short_name)},
		{.iov_base = (char[]){": "}, .iov_len = 2},
		{.iov_base = (void *)(uintptr_t)what, .iov_len = strlen(what)},
		{.iov_base = end_of_line, .iov_len = 1},
	};
	ssize_t written = writev(STDERR_FILENO, parts, COUNT_OF(parts));
	(void)written;
	abort();
}

static void *checked(void *memory) {
	if (!memory) mem_die("out of memory");
	return memory;
}

void *mem_zalloc(size_t bytes) {
	return checked(calloc(1, bytes ? bytes : 1));
}

void *mem_zalloc_array(size_t count, size_t bytes) {
	return count && bytes ? checked(calloc(count, bytes)) : mem_zalloc(1);
}

void *mem_resize(void *old, size_t count, size_t bytes) {
	// A size of 0 would be a free() in disguise.
	return checked(count && bytes ? reallocarray(old, count, bytes) : realloc(old, 1));
}

char *mem_strdup(const char *text) {
	return text ? checked(strdup(text)) : NULL;
}

char *mem_strndup(const char *text, size_t most) {
	return text ? checked(strndup(text, most)) : NULL;
}

void *mem_dup(const void *data, size_t bytes) {
	if (!data) return NULL;
	void *copy = mem_zalloc(bytes);
	return bytes ? memcpy(copy, data, bytes) : copy;
}

char *mem_format_list(const char *format, va_list arguments) {
	char *text = NULL;
	if (vasprintf(&text, format, arguments) < 0) mem_die("out of memory");
	return text;
}

char *mem_format(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	char *text = mem_format_list(format, arguments);
	va_end(arguments);
	return text;
}
