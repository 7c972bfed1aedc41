// Shared by lib/db*.c only; the one place that includes libpq.
#pragma once

#include "lib/db.h"

#include <libpq-fe.h>
#include <stdbool.h>

// In the form that libpq takes.
struct db_params {
	int count, room;
	char **values;
	int *lengths, *formats;
};

struct db_result {
	PGresult *pg;
};

static inline int db_params_count(const struct db_params *params) {
	return params ? params->count : 0;
}

// libpq's keywords and values, both NULL-terminated; a later one overrides an earlier one of the same name.
struct db_keywords {
	size_t count;
	char **names, **values;
};

// ERROR_INPUT: POSTGRES_OPTIONS cannot be read.
int db_keywords_make(const struct db_config *config, struct db_keywords *keywords, struct error *error) MUST_USE;
void db_keywords_clear(struct db_keywords *keywords);

static inline int64_t db_sooner_ms(int64_t most_ms, int64_t wished_ms) { // 0: no wish
	return wished_ms > 0 && wished_ms < most_ms ? wished_ms : most_ms;
}

// Which statements a connection has prepared.
struct db_known {
	size_t count, room;
	const struct db_statement **list;
};

bool db_known_has(const struct db_known *known, const struct db_statement *statement);
void db_known_add(struct db_known *known, const struct db_statement *statement);
void db_known_clear(struct db_known *known);

// What a result means; fills the error unless it is DB_OK. `what` names the statement.
enum db_status db_judge(const PGresult *result, const PGconn *conn, const char *what, struct error *error) MUST_USE;
// The server refused because it does not know, or has outlived, what we prepared on this connection; nothing happened.
bool db_stale(const PGresult *result);
// libpq's text on one line; owned by the caller.
char *db_conn_text(const PGconn *conn) MUST_USE;
void db_silence(PGconn *conn); // notices go nowhere

// ---- a session's statements that wait (db_queue.c)

struct db_entry {
	struct db_entry *next;
	const struct db_statement *statement; // NULL: the session's own LISTEN
	struct db_params *params;
	int64_t wait_until_ms, timeout_ms;
	db_done *done;
	void *arg;
	bool again; // a second try, after the server did not know what we had prepared
};

struct db_queue {
	struct db_entry *head, **tail;
	size_t count;
};

void db_queue_init(struct db_queue *queue);
void db_queue_put(struct db_queue *queue, struct db_entry *entry);
void db_queue_put_first(struct db_queue *queue, struct db_entry *entry);
struct db_entry *db_queue_take(struct db_queue *queue); // NULL: empty
// Takes out those that may wait no longer than until now_ms, as a list; *next_ms is the earliest time of the rest, 0: none.
struct db_entry *db_queue_take_late(struct db_queue *queue, int64_t now_ms, int64_t *next_ms);
const char *db_entry_name(const struct db_entry *entry);
void db_entry_free(struct db_entry *entry);
void db_entry_fail(struct db_entry *entry, const char *why); // done with DB_UNAVAILABLE; frees
