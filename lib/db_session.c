// One connection on a loop, that keeps itself connected.
//
//   WAITING --backoff over--> CONNECTING --done--> UP --lost--> WAITING
//                                 \--failed, too slow--> WAITING
//
// Whatever finds the connection unusable only notes why in `broken`; the outermost of our functions on the stack then
// drops it (settle), so that callbacks never come from inside db_run and never meet a half-dead connection. The next
// statement is sent before the caller of the last one is told: the server works while we do.
//
// One timer serves all deadlines. It is set lazily (only ever to an earlier time; when it fires it looks what is due), so
// that a statement costs no timer of its own. PQconnectStart resolves names and may block on that.
#include "lib/db_internal.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

enum {
	CONNECT_STEP_MS = 12000, // above tcp_user_timeout: a dead address gives way to the next host first
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MOST_MS = 5000, // both less where the configuration says so
	STABLE_MS = 1000,       // a connection that lived so long lets the backoff begin anew
	AGAIN_MS = 1000,        // what a statement is given for its second try
	TLS_CHECK_MS = 50,      // TLS may hold decrypted bytes that epoll knows nothing of
};

enum state { WAITING, CONNECTING, UP };

struct db_session {
	struct loop *loop;
	struct db_keywords keywords;
	char *keywords_error;

	enum state state;
	PGconn *conn;
	int fd; // a duplicate of libpq's socket, which libpq closes and replaces as it likes
	struct loop_fd *watch;
	uint32_t events;
	struct db_known known;
	char *broken; // why the connection must be dropped
	char *error;  // why it is not connected
	unsigned failures;
	int64_t backoff_most_ms, connect_step_ms;
	int64_t reconnect_at_ms, connect_until_ms, up_since_ms;

	struct loop_timer *alarm;
	int64_t alarm_ms; // when it fires; 0: not set

	struct db_queue queue;
	struct db_entry *running;
	bool preparing;
	bool refused; // the running statement certainly did nothing, and is worth another try on a new connection
	PGresult *kept;
	int64_t running_until_ms; // 0: no limit

	char *listen_sql;
	void (*on_listen)(void *arg); // one of the two
	db_notified *on_each;
	void *listen_arg;
	void (*on_watch)(int connected, const char *why, void *arg);
	void *watch_arg;

	int depth; // of our functions on the stack
	bool closed;
};

static void on_socket(uint32_t events, void *arg);

// ---- small parts

static void arm(struct db_session *session, int64_t at_ms) {
	if (session->closed || (session->alarm_ms && session->alarm_ms <= at_ms)) return;
	int64_t now = loop_now_ms();
	session->alarm_ms = at_ms;
	loop_timer_set(session->alarm, at_ms > now ? at_ms - now : 0);
}

static void break_down(struct db_session *session, char *why) {
	if (session->broken || session->closed)
		free(why);
	else
		session->broken = why;
	if (!session->depth) arm(session, loop_now_ms()); // inside db_run
}

static void unwatch(struct db_session *session) {
	loop_fd_remove(session->watch);
	session->watch = NULL;
	if (session->fd >= 0) close(session->fd);
	session->fd = -1;
}

static void watch(struct db_session *session, uint32_t events) {
	unwatch(session);
	session->fd = fcntl(PQsocket(session->conn), F_DUPFD_CLOEXEC, 0);
	if (session->fd < 0) {
		break_down(session, mem_format("socket: %s", strerrordesc_np(errno)));
		return;
	}
	session->events = events;
	session->watch = loop_fd_add(session->loop, session->fd, events, on_socket, session);
}

// ---- sending

static void flush(struct db_session *session) {
	int left = PQflush(session->conn);
	if (left < 0) {
		break_down(session, db_conn_text(session->conn));
		return;
	}
	uint32_t events = left ? EPOLLIN | EPOLLOUT : EPOLLIN;
	if (events != session->events) loop_fd_events(session->watch, session->events = events);
}

static void send_running(struct db_session *session) {
	const struct db_statement *statement = session->running->statement;
	const struct db_params *params = session->running->params;
	int sent;
	session->preparing = false;
	if (!statement) {
		sent = PQsendQuery(session->conn, session->listen_sql);
	} else if (!db_known_has(&session->known, statement)) {
		session->preparing = true;
		sent = PQsendPrepare(session->conn, statement->name, statement->sql, 0, NULL);
	} else {
		sent = PQsendQueryPrepared(session->conn, statement->name, db_params_count(params),
			params ? (const char *const *)params->values : NULL, params ? params->lengths : NULL,
			params ? params->formats : NULL, 0);
	}
	if (sent)
		flush(session);
	else
		break_down(session, db_conn_text(session->conn));
}

static void pump(struct db_session *session) {
	if (session->state != UP || session->running || !session->queue.head || session->broken) return;
	session->running = db_queue_take(&session->queue);
	session->running_until_ms = 0;
	if (session->running->timeout_ms) {
		session->running_until_ms = loop_now_ms() + session->running->timeout_ms;
		arm(session, session->running_until_ms);
	}
	if (PQsslInUse(session->conn)) arm(session, loop_now_ms() + TLS_CHECK_MS);
	send_running(session);
}

static void queue_listen(struct db_session *session) {
	struct db_entry *entry = mem_zalloc(sizeof(*entry));
	db_queue_put_first(&session->queue, entry);
}

// ---- losing the connection

// Ends the statements that have waited long enough for a connection, at `now_ms`.
static void expire(struct db_session *session, int64_t now_ms) {
	int64_t next_ms;
	struct db_entry *late = db_queue_take_late(&session->queue, now_ms, &next_ms);
	if (next_ms) arm(session, next_ms);
	AUTO_FREE char *why = late ? mem_format("not connected: %s", session->error ? session->error : "connecting") : NULL;
	while (late) {
		struct db_entry *entry = late;
		late = entry->next;
		db_entry_fail(entry, why);
	}
}

static struct db_entry *disconnect(struct db_session *session) {
	unwatch(session);
	PQclear(session->kept);
	session->kept = NULL;
	PQfinish(session->conn);
	session->conn = NULL;
	db_known_clear(&session->known);
	session->state = WAITING;
	return STEAL(session->running);
}

static void lose(struct db_session *session) {
	AUTO_FREE char *why = STEAL(session->broken);
	bool was_up = session->state == UP;
	int64_t now = loop_now_ms();
	if (was_up && now - session->up_since_ms >= STABLE_MS) session->failures = 0;
	struct db_entry *running = disconnect(session);
	free(session->error);
	session->error = mem_strdup(why);
	session->reconnect_at_ms = now + lifecycle_backoff_ms(session->failures++, BACKOFF_FIRST_MS, session->backoff_most_ms);
	arm(session, session->reconnect_at_ms);

	if (running && session->refused) db_queue_put_first(&session->queue, STEAL(running));
	session->refused = false;
	if (running) db_entry_fail(running, why);
	if (was_up && session->on_watch && !session->closed) session->on_watch(0, why, session->watch_arg);
	expire(session, loop_now_ms());
}

static void settle(struct db_session *session) {
	while (session->broken && !session->closed) lose(session);
}

static void enter(struct db_session *session) {
	session->depth++;
}

static void release(struct db_session *session) {
	loop_timer_free(session->alarm);
	db_keywords_clear(&session->keywords);
	free(session->keywords_error);
	free(session->broken);
	free(session->error);
	free(session->listen_sql);
	free(session);
}

static void leave(struct db_session *session) {
	settle(session);
	if (!--session->depth && session->closed) release(session);
}

// ---- receiving

static void listening(struct db_session *session) {
	if (session->on_listen) session->on_listen(session->listen_arg);
	if (session->on_each) session->on_each(NULL, session->listen_arg);
}

static void finish(struct db_session *session, PGresult *pg) {
	struct db_entry *entry = STEAL(session->running);
	const char *name = db_entry_name(entry);
	if (db_stale(pg) && !entry->again) {
		entry->again = session->refused = true;
		if (entry->wait_until_ms < loop_now_ms() + AGAIN_MS) entry->wait_until_ms = loop_now_ms() + AGAIN_MS;
		session->running = entry;
		break_down(session, mem_format("%s: %s", name, "prepared statement lost"));
		PQclear(pg);
		return;
	}
	struct error error AUTO_ERROR = {0};
	enum db_status status = db_judge(pg, session->conn, name, &error);
	pump(session);
	struct db_result result = {pg};
	if (entry->done)
		entry->done(status, status == DB_OK ? &result : NULL, &error, entry->arg);
	else if (status != DB_OK)
		break_down(session, mem_strdup(error_text(&error)));
	else
		listening(session);
	PQclear(pg);
	db_entry_free(entry);
}

static void step_done(struct db_session *session) {
	PGresult *result = STEAL(session->kept);
	if (session->preparing && PQresultStatus(result) == PGRES_COMMAND_OK) {
		db_known_add(&session->known, session->running->statement);
		PQclear(result);
		send_running(session);
		return;
	}
	finish(session, result);
}

static void receive(struct db_session *session) {
	while (!session->closed && session->conn && session->running && !PQisBusy(session->conn)) {
		PGresult *result = PQgetResult(session->conn);
		if (!result) {
			step_done(session);
			if (session->broken) return;
			continue;
		}
		ExecStatusType status = PQresultStatus(result);
		// An error after the answer counts: the commit comes last, and may fail or get lost.
		if (session->kept && status != PGRES_FATAL_ERROR) {
			PQclear(result);
		} else {
			PQclear(session->kept);
			session->kept = result;
		}
		if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
			break_down(session, mem_strdup("COPY is not supported"));
			return;
		}
	}
}

static void notified(struct db_session *session) {
	bool any = false;
	while (session->conn && !session->closed) {
		PGnotify *notify = PQnotifies(session->conn);
		if (!notify) break;
		if (session->on_each) session->on_each(notify->extra, session->listen_arg);
		PQfreemem(notify);
		any = true;
	}
	if (any && session->on_listen) session->on_listen(session->listen_arg);
}

static void serve(struct db_session *session) {
	bool alive = PQconsumeInput(session->conn);
	AUTO_FREE char *why = alive ? NULL : db_conn_text(session->conn);
	receive(session); // also what had arrived before the end
	if (session->closed || session->broken) return;
	if (!alive) {
		break_down(session, STEAL(why));
		return;
	}
	flush(session);
	notified(session);
}

// ---- connecting

static void connected(struct db_session *session) {
	session->state = UP;
	session->up_since_ms = loop_now_ms();
	free(session->error);
	session->error = NULL;
	if (PQsetnonblocking(session->conn, 1)) {
		break_down(session, db_conn_text(session->conn));
		return;
	}
	watch(session, EPOLLIN);
	if (session->broken) return;
	if (session->listen_sql) queue_listen(session);
	pump(session);
	if (session->on_watch) session->on_watch(1, NULL, session->watch_arg);
}

static void connect_step(struct db_session *session) {
	unwatch(session); // libpq may close this socket and open another
	switch (PQconnectPoll(session->conn)) {
	case PGRES_POLLING_READING:
		watch(session, EPOLLIN);
		break;
	case PGRES_POLLING_WRITING:
		watch(session, EPOLLOUT);
		break;
	case PGRES_POLLING_OK:
		connected(session);
		return;
	default:
		break_down(session, db_conn_text(session->conn));
		return;
	}
	session->connect_until_ms = loop_now_ms() + session->connect_step_ms;
	arm(session, session->connect_until_ms);
}

static void connect_start(struct db_session *session) {
	session->state = CONNECTING;
	if (session->keywords_error) {
		break_down(session, mem_strdup(session->keywords_error));
		return;
	}
	const struct db_keywords *keywords = &session->keywords;
	session->conn = PQconnectStartParams((const char *const *)keywords->names, (const char *const *)keywords->values, 0);
	if (PQstatus(session->conn) == CONNECTION_BAD) {
		break_down(session, db_conn_text(session->conn));
		return;
	}
	db_silence(session->conn);
	watch(session, EPOLLOUT);
	session->connect_until_ms = loop_now_ms() + session->connect_step_ms;
	arm(session, session->connect_until_ms);
}

// ---- events

static void on_socket(uint32_t events UNUSED, void *arg) {
	struct db_session *session = arg;
	enter(session);
	if (session->state == CONNECTING)
		connect_step(session);
	else
		serve(session);
	leave(session);
}

static void alarm_up(struct db_session *session, int64_t now) {
	if (!session->running) return;
	if (session->running_until_ms && now >= session->running_until_ms) {
		const struct db_entry *running = session->running;
		break_down(session, mem_format("no answer within %" PRId64 " ms", running->timeout_ms));
		return;
	}
	if (PQsslInUse(session->conn)) serve(session);
	if (session->closed || session->state != UP || !session->running) return;
	if (session->running_until_ms) arm(session, session->running_until_ms);
	if (PQsslInUse(session->conn)) arm(session, now + TLS_CHECK_MS);
}

static void on_alarm(void *arg) {
	struct db_session *session = arg;
	int64_t now = loop_now_ms();
	enter(session);
	session->alarm_ms = 0;
	settle(session);
	if (!session->closed && session->state == UP) alarm_up(session, now);
	if (!session->closed && session->state == CONNECTING) {
		if (now >= session->connect_until_ms)
			break_down(session, mem_strdup("no answer from the server"));
		else
			arm(session, session->connect_until_ms);
	}
	if (!session->closed && session->state == WAITING) {
		if (now >= session->reconnect_at_ms)
			connect_start(session);
		else
			arm(session, session->reconnect_at_ms);
	}
	settle(session);
	if (!session->closed && session->state != UP) expire(session, loop_now_ms());
	leave(session);
}

// ---- what others call

int db_session_ready(const struct db_session *session) {
	return session->state == UP && !session->broken;
}

int64_t db_session_up_ms(const struct db_session *session) {
	if (!db_session_ready(session)) return 0;
	int64_t up = loop_now_ms() - session->up_since_ms;
	return up > 0 ? up : 1;
}

const char *db_session_error(const struct db_session *session) {
	if (db_session_ready(session)) return NULL;
	if (session->broken) return session->broken;
	return session->error ? session->error : "connecting";
}

void db_session_watch(struct db_session *session, void (*fn)(int connected, const char *why, void *arg), void *arg) {
	session->on_watch = fn;
	session->watch_arg = arg;
}

static void listen_to(struct db_session *session, const char *channel, void *arg) {
	free(session->listen_sql);
	session->listen_sql = mem_format("LISTEN \"%s\"", channel);
	session->listen_arg = arg;
	if (session->state != UP) return;
	queue_listen(session);
	pump(session);
}

void db_session_listen(struct db_session *session, const char *channel, void (*fn)(void *arg), void *arg) {
	session->on_listen = fn;
	listen_to(session, channel, arg);
}

void db_session_listen_each(struct db_session *session, const char *channel, db_notified *fn, void *arg) {
	session->on_each = fn;
	listen_to(session, channel, arg);
}

void db_run(struct db_session *session, const struct db_statement *statement, struct db_params *params, int64_t wait_ms,
	int64_t timeout_ms, db_done *done, void *arg) {
	struct db_entry *entry = mem_zalloc(sizeof(*entry));
	*entry =
		(struct db_entry){.statement = statement, .params = params, .timeout_ms = timeout_ms, .done = done, .arg = arg};
	entry->wait_until_ms = loop_now_ms() + wait_ms;
	db_queue_put(&session->queue, entry);
	if (session->state == UP)
		pump(session);
	else
		arm(session, entry->wait_until_ms);
}

void db_session_close(struct db_session *session) {
	if (!session || session->closed) return;
	enter(session);
	session->closed = true;
	loop_timer_stop(session->alarm);
	struct db_entry *running = disconnect(session);
	free(session->error);
	session->error = mem_strdup("closed");
	if (running) db_entry_fail(running, session->error);
	while (session->queue.head) expire(session, INT64_MAX);
	leave(session);
}

struct db_session *db_session_open(struct loop *loop, const struct db_config *config) {
	struct db_session *session = mem_zalloc(sizeof(*session));
	session->loop = loop;
	session->fd = -1;
	session->backoff_most_ms = db_sooner_ms(BACKOFF_MOST_MS, config->retry_within_ms);
	session->connect_step_ms = db_sooner_ms(CONNECT_STEP_MS, 2 * config->retry_within_ms);
	db_queue_init(&session->queue);
	session->alarm = loop_timer_new(loop, on_alarm, session);
	struct error error AUTO_ERROR = {0};
	if (db_keywords_make(config, &session->keywords, &error)) session->keywords_error = mem_strdup(error_text(&error));
	arm(session, session->reconnect_at_ms = loop_now_ms());
	return session;
}
