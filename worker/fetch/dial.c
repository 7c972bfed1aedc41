#include "worker/fetch/dial.h"

#include "lib/giturl.h"
#include "lib/mem.h"
#include "worker/fetch/git.h"
#include "worker/fetch/request.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct stream {
	git_stream base; // first: libgit2 knows only this
	char *host, *port;
	int fd;
};

static const struct dial_system libc_system = {getaddrinfo, freeaddrinfo, connect};
static const struct dial_target *target;
static const struct dial_system *calls;
static enum dial_fault first_fault;
static int64_t bytes_moved;
static bool request_seen;

static int fail(enum dial_fault fault, const char *text) {
	if (first_fault == DIAL_FINE) first_fault = fault;
	git_error_set_str(GIT_ERROR_NET, text);
	return -1;
}

static int64_t now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// 1: ready; 0: time is up; -1: errno.
static int await(int fd, short events, int64_t timeout_ms) {
	const int64_t until = now_ms() + timeout_ms;
	for (;;) {
		int64_t left = until - now_ms();
		struct pollfd wait = {.fd = fd, .events = events};
		int ready = poll(&wait, 1, left > 0 ? (int)(left < INT32_MAX ? left : INT32_MAX) : 0);
		if (ready >= 0 || errno != EINTR) return ready;
	}
}

// ---- connecting

static bool same_host(const char *host) {
	size_t length = strlen(host);
	if (length > 1 && host[0] == '[' && host[length - 1] == ']') {
		host++;
		length -= 2;
	}
	return strlen(target->host) == length && strncasecmp(host, target->host, length) == 0;
}

static bool same_port(const char *port) {
	char *end;
	unsigned long number = strtoul(port, &end, 10);
	return *port != '\0' && *end == '\0' && number == target->port;
}

static bool is_acceptable(const struct sockaddr *address) {
	return address_is_public(address) && !(target->denied && prefixes_lead_to(target->denied, address));
}

// One address that is not acceptable condemns the name: whoever mixes them hopes for the order to change.
static bool all_acceptable(const struct addrinfo *found) {
	for (; found; found = found->ai_next)
		if (!is_acceptable(found->ai_addr)) return false;
	return true;
}

static int connect_one(const struct addrinfo *address, int64_t timeout_ms, enum dial_fault *fault) {
	int on = 1, number = 0;
	socklen_t length = sizeof number;
	*fault = DIAL_REFUSED;
	AUTO_CLOSE int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (fd < 0) return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // requests are written in pieces
	if (calls->connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
		if (errno != EINPROGRESS) return -1;
		int ready = await(fd, POLLOUT, timeout_ms);
		if (ready == 0) *fault = DIAL_TIMEOUT;
		if (ready <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) < 0 || number != 0) return -1;
	}
	return steal_fd(&fd);
}

static int connect_any(const struct addrinfo *found) {
	const int64_t until = now_ms() + target->connect_timeout_ms;
	enum dial_fault fault = DIAL_REFUSED;
	for (; found; found = found->ai_next) {
		int64_t left = until - now_ms();
		if (left <= 0) break;
		// Half of what is left, so that a silent first address does not use it all up.
		int fd = connect_one(found, found->ai_next ? (left + 1) / 2 : left, &fault);
		if (fd >= 0) return fd;
	}
	return fail(fault, fault == DIAL_TIMEOUT ? "no connection within the time limit" : "no connection");
}

int dial_connect(const char *host, const char *port) {
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	if (!same_host(host) || !same_port(port)) return fail(DIAL_REDIRECT, "a redirect to another server");
	int code = calls->resolve(target->host, port, &hints, &found);
	if (code == EAI_NONAME || code == EAI_FAIL) return fail(DIAL_NO_HOST, "the host name does not exist");
	if (code != 0 || !found) return fail(DIAL_NO_LOOKUP, "the host name cannot be looked up now");
	bool acceptable = target->allowed || all_acceptable(found);
	int fd = acceptable ? connect_any(found) : fail(DIAL_DENIED, "the host leads to an address that may not be reached");
	calls->release(found);
	return fd;
}

// ---- libgit2's stream

static bool is_bound(void) {
	return target->allowed || target->secret;
}

static int stream_connect(git_stream *base) {
	struct stream *stream = (struct stream *)base;
	// A libgit2 that was built without tracing, or traces otherwise, fetches nothing where the path matters.
	if (is_bound() && !request_seen) return fail(DIAL_BROKEN, "this libgit2 does not trace its requests");
	stream->fd = dial_connect(stream->host, stream->port);
	return stream->fd < 0 ? -1 : 0;
}

static int count(size_t bytes) {
	bytes_moved += (int64_t)bytes;
	return bytes_moved > target->most_bytes ? fail(DIAL_TOO_MUCH, "the server sends too much") : 0;
}

static ssize_t stream_read(git_stream *base, void *data, size_t length) {
	struct stream *stream = (struct stream *)base;
	for (;;) {
		ssize_t got = recv(stream->fd, data, length, 0);
		if (got >= 0) return count((size_t)got) < 0 ? -1 : got;
		if (errno == EINTR) continue;
		if (errno != EAGAIN) return fail(DIAL_BROKEN, "the connection broke");
		int ready = await(stream->fd, POLLIN, target->stall_timeout_ms);
		if (ready == 0) return fail(DIAL_TIMEOUT, "the server went silent");
		if (ready < 0) return fail(DIAL_BROKEN, "the connection broke");
	}
}

// A redirect within the server could step out of the folder that GIT_ALLOW or a credential is for; libgit2 follows it without
// asking, but traces every request before it writes it. What was seen here goes no further than stream_write.
static void watch_request(git_trace_level_t level, const char *message) {
	const char *at = strstr(message, " request to "), *scheme = at ? strstr(at, "://") : NULL;
	(void)level;
	if (strncmp(message, "Sending ", 8) != 0 || !scheme) return;
	const char *asked = strchr(scheme + 3, '/');
	if (!asked || !request_is_plain(asked) || (is_bound() && !request_is_own(asked, target->path)))
		fail(DIAL_REDIRECT, "a redirect to elsewhere on the server");
	request_seen = true;
}

static ssize_t stream_write(git_stream *base, const char *data, size_t length, int flags) {
	struct stream *stream = (struct stream *)base;
	(void)flags;
	if (first_fault == DIAL_REDIRECT) return fail(DIAL_REDIRECT, "a redirect to elsewhere on the server");
	if (count(length) < 0) return -1;
	for (size_t done = 0; done < length;) {
		ssize_t sent = send(stream->fd, data + done, length - done, MSG_NOSIGNAL);
		if (sent >= 0) {
			done += (size_t)sent;
			continue;
		}
		if (errno == EINTR) continue;
		if (errno != EAGAIN) return fail(DIAL_BROKEN, "the connection broke");
		int ready = await(stream->fd, POLLOUT, target->stall_timeout_ms);
		if (ready == 0) return fail(DIAL_TIMEOUT, "the server takes nothing");
		if (ready < 0) return fail(DIAL_BROKEN, "the connection broke");
	}
	return (ssize_t)length;
}

static int stream_close(git_stream *base) {
	struct stream *stream = (struct stream *)base;
	if (stream->fd >= 0) close(steal_fd(&stream->fd));
	return 0;
}

static void stream_free(git_stream *base) {
	struct stream *stream = (struct stream *)base;
	stream_close(base);
	free(stream->host);
	free(stream->port);
	free(stream);
}

static int stream_new(git_stream **out, const char *host, const char *port) {
	struct stream *stream = mem_zalloc(sizeof *stream);
	stream->fd = -1;
	stream->host = mem_strdup(host);
	stream->port = mem_strdup(port);
	stream->base.version = GIT_STREAM_VERSION;
	stream->base.connect = stream_connect;
	stream->base.read = stream_read;
	stream->base.write = stream_write;
	stream->base.close = stream_close;
	stream->base.free = stream_free;
	*out = &stream->base;
	return 0;
}

// ---- the process's target

enum dial_fault dial_fault(void) {
	return first_fault;
}

int dial_register(const struct dial_target *to, const struct dial_system *system_calls) {
	static git_stream_registration registration = {.version = GIT_STREAM_VERSION, .init = stream_new};
	target = to;
	calls = system_calls ? system_calls : &libc_system;
	first_fault = DIAL_FINE;
	bytes_moved = 0;
	request_seen = false;
	if (git_trace_set(GIT_TRACE_DEBUG, watch_request) < 0 && is_bound()) return -1;
	return git_stream_register(GIT_STREAM_STANDARD, &registration);
}
