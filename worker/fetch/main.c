// trabajos-fetch: one request, one answer, on standard input and output (worker/fetch.h). The worker starts it unprivileged and
// under limits, and kills it when it takes too long; nothing here trusts what a git server sends.
#include "lib/mem.h"
#include "worker/fetch/evict.h"
#include "worker/fetch/folder.h"
#include "worker/fetch/mirror.h"
#include "worker/fetch/order.h"
#include "worker/fetch/reply.h"
#include "worker/fetch/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

// Read by the leak sanitizer: libgit2 1.5 loses what its regular expressions match (git_regexp_match); nothing of ours may leak.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void) {
	return "leak:libpcre2";
}
const char *__lsan_default_options(void) {
	return "print_suppressions=0";
}

static int fail(const char *text) {
	fprintf(stderr, "trabajos-fetch: %s\n", text);
	return 1;
}

static bool is_readable_now(int fd) {
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	return poll(&wait, 1, 0) != 0;
}

// One line; NULL where none came (the worker is gone, or has no use for this process any more).
static char *read_line(int fd, size_t *length) {
	AUTO_FREE char *text = NULL;
	size_t room = 0;
	for (*length = 0;;) {
		if (*length == room) {
			if (room > ORDER_BYTES_MAX) return NULL;
			room = room ? room * 2 : 8192;
			text = mem_resize(text, room, 1);
		}
		ssize_t got = read(fd, text + *length, room - *length);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) return NULL;
		*length += (size_t)got;
		if (text[*length - 1] == '\n') return STEAL(text);
	}
}

static json_t *carry_out(const struct order *order) {
	AUTO_ERROR struct error error = {0};
	struct outcome outcome = {0};
	json_t *answer = NULL;
	AUTO_CLOSE int root_fd = open(order->dir, O_PATH | O_DIRECTORY | O_CLOEXEC); // searchable to us, not readable
	if (root_fd < 0)
		outcome_set(&outcome, OUTCOME_FETCH, BLAME_PLATFORM, "WORKER_DIR: %s", strerror(errno));
	else if (order->op == ORDER_FETCH && serve_fetch(order, root_fd, &answer, &outcome) == 0)
		return answer;
	else if (order->op == ORDER_EVICT && evict_run(order, root_fd, &answer, &error) == 0)
		return answer;
	answer = reply_failure(&outcome);
	outcome_clear(&outcome);
	return answer;
}

int main(int argc, char **argv) {
	AUTO_ERROR struct error error = {0};
	struct order order;
	size_t length;
	(void)argv;
	if (argc > 1) {
		fail("is started by trabajos-worker, and takes its request on standard input");
		return 64;
	}
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); // a file beyond the limit is a failed write, not a death
	setenv("RES_OPTIONS", "timeout:3 attempts:2", 1);
	// Started ahead of need: what takes long is done while nobody waits.
	if (!is_readable_now(STDIN_FILENO) && mirror_library() < 0) return fail("libgit2 does not start");
	AUTO_FREE char *text = read_line(STDIN_FILENO, &length);
	if (!text) return 1;
	if (order_read(text, length, &order, &error) < 0) return fail(error_text(&error));
	int done = reply_write(STDOUT_FILENO, carry_out(&order));
	order_clear(&order);
	mirror_library_end();
	return done < 0 ? fail("the answer cannot be written") : 0;
}
