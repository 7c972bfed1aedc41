// Lines of JSON to the worker. One write(2) a line; a worker that is gone is noticed by the one who reads the socket.
#include "worker/init/init.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>

static int socket_fd = -1;

static void write_all(const char *data, size_t length) {
	while (length > 0) {
		ssize_t written = send(socket_fd, data, length, MSG_NOSIGNAL);
		if (written < 0 && errno == EINTR) continue;
		if (written <= 0) return;
		data += written;
		length -= (size_t)written;
	}
}

void say_open(int fd) {
	socket_fd = fd;
}

int64_t say_now_us(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// Bytes beyond ASCII are written as "?": a file's name need not be UTF-8.
void say_quoted(const char *text, char *quoted, size_t size) {
	static const char hex[] = "0123456789abcdef";
	size_t at = 0;
	quoted[at++] = '"';
	for (; *text && at + 8 < size; text++) {
		unsigned char byte = (unsigned char)*text;
		if (byte == '"' || byte == '\\') {
			quoted[at++] = '\\';
			quoted[at++] = (char)byte;
		} else if (byte < 0x20 || byte == 0x7f) {
			const char escape[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
			for (size_t i = 0; i < sizeof(escape); i++) quoted[at++] = escape[i];
		} else {
			quoted[at++] = byte > 0x7f ? '?' : (char)byte;
		}
	}
	quoted[at++] = '"';
	quoted[at] = 0;
}

void say(const char *format, ...) {
	char line[SPEC_LINE_MAX];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(line) - 1) return;
	line[length] = '\n';
	write_all(line, (size_t)length + 1);
}

void say_failed(const char *what, int number, bool tree) {
	char quoted[SPEC_LINE_MAX / 2];
	say_quoted(what, quoted, sizeof(quoted));
	say("{\"event\":\"failed\",\"errno\":%d,\"what\":%s,\"tree\":%s}", number, quoted, tree ? "true" : "false");
}
