// Connection keywords, results and what they mean, and the blocking connection.
#include "lib/db_internal.h"
#include "lib/mem.h"

#include <ctype.h>
#include <inttypes.h>

// ---- connection keywords

static void keyword(struct db_keywords *keywords, const char *name, const char *value) {
	if (!value || !*value) return;
	keywords->names = mem_resize(keywords->names, keywords->count + 2, sizeof(char *));
	keywords->values = mem_resize(keywords->values, keywords->count + 2, sizeof(char *));
	keywords->names[keywords->count] = mem_strdup(name);
	keywords->values[keywords->count] = mem_strdup(value);
	keywords->count++;
	keywords->names[keywords->count] = keywords->values[keywords->count] = NULL;
}

static char *one_line(const char *text) {
	char *line = mem_strdup(text ? text : "");
	char *to = line;
	for (const char *from = line; *from; from++) {
		bool space = isspace((unsigned char)*from);
		if (space && (to == line || to[-1] == ' ')) continue;
		*to++ = space ? ' ' : *from;
	}
	if (to > line && to[-1] == ' ') to--;
	*to = '\0';
	return line;
}

static int further_keywords(const char *options, struct db_keywords *keywords, struct error *error) {
	char *why = NULL;
	PQconninfoOption *parsed = PQconninfoParse(options, &why);
	if (!parsed) {
		AUTO_FREE char *line = one_line(why);
		PQfreemem(why);
		return error_set(error, ERROR_INPUT, "POSTGRES_OPTIONS: %s", line);
	}
	for (PQconninfoOption *option = parsed; option->keyword; option++) keyword(keywords, option->keyword, option->val);
	PQconninfoFree(parsed);
	return 0;
}

void db_keywords_clear(struct db_keywords *keywords) {
	for (size_t i = 0; i < keywords->count; i++) {
		free(keywords->names[i]);
		explicit_bzero(keywords->values[i], strlen(keywords->values[i])); // one of them is the password
		free(keywords->values[i]);
	}
	free(keywords->names);
	free(keywords->values);
	*keywords = (struct db_keywords){0};
}

int db_keywords_make(const struct db_config *config, struct db_keywords *keywords, struct error *error) {
	*keywords = (struct db_keywords){0};
	keyword(keywords, "host", config->host);
	keyword(keywords, "port", config->port);
	keyword(keywords, "dbname", config->name);
	keyword(keywords, "user", config->user);
	keyword(keywords, "password", config->password);
	keyword(keywords, "application_name", config->application);
	keyword(keywords, "client_encoding", "UTF8");
	// A server that vanished without a word is found out within about 15 s, whether we wait or write.
	keyword(keywords, "connect_timeout", "5");
	keyword(keywords, "keepalives_idle", "5");
	keyword(keywords, "keepalives_interval", "3");
	keyword(keywords, "keepalives_count", "3");
	// Below a session's step of connecting: a dead address gives way to the next host first.
	AUTO_FREE char *unanswered_ms = mem_format("%" PRId64, db_sooner_ms(10000, config->retry_within_ms * 5 / 3));
	keyword(keywords, "tcp_user_timeout", unanswered_ms);
	if (config->steady_plans)
		keyword(keywords, "options",
			"-c plan_cache_mode=force_generic_plan -c jit=off -c enable_seqscan=off -c enable_bitmapscan=off"
			" -c enable_hashjoin=off -c enable_mergejoin=off -c statement_timeout=14s");
	if (!config->options || !further_keywords(config->options, keywords, error)) return 0;
	db_keywords_clear(keywords);
	return -1;
}

// ---- prepared statements of a connection

void db_known_clear(struct db_known *known) {
	free(known->list);
	*known = (struct db_known){0};
}

void db_known_add(struct db_known *known, const struct db_statement *statement) {
	if (known->count == known->room) {
		known->room = known->room ? 2 * known->room : 8;
		known->list = mem_resize(known->list, known->room, sizeof(void *));
	}
	known->list[known->count++] = statement;
}

bool db_known_has(const struct db_known *known, const struct db_statement *statement) {
	for (size_t i = 0; i < known->count; i++)
		if (known->list[i] == statement) return true;
	return false;
}

// ---- results

size_t db_rows(const struct db_result *result) {
	return (size_t)PQntuples(result->pg);
}

const char *db_get(const struct db_result *result, size_t row, int column) {
	return PQgetisnull(result->pg, (int)row, column) ? NULL : PQgetvalue(result->pg, (int)row, column);
}

int64_t db_get_int(const struct db_result *result, size_t row, int column) {
	const char *text = PQgetvalue(result->pg, (int)row, column); // "" for NULL
	return *text == 't' ? 1 : strtoll(text, NULL, 10);
}

unsigned char *db_get_bytes(const struct db_result *result, size_t row, int column, size_t *length) {
	unsigned char *raw = PQunescapeBytea((const unsigned char *)PQgetvalue(result->pg, (int)row, column), length);
	unsigned char *copy = mem_zalloc(raw ? *length + 1 : 1);
	if (raw)
		memcpy(copy, raw, *length);
	else
		*length = 0;
	PQfreemem(raw);
	return copy;
}

void db_result_free(struct db_result *result) {
	if (!result) return;
	PQclear(result->pg);
	free(result);
}

char *db_conn_text(const PGconn *conn) {
	return one_line(PQerrorMessage(conn));
}

static void ignore_notice(void *arg UNUSED, const char *message UNUSED) {}

void db_silence(PGconn *conn) {
	PQsetNoticeProcessor(conn, ignore_notice, NULL);
}

bool db_stale(const PGresult *result) {
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	// unknown prepared statement, one of that name exists, or (feature not supported) the table has changed under its plan
	return state && (!strcmp(state, "26000") || !strcmp(state, "42P05") || !strcmp(state, "0A000"));
}

// PostgreSQL manual, appendix A.
static enum db_status judge_state(const char *state) {
	static const struct {
		const char *prefix;
		enum db_status status;
	} table[] = {
		{"40001", DB_RETRY},
		{"40P01", DB_RETRY},
		// lock not available
		{"55P03", DB_RETRY},
		{"22", DB_BAD_DATA},
		{"23", DB_BAD_DATA},
		// protocol violation: parameters that do not fit
		{"08P01", DB_FAILED},
		{"08", DB_UNAVAILABLE},
		// read-only: a standby, after a failover
		{"25006", DB_UNAVAILABLE},
		// what was prepared is gone, or was there before: a pooler gave us another connection
		{"26000", DB_UNAVAILABLE},
		{"42P05", DB_UNAVAILABLE},
		// completion unknown
		{"40003", DB_UNAVAILABLE},
		// disk full, out of memory, too many connections
		{"53", DB_UNAVAILABLE},
		// an operator's hand: shutdown, cancel
		{"57", DB_UNAVAILABLE},
		// input/output error
		{"58", DB_UNAVAILABLE},
	};
	for (size_t i = 0; i < COUNT_OF(table); i++)
		if (!strncmp(state, table[i].prefix, strlen(table[i].prefix))) return table[i].status;
	return DB_FAILED;
}

enum db_status db_judge(const PGresult *result, const PGconn *conn, const char *what, struct error *error) {
	static const enum error_kind kinds[] = {
		[DB_RETRY] = ERROR_CONFLICT,
		[DB_BAD_DATA] = ERROR_INPUT,
		[DB_UNAVAILABLE] = ERROR_UNAVAILABLE,
		[DB_FAILED] = ERROR_INTERNAL,
	};
	ExecStatusType outcome = result ? PQresultStatus(result) : PGRES_FATAL_ERROR;
	if (outcome == PGRES_COMMAND_OK || outcome == PGRES_TUPLES_OK) return DB_OK;
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (!state) {
		enum db_status status = PQstatus(conn) == CONNECTION_OK ? DB_FAILED : DB_UNAVAILABLE;
		AUTO_FREE char *line = db_conn_text(conn);
		error_set(error, kinds[status], "%s: %s", what, *line ? line : "no answer");
		return status;
	}
	// the primary message only: detail and context may hold values
	enum db_status status = judge_state(state);
	AUTO_FREE char *line = one_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	error_set(error, kinds[status], "%s: %s (SQLSTATE %s)", what, line, state);
	return status;
}

// ---- blocking

struct db {
	PGconn *conn;
	struct db_known known;
};

enum db_status db_script(struct db *db, const char *sql, struct error *error) {
	PGresult *result = PQexec(db->conn, sql);
	enum db_status status = db_judge(result, db->conn, "script", error);
	PQclear(result);
	return status;
}

static enum db_status prepare(struct db *db, const struct db_statement *statement, struct error *error) {
	if (db_known_has(&db->known, statement)) return DB_OK;
	PGresult *result = PQprepare(db->conn, statement->name, statement->sql, 0, NULL);
	enum db_status status = db_judge(result, db->conn, statement->name, error);
	PQclear(result);
	if (status == DB_OK) db_known_add(&db->known, statement);
	return status;
}

enum db_status db_execute(struct db *db, const struct db_statement *statement, const struct db_params *params,
	struct db_result **result, struct error *error) {
	enum db_status status = prepare(db, statement, error);
	if (status != DB_OK) return status;
	PGresult *pg = PQexecPrepared(db->conn, statement->name, db_params_count(params),
		params ? (const char *const *)params->values : NULL, params ? params->lengths : NULL,
		params ? params->formats : NULL, 0);
	status = db_judge(pg, db->conn, statement->name, error);
	if (status == DB_OK && result) {
		*result = mem_zalloc(sizeof(**result));
		(*result)->pg = pg;
	} else {
		PQclear(pg);
	}
	return status;
}

void db_close(struct db *db) {
	if (!db) return;
	PQfinish(db->conn);
	db_known_clear(&db->known);
	free(db);
}

int db_open(const struct db_config *config, struct error *error, struct db **db) {
	struct db_keywords keywords;
	if (db_keywords_make(config, &keywords, error)) return -1;
	PGconn *conn = PQconnectdbParams((const char *const *)keywords.names, (const char *const *)keywords.values, 0);
	db_keywords_clear(&keywords);
	if (PQstatus(conn) != CONNECTION_OK) {
		AUTO_FREE char *line = db_conn_text(conn);
		PQfinish(conn);
		return error_set(error, ERROR_UNAVAILABLE, "PostgreSQL: %s", line);
	}
	db_silence(conn);
	*db = mem_zalloc(sizeof(**db));
	(*db)->conn = conn;
	return 0;
}
