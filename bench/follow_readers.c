// Many clients that follow one log as events. Each line in it says when it was printed: "L<number> <nanoseconds since the epoch>.".
// Says "ready" when all have been answered, and when all streams are over one line of JSON: how late each line reached each reader,
// how late it reached the last one.
//
//     bench-follow-readers PORT PATH TOKEN READERS LINES
#include "lib/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define CARRY_MOST 64 // of a line whose rest comes with the next piece
#define BLOCK      65536

struct reader {
	int fd;
	bool answered, end, over;
	size_t carried, lines;
	char carry[CARRY_MOST];
};

struct bench {
	struct reader *readers;
	size_t count, lines, answered, over, ended, delivered;
	int epoll;
	float *late_ms; // of each delivery
	float *last_ms; // of each line, to the last reader
};

static int64_t now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void die(const char *what) {
	fprintf(stderr, "bench-follow-readers: %s: %s\n", what, strerrordesc_np(errno));
	exit(1);
}

static void dial(struct bench *bench, struct reader *reader, const char *port, const char *request) {
	struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = reader};
	size_t length = strlen(request);
	place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	reader->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (reader->fd < 0 || connect(reader->fd, (struct sockaddr *)&place, sizeof(place)) != 0) die("connect");
	if (send(reader->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) die("send");
	if (epoll_ctl(bench->epoll, EPOLL_CTL_ADD, reader->fd, &event) != 0) die("epoll");
}

static void deliver(struct bench *bench, struct reader *reader, size_t line, int64_t printed_ns, int64_t at_ns) {
	if (line >= bench->lines || line != reader->lines++) {
		fprintf(stderr, "bench-follow-readers: line %zu came as number %zu\n", line, reader->lines - 1);
		exit(1);
	}
	float late = (float)((double)(at_ns - printed_ns) / 1e6);
	bench->late_ms[bench->delivered++] = late;
	if (late > bench->last_ms[line]) bench->last_ms[line] = late;
}

// All whole lines of the text.
static const char *read_lines(struct bench *bench, struct reader *reader, const char *text, int64_t at_ns) {
	const char *rest = text;
	for (const char *line = text; (line = strchr(line, 'L')); line++) {
		char *end = NULL;
		unsigned long number = strtoul(line + 1, &end, 10);
		if (end == line + 1 || *end != ' ') continue;
		long long printed = strtoll(end + 1, &end, 10);
		if (*end != '.') continue;
		deliver(bench, reader, number, printed, at_ns);
		rest = end;
	}
	return rest;
}

static void look(struct bench *bench, struct reader *reader, const char *text, int64_t at_ns) {
	if (!reader->answered && strstr(text, "event: status")) {
		reader->answered = true;
		if (++bench->answered == bench->count) (void)(puts("ready") < 0 || fflush(stdout));
	}
	const char *rest = read_lines(bench, reader, text, at_ns);
	if (!reader->end && strstr(rest, "event: end")) {
		reader->end = true;
		bench->ended++;
	}
	size_t length = strlen(rest);
	reader->carried = length < CARRY_MOST ? length : CARRY_MOST - 1;
	memcpy(reader->carry, rest + length - reader->carried, reader->carried);
}

static void receive(struct bench *bench, struct reader *reader) {
	static char text[CARRY_MOST + BLOCK + 1];
	memcpy(text, reader->carry, reader->carried);
	ssize_t got = recv(reader->fd, text + reader->carried, BLOCK, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN) return;
	if (got > 0) {
		int64_t at_ns = now_ns();
		text[reader->carried + (size_t)got] = '\0';
		look(bench, reader, text, at_ns);
		if (!strstr(text, "\r\n0\r\n\r\n")) return;
	}
	reader->over = true;
	close(reader->fd);
	bench->over++;
}

static int compare(const void *one, const void *other) {
	float a = *(const float *)one, b = *(const float *)other;
	return (a > b) - (a < b);
}

static void print_figures(const char *name, float *values, size_t count) {
	qsort(values, count, sizeof(*values), compare);
	size_t p50 = count / 2, p99 = count * 99 / 100;
	printf("\"%s\":[%.1f,%.1f,%.1f],", name, count ? (double)values[p50] : 0.0, count ? (double)values[p99] : 0.0,
		count ? (double)values[count - 1] : 0.0);
}

int main(int argc, char **argv) {
	if (argc != 6) {
		fprintf(stderr, "usage: bench-follow-readers PORT PATH TOKEN READERS LINES\n");
		return 64;
	}
	struct rlimit files = {0};
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	struct bench bench = {.count = strtoul(argv[4], NULL, 10),
		.lines = strtoul(argv[5], NULL, 10),
		.epoll = epoll_create1(EPOLL_CLOEXEC)};
	bench.readers = mem_zalloc_array(bench.count, sizeof(*bench.readers));
	bench.late_ms = mem_zalloc_array(bench.count * bench.lines, sizeof(float));
	bench.last_ms = mem_zalloc_array(bench.lines, sizeof(float));
	AUTO_FREE char *request = mem_format(
		"GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", argv[2],
		argv[3]);
	for (size_t i = 0; i < bench.count; i++) dial(&bench, &bench.readers[i], argv[1], request);
	while (bench.over < bench.count) {
		struct epoll_event events[256];
		int ready = epoll_wait(bench.epoll, events, COUNT_OF(events), -1);
		for (int i = 0; i < ready; i++) receive(&bench, events[i].data.ptr);
	}
	printf("{");
	print_figures("each_ms", bench.late_ms, bench.delivered);
	print_figures("last_ms", bench.last_ms, bench.lines);
	printf("\"delivered\":%zu,\"ended\":%zu}\n", bench.delivered, bench.ended);
	return 0;
}
