#include "observer/print.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#define ASK_MS 1000

static bool is_passing(int code) {
	return code == EINTR || code == EAGAIN;
}

int print_all(int fd, const char *text, size_t length, bool (*go_on)(void *arg), void *arg, struct error *error) {
	while (length > 0) {
		struct pollfd room = {.fd = fd, .events = POLLOUT};
		int ready = poll(&room, 1, ASK_MS);
		if (ready > 0) {
			// So much fits into a pipe that says it has room; poll(2) says POLLERR where nobody reads it, and write(2) why.
			ssize_t written = write(fd, text, length < PIPE_BUF ? length : PIPE_BUF);
			if (written < 0 && !is_passing(errno))
				return error_set_errno(error, ERROR_UNAVAILABLE, errno, "standard output");
			if (written > 0) {
				text += written;
				length -= (size_t)written;
			}
		} else if (ready < 0 && !is_passing(errno)) {
			return error_set_errno(error, ERROR_UNAVAILABLE, errno, "standard output");
		}
		if (length > 0 && !go_on(arg)) return 1;
	}
	return 0;
}
