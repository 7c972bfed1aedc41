// A server on a thread of its own, so that tests can talk to it with blocking sockets.
#pragma once

#include "lib/http.h"
#include "lib/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

struct rig {
	struct loop *loop;
	struct http_server *server;
	struct loop_wakeup *wakeup;
	pthread_t thread;
	sem_t done;
	void (*job)(struct rig *rig);
	uint16_t port;
	atomic_int calls, gone, finished, last_status, streams_over;
	atomic_int connections; // as last counted
};

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static inline void rig_loop_wakes(void *arg) {
	struct rig *rig = arg;
	if (rig->job)
		rig->job(rig);
	else
		loop_stop(rig->loop);
	rig->job = NULL;
	sem_post(&rig->done);
}

static inline void *rig_thread(void *arg) {
	loop_run(((struct rig *)arg)->loop);
	return NULL;
}

// Runs the job in the loop's thread and waits for it.
static inline void rig_do(struct rig *rig, void (*job)(struct rig *rig)) {
	rig->job = job;
	loop_wakeup_fire(rig->wakeup);
	sem_wait(&rig->done);
}

static inline void rig_finished(const struct http_request *request, int status, int64_t took_us, void *arg) {
	struct rig *rig = arg;
	bool whole = http_method(request) && http_path(request) && http_id(request) && took_us >= 0;
	rig->last_status = whole ? status : -2;
	rig->finished++;
}

// Answers at once, with the length of the body that came.
static inline void rig_handle_now(struct http_request *request, void *arg) {
	(void)arg;
	size_t length;
	http_body(request, &length);
	AUTO_FREE char *text = mem_format("%zu", length);
	http_answer_text(request, 200, "text/plain", text);
}

// More than any socket's buffer holds.
static inline void rig_handle_big(struct http_request *request, void *arg) {
	(void)arg;
	size_t size = 8 << 20;
	AUTO_FREE char *body = mem_zalloc(size);
	http_answer(request, 200, "application/octet-stream", body, size);
}

#define RIG_CONFIG(routes) rig_config(routes, COUNT_OF(routes))

static inline struct http_config rig_config(const struct http_route *routes, size_t route_count) {
	return (struct http_config){.listen = "127.0.0.1:0",
		.routes = routes,
		.route_count = route_count,
		.header_bytes = 4096,
		.target_bytes = 1024,
		.body_bytes = 2000,
		.connections = 100,
		.deadline_ms = 5000,
		.idle_ms = 5000,
		.finished = rig_finished};
}

static inline struct rig *rig_open(struct http_config config) {
	struct rig *rig = mem_zalloc(sizeof(*rig));
	AUTO_ERROR struct error error = {.kind = ERROR_NONE};
	rig->loop = loop_new();
	rig->last_status = -1;
	config.arg = rig;
	if (http_server_open(rig->loop, &config, &rig->server, &error) != 0) fail_msg("%s", error_text(&error));
	rig->port = http_server_port(rig->server);
	rig->wakeup = loop_wakeup_new(rig->loop, rig_loop_wakes, rig);
	sem_init(&rig->done, 0, 0);
	pthread_create(&rig->thread, NULL, rig_thread, rig);
	return rig;
}

static inline void rig_close(struct rig *rig) {
	rig_do(rig, NULL);
	pthread_join(rig->thread, NULL);
	http_server_close(rig->server);
	loop_wakeup_free(rig->wakeup);
	loop_free(rig->loop);
	sem_destroy(&rig->done);
	free(rig);
}

// The counter reaches the value within two seconds.
static inline void rig_await(atomic_int *counter, int value) {
	for (int i = 0; i < 2000 && *counter < value; i++) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(*counter, value);
}

static inline void rig_count_connections(struct rig *rig) {
	rig->connections = (int)http_server_connections(rig->server);
}

static inline void rig_await_connections(struct rig *rig, int count) {
	for (int i = 0; i < 2000; i++) {
		rig_do(rig, rig_count_connections);
		if (rig->connections == count) return;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_equal(rig->connections, count);
}

// ---- client

static inline int rig_dial_from(const struct rig *rig, const char *from) {
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct timeval patience = {.tv_sec = 8};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	inet_pton(AF_INET, from, &address.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	address.sin_port = htons(rig->port);
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static inline int rig_dial(const struct rig *rig) {
	return rig_dial_from(rig, "127.0.0.1");
}

static inline void rig_send(int fd, const char *data, size_t length) {
	while (length > 0) {
		ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
		if (sent <= 0) return; // it was cut: the test sees that when reading
		data += sent;
		length -= (size_t)sent;
	}
}

static inline void rig_say(int fd, const char *text) {
	rig_send(fd, text, strlen(text));
}

struct reply {
	int status; // 0: the connection ended instead
	char *head, *body;
	size_t length;
};

static inline void reply_clear(struct reply *reply) {
	free(reply->head);
	free(reply->body);
	*reply = (struct reply){.status = 0};
}
#define AUTO_REPLY __attribute__((cleanup(reply_clear)))

// A header's value, to be freed; NULL: absent.
static inline char *reply_header(const struct reply *reply, const char *name) {
	size_t length = strlen(name);
	for (const char *line = strstr(reply->head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':')
			return mem_strndup(line + length + 4, strcspn(line + length + 4, "\r"));
	return NULL;
}

static inline bool reply_has(const struct reply *reply, const char *name, const char *value) {
	AUTO_FREE char *got = reply_header(reply, name);
	return got && strcmp(got, value) == 0;
}

static inline char *rig_line(int fd) {
	char *line = mem_zalloc(1);
	for (size_t length = 0;; length++) {
		char c;
		if (recv(fd, &c, 1, 0) != 1) break;
		line = mem_resize(line, length + 2, 1);
		line[length] = c;
		line[length + 1] = '\0';
		if (c == '\n') return line;
	}
	free(line);
	return NULL;
}

static inline bool reply_take(struct reply *reply, int fd, size_t length) {
	reply->body = mem_resize(reply->body, reply->length + length + 1, 1);
	ssize_t got = length > 0 ? recv(fd, reply->body + reply->length, length, MSG_WAITALL) : 0;
	if (got > 0) reply->length += (size_t)got;
	reply->body[reply->length] = '\0';
	return got == (ssize_t)length;
}

static inline void reply_chunks(struct reply *reply, int fd) {
	for (;;) {
		AUTO_FREE char *size = rig_line(fd);
		size_t length = size ? strtoul(size, NULL, 16) : 0;
		if (!size || !reply_take(reply, fd, length)) {
			reply->status = 0; // broken off
			return;
		}
		AUTO_FREE char *end = rig_line(fd);
		if (!end || length == 0) return;
	}
}

// Reads one answer. head: of a HEAD request, which has no body.
static inline struct reply rig_read(int fd, bool head) {
	struct reply reply = {.head = mem_strdup(""), .body = mem_strdup("")};
	for (;;) {
		AUTO_FREE char *line = rig_line(fd);
		if (!line) return reply;
		char *longer = mem_format("%s%s", reply.head, line);
		free(reply.head);
		reply.head = longer;
		if (strcmp(line, "\r\n") == 0) break;
	}
	reply.status = (int)strtol(reply.head + strlen("HTTP/1.1 "), NULL, 10);
	if (head || reply.status == 204 || reply.status == 100) return reply;
	AUTO_FREE char *size = reply_header(&reply, "Content-Length");
	if (reply_has(&reply, "Transfer-Encoding", "chunked"))
		reply_chunks(&reply, fd);
	else if (size)
		reply_take(&reply, fd, strtoul(size, NULL, 10));
	else
		while (reply_take(&reply, fd, 1)) continue;
	return reply;
}

static inline bool rig_ended(int fd) {
	char c;
	ssize_t got = recv(fd, &c, 1, 0);
	return got == 0 || (got < 0 && errno == ECONNRESET);
}

// One request on a connection of its own.
static inline struct reply rig_ask(const struct rig *rig, const char *text) {
	int fd = rig_dial(rig);
	rig_say(fd, text);
	struct reply reply = rig_read(fd, strncmp(text, "HEAD ", 5) == 0);
	close(fd);
	return reply;
}
