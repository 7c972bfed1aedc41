// PostgreSQL, by libpq: prepared statements with typed parameters, on a loop or blocking. No other file includes libpq.
#pragma once

#include "lib/error.h"
#include "lib/loop.h"
#include "lib/option.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db_config {
	char *host, *port, *name, *user, *password, *options;
	const char *application; // application_name
	// Plans by the indexes alone, made once: for short statements on tables that fill and empty within minutes, whose statistics
	// always lie. A statement that takes 14 s, waits for locks included, is given up by the server, so that none commits long
	// after its caller has given it up. Not for lists that a user asks for.
	bool steady_plans;
	// At most so long between two tries to connect, and twice that for each step of one; 0: as long as is kind to the server. For
	// a session that must be back within a given time after an outage.
	int64_t retry_within_ms;
};

#define OPTIONS_DB(config)                                                                                                     \
	{.name = "POSTGRES_HOST",                                                                                              \
		.type = OPTION_STRING,                                                                                         \
		.value = &(config).host,                                                                                       \
		.fallback = "localhost",                                                                                       \
		.help = "PostgreSQL's host, or the folder of its socket"},                                                     \
		{.name = "POSTGRES_PORT",                                                                                      \
			.type = OPTION_PORTS,                                                                                  \
			.value = &(config).port,                                                                               \
			.fallback = "5432",                                                                                    \
			.help = "PostgreSQL's port"},                                                                          \
		{.name = "POSTGRES_DB",                                                                                        \
			.type = OPTION_STRING,                                                                                 \
			.value = &(config).name,                                                                               \
			.fallback = "results_db",                                                                              \
			.help = "database"},                                                                                   \
		{.name = "POSTGRES_USER",                                                                                      \
			.type = OPTION_STRING,                                                                                 \
			.value = &(config).user,                                                                               \
			.fallback = "postgres",                                                                                \
			.help = "database user"},                                                                              \
		{.name = "POSTGRES_PASSWORD",                                                                                  \
			.type = OPTION_SECRET,                                                                                 \
			.value = &(config).password,                                                                           \
			.fallback = "",                                                                                        \
			.help = "the user's password"},                                                                        \
	{                                                                                                                      \
		.name = "POSTGRES_OPTIONS", .type = OPTION_STRING, .value = &(config).options, .fallback = "",                 \
		.help = "further libpq keywords, \"key=value …\" (TLS, several hosts)"                                       \
	}

// ---- statements and parameters

struct db_statement {
	const char *name; // unique within the program; prepared on each connection at first use
	const char *sql;
};

// Parameters, in order $1, $2, …; owns copies. Arrays become PostgreSQL arrays of the type that the statement casts to.
struct db_params;
struct db_params *db_params_new(void) MUST_USE;
void db_params_free(struct db_params *params);             // NULL is fine
void db_text(struct db_params *params, const char *value); // NULL: SQL NULL
void db_int(struct db_params *params, int64_t value);
void db_bytes(struct db_params *params, const void *value, size_t length);             // bytea
void db_text_array(struct db_params *params, const char *const *values, size_t count); // NULL elements are fine
void db_int_array(struct db_params *params, const int64_t *values, size_t count);
void db_bytes_array(struct db_params *params, const void *const *values, const size_t *lengths, size_t count);

// The same in binary form, which costs both sides much less: for many rows. The statement has to cast to exactly this type;
// the server refuses another one.
enum db_type { DB_BOOL, DB_INT2, DB_INT4, DB_INT8, DB_TEXT, DB_UUID, DB_JSONB };
void db_texts(struct db_params *params, enum db_type type, const char *const *values, size_t count); // NULL elements are fine
void db_ints(struct db_params *params, enum db_type type, const int64_t *values, size_t count); // the bits that the type has

enum db_status {
	DB_OK,
	DB_RETRY,       // serialization failure, deadlock, lock not available (SQLSTATE 40001, 40P01, 55P03): nothing happened
	DB_BAD_DATA,    // SQLSTATE class 22 or 23: nothing happened, the values are at fault
	DB_UNAVAILABLE, // no connection, or lost: whether the statement took effect is unknown if it was sent. Also what an
			// operator has to mend (disk full, shutdown, cancelled, read-only: classes 08, 53, 57, 58, 25006)
	DB_FAILED,      // anything else; a bug or a missing right
};

struct db_result;
size_t db_rows(const struct db_result *result);
const char *db_get(const struct db_result *result, size_t row, int column); // text form; NULL: SQL NULL
int64_t db_get_int(const struct db_result *result, size_t row, int column); // 0 for NULL; booleans: 0, 1
// bytea, decoded; owned by the caller
unsigned char *db_get_bytes(const struct db_result *result, size_t row, int column, size_t *length) MUST_USE;

// ---- asynchronous: one connection that keeps itself connected (backoff with jitter), statements executed in order,
//      one at a time. All from the loop's thread.

struct db_session;
// result is NULL unless status is DB_OK; both belong to the session and are valid during the call only. Never called from
// inside db_run.
typedef void db_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg);

// Connects in the background; only the look-up of a host's name may block. Copies the configuration.
struct db_session *db_session_open(struct loop *loop, const struct db_config *config) MUST_USE;
// Takes ownership of params (NULL: none). Queued until connected; if not connected within wait_ms (0: must be connected
// now), done with DB_UNAVAILABLE. The statement must outlive the call to done. A running statement is given timeout_ms
// (counted from when it is sent; 0: none), then the connection is dropped and done called with DB_UNAVAILABLE.
void db_run(struct db_session *session, const struct db_statement *statement, struct db_params *params, int64_t wait_ms,
	int64_t timeout_ms, db_done *done, void *arg);
int db_session_ready(const struct db_session *session);
int64_t db_session_up_ms(const struct db_session *session);     // for how long connected; 0 if not
const char *db_session_error(const struct db_session *session); // why it is not connected; NULL if it is
// LISTEN on every new connection; fn is called for notifications, and once after each (re)connect. One channel a session.
void db_session_listen(struct db_session *session, const char *channel, void (*fn)(void *arg), void *arg);
// The same, with what each notification carries; NULL: just (re)connected, some may have been missed.
typedef void db_notified(const char *payload, void *arg);
void db_session_listen_each(struct db_session *session, const char *channel, db_notified *fn, void *arg);
// Called after each connect and each loss (connected: 1, 0).
void db_session_watch(struct db_session *session, void (*fn)(int connected, const char *why, void *arg), void *arg);
// What is queued is done with DB_UNAVAILABLE, also what is run from inside those calls. Fine in any callback, and with NULL.
void db_session_close(struct db_session *session);

// ---- blocking, for threads of their own, the command line and migrations

struct db;
// ERROR_UNAVAILABLE; connect_timeout 5 s for each host. ERROR_INPUT: POSTGRES_OPTIONS cannot be read.
int db_open(const struct db_config *config, struct error *error, struct db **db) MUST_USE;
void db_close(struct db *db);
// *result (may be NULL) is set on DB_OK only; free it with db_result_free. A lost connection stays lost: close and open anew.
enum db_status db_execute(struct db *db, const struct db_statement *statement, const struct db_params *params,
	struct db_result **result, struct error *error) MUST_USE;
enum db_status db_script(struct db *db, const char *sql, struct error *error) MUST_USE; // several statements, no parameters
void db_result_free(struct db_result *result);
