// The hub of the followed logs on a scratch ledger, behind a server on a thread of its own; and clients that follow.
// GET /KEY follows, as events or with ?text=1 as text; ?stream=2, ?attempt=N (that one alone), ?last=ATTEMPT.SEQ.
#pragma once

#include "frontend/follower.h"
#include "frontend/meters.h"
#include "tests/unit/http_rig.h"
#include "tests/unit/states_rig.h"

#include <inttypes.h>

static struct rig *rig;
static struct follow *hub;
static struct token_claims claims = {.holders = 1, .exp_s = INT64_MAX / 2};
static int64_t most, most_per_user;

// ---- the server

struct rig_look {
	struct http_request *request;
	struct follower_wish wish;
	char key[UUID_TEXT];
};

static inline const char *rig_param(const struct http_request *request, const char *name) {
	size_t length;
	return http_param(request, name, &length);
}

static inline void rig_looked(
	enum db_status status, const struct db_result *look, const struct error *error UNUSED, void *arg) {
	AUTO_FREE struct rig_look *asked = arg;
	const char *last = rig_param(asked->request, "last");
	if (status != DB_OK || !db_rows(look)) {
		http_answer_text(asked->request, 404, "text/plain", "none");
		return;
	}
	if (follow_room(hub, &claims) != FOLLOW_ROOM) {
		http_answer_text(asked->request, 429, "text/plain", "full");
		return;
	}
	asked->wish.key = asked->key;
	asked->wish.attempt = db_get_int(look, 0, 3);
	if (last) asked->wish.attempt = strtoll(last, NULL, 10);
	if (last) asked->wish.seq = strtoll(strchr(last, '.') + 1, NULL, 10) + 1;
	follower_start(hub, asked->request, &claims, &asked->wish, db_get(look, 0, 0), db_get_int(look, 0, 1),
		db_get(look, 0, 2), db_get_int(look, 0, 5));
}

static inline void rig_follow(struct http_request *request, void *arg UNUSED) {
	struct rig_look *asked = mem_zalloc(sizeof *asked);
	const char *attempt = rig_param(request, "attempt"), *stream = rig_param(request, "stream");
	asked->request = request;
	memcpy(asked->key, http_path_param(request, "key"), UUID_TEXT);
	asked->wish = (struct follower_wish){.events = !rig_param(request, "text"), .only = attempt != NULL};
	if (stream) asked->wish.stream = (int)strtol(stream, NULL, 10);
	struct db_params *params = db_params_new();
	db_text(params, asked->key);
	db_text(params, NULL);
	db_int(params, attempt ? strtoll(attempt, NULL, 10) : 0);
	db_run(follow_reads(hub), &log_read_look, params, 5000, 5000, rig_looked, asked);
}

static const struct http_route rig_routes[] = {{"/{key}", "GET", rig_follow}};

static inline void rig_open_hub(struct rig *of) {
	const struct follow_config config = {.db = &scratch.config, .most = most, .most_per_user = most_per_user};
	hub = follow_open(of->loop, &config);
}

static inline void rig_quiesce_hub(struct rig *of UNUSED) {
	follow_quiesce(hub);
}

static inline int follow_setup(void **state) {
	struct http_config config = RIG_CONFIG(rig_routes);
	config.connections = 2000;
	config.idle_ms = 60000;
	empty(state);
	claims.sub = (char *)(uintptr_t) "somebody";
	claims.exp_s = INT64_MAX / 2;
	rig = rig_open(config);
	rig_do(rig, rig_open_hub);
	return 0;
}

static inline void rig_no_hub(struct rig *of UNUSED) {}

static inline int follow_teardown(void **state UNUSED) {
	rig_do(rig, NULL);
	pthread_join(rig->thread, NULL);
	http_server_close(rig->server);
	follow_close(hub);
	loop_wakeup_free(rig->wakeup);
	loop_free(rig->loop);
	sem_destroy(&rig->done);
	free(rig);
	most = most_per_user = 0;
	assert_int_equal(metric_get(&meter_followers), 0);
	assert_int_equal(metric_get(&meter_followed), 0);
	assert_int_equal(claims.holders, 1);
	return 0;
}

// ---- the ledger

#define SQL(...)                                                                                                               \
	do {                                                                                                                   \
		AUTO_FREE char *sql_ = mem_format(__VA_ARGS__);                                                                \
		must(sql_);                                                                                                    \
	} while (0)

#define JOB_KEY(n) "00000000-0000-7000-8000-00000000000" #n
#define TELL(n)    must("NOTIFY trabajos_news, '" JOB_KEY(n) "'")
#define IS(n, status_is, attempt_is)                                                                                           \
	SQL("UPDATE trabajos SET status = '%s', attempt = %d WHERE key = %s", status_is, attempt_is, KEY(n))
#define PRINT(n, attempt, seq, stream, text)                                                                                   \
	SQL("INSERT INTO logs VALUES (%s, %d, %d, %d, '2026-11-21 12:00:00.5+00', '%s')", KEY(n), attempt, seq, stream, text)

static inline void add_job(const char *key, const char *status, int attempt) {
	SQL("INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, status, attempt)"
	    " VALUES (%s, 'o', 'u', 'https://a.example', 'f', now(), now(), '%s', %d)",
		key, status, attempt);
	for (int i = 1; i <= attempt; i++)
		SQL("INSERT INTO attempts (key, attempt, worker, owner) VALUES (%s, %d, 'w', 'o')", key, i);
}

static inline void end_job(const char *key, int attempt, const char *detail) {
	SQL("UPDATE attempts SET finished_at = now(), outcome = '{\"code\": \"ok\"}', detail = '%s' WHERE key = %s AND attempt = %d",
		detail, key, attempt);
	SQL("UPDATE trabajos SET status = 'Finished', attempt = %d, outcome = '{\"code\": \"ok\"}' WHERE key = %s", attempt,
		key);
}

// Chunks of 10,000 bytes, each of one letter.
static inline void print_much(const char *key, int attempt, int from, int to) {
	SQL("INSERT INTO logs SELECT %s, %d, n, 1, now(), repeat(chr(97 + n %% 26), 10000)::bytea FROM generate_series(%d, %d) n",
		key, attempt, from, to);
}

// ---- clients

struct tail {
	int fd;
	int status;
	char *data; // that was not looked at yet
	size_t length;
	bool ended, cut;
};

static inline struct tail tail_open(const char *target) {
	struct tail tail = {.fd = rig_dial(rig), .data = mem_zalloc(1)};
	AUTO_FREE char *request = mem_format("GET /%s HTTP/1.1\r\nHost: h\r\n\r\n", target);
	rig_say(tail.fd, request);
	AUTO_FREE char *first = rig_line(tail.fd);
	assert_non_null(first);
	tail.status = (int)strtol(first + strlen("HTTP/1.1 "), NULL, 10);
	for (;;) {
		AUTO_FREE char *line = rig_line(tail.fd);
		assert_non_null(line);
		if (strcmp(line, "\r\n") == 0) return tail;
	}
}

static inline void tail_close(struct tail *tail) {
	close(tail->fd);
	free(tail->data);
}
#define AUTO_TAIL __attribute__((cleanup(tail_close))) struct tail

// The next piece; false: there is none.
static inline bool tail_more(struct tail *tail) {
	if (tail->ended || tail->cut) return false;
	AUTO_FREE char *size = rig_line(tail->fd);
	size_t length = size ? strtoul(size, NULL, 16) : 0;
	tail->cut = !size;
	if (!size) return false;
	tail->data = mem_resize(tail->data, tail->length + length + 3, 1);
	ssize_t got = recv(tail->fd, tail->data + tail->length, length + 2, MSG_WAITALL);
	tail->cut = got != (ssize_t)length + 2;
	tail->ended = !tail->cut && length == 0;
	if (!tail->cut) tail->length += length;
	tail->data[tail->length] = '\0';
	return !tail->cut && length > 0;
}

// The next event, without the empty line behind it; owned. NULL: the stream is over.
static inline char *tail_event(struct tail *tail) {
	char *end;
	while (!(end = strstr(tail->data, "\n\n")))
		if (!tail_more(tail)) return NULL;
	char *event = mem_strndup(tail->data, (size_t)(end - tail->data));
	tail->length -= (size_t)(end + 2 - tail->data);
	memmove(tail->data, end + 2, tail->length + 1);
	return event;
}

#define assert_event(tail, expected)                                                                                           \
	do {                                                                                                                   \
		AUTO_FREE char *event_ = tail_event(tail);                                                                     \
		assert_non_null(event_);                                                                                       \
		assert_string_equal(event_, expected);                                                                         \
	} while (0)

#define STATUS(status, attempt) "event: status\ndata: {\"status\":\"" status "\",\"attempt\":" #attempt "}"
#define OUTPUT(attempt, seq, stream, text)                                                                                     \
	"id: " #attempt "." #seq "\nevent: output\ndata: {\"attempt\":" #attempt ",\"seq\":" #seq ",\"stream\":\"" stream      \
	"\",\"at\":\"2026-11-21T12:00:00.500Z\"," text "}"
#define END(status, attempt)                                                                                                   \
	"event: end\ndata: {\"status\":\"" status "\",\"attempt\":" #attempt ",\"outcome\":{\"code\": \"ok\"}}"

static inline void assert_begins(struct tail *tail, const char *status) {
	assert_int_equal(tail->status, 200);
	assert_event(tail, "retry: 1000");
	assert_event(tail, status);
}

// Ended in good order, with nothing left.
static inline void assert_over(struct tail *tail) {
	AUTO_FREE char *event = tail_event(tail);
	assert_null(event);
	assert_true(tail->ended);
	assert_int_equal(tail->length, 0);
}

// How many output events come before the end; their ids go on from one to the next.
static inline int assert_all_until_end(struct tail *tail, int from) {
	for (int seq = from;; seq++) {
		AUTO_FREE char *event = tail_event(tail);
		assert_non_null(event);
		if (strncmp(event, "event: status", 13) == 0) return seq;
		int64_t id = strtoll(strchr(event, '.') + 1, NULL, 10);
		assert_int_equal(id, seq);
		assert_true(strlen(event) > 10000);
	}
}
