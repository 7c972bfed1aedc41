// GET /all: the caller's jobs, oldest first, in constant memory: pages by keyset, one at a time, fetched when the client has
// taken the one before.
//
//     [position of after=] --> first page --> with limit: one answer, Link to the next
//                                         `-> without: a stream; a page that fails later cuts the connection, so that
//                                             the client notices
#include "frontend/answer.h"
#include "frontend/frontend.h"
#include "frontend/statements.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <errno.h>
#include <string.h>

#define JSON_TYPE  "application/json"
#define PAGE_ROWS  300
#define LIMIT_MOST 1000
#define FROM_START "-infinity", "00000000-0000-0000-0000-000000000000"

struct listing {
	struct http_request *request; // NULL: the client has gone
	struct db_session *reads;
	const struct db_statement *statement;
	char *whose;                     // $1 of the statement
	char *usuario;                   // as asked for; NULL: the caller's own
	int64_t limit;                   // 0: all, streamed
	char *posted_at, key[UUID_TEXT]; // of the last row so far

	char *page; // text not yet taken
	size_t length, taken;
	bool streaming, fetching, begun, complete, failed;
};

static void listing_free(struct listing *listing) {
	free(listing->whose);
	free(listing->usuario);
	free(listing->posted_at);
	free(listing->page);
	free(listing);
}

// A statement under way frees it when it comes back.
static void listing_over(void *arg) {
	struct listing *listing = arg;
	listing->request = NULL;
	if (!listing->fetching) listing_free(listing);
}

static void position_set(struct listing *listing, const char *posted_at, const char *key) {
	free(listing->posted_at);
	listing->posted_at = mem_strdup(posted_at);
	memcpy(listing->key, key, UUID_TEXT);
}

// The text of rows [0, count), with what comes before and, at the end, behind them.
static void page_write(struct listing *listing, const struct db_result *result, size_t count) {
	free(STEAL(listing->page));
	FILE *out = open_memstream(&listing->page, &listing->length);
	if (!out) abort();
	if (!listing->begun) putc('[', out);
	for (size_t row = 0; row < count; row++)
		fprintf(out, "%s{\"usuario\":%s,\"key\":\"%s\",\"status\":\"%s\"}", row || listing->begun ? "," : "",
			db_get(result, row, 0), db_get(result, row, 1), db_get(result, row, 2));
	if (listing->complete) putc(']', out);
	if (fclose(out)) abort();
	listing->begun = true;
	listing->taken = 0;
	if (count) position_set(listing, db_get(result, count - 1, 3), db_get(result, count - 1, 1));
}

static void link_next(const struct listing *listing) {
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	char *link;
	size_t length;
	FILE *out = open_memstream(&link, &length);
	if (!out) abort();
	fprintf(out, "</all?limit=%lld&after=%s", (long long)listing->limit, listing->key);
	if (listing->usuario) fputs("&usuario=", out);
	for (const char *at = listing->usuario; at && *at; at++)
		fprintf(out, strchr(plain, *at) ? "%c" : "%%%02X", (unsigned char)*at);
	fputs(">; rel=\"next\"", out);
	if (fclose(out)) abort();
	http_answer_header(listing->request, "Link", link);
	free(link);
}

static void fetch(struct listing *listing);

static ssize_t more(char *buffer, size_t size, void *arg) {
	struct listing *listing = arg;
	size_t left = listing->length - listing->taken;
	if (left) {
		size_t part = left < size ? left : size;
		memcpy(buffer, listing->page + listing->taken, part);
		listing->taken += part;
		return (ssize_t)part;
	}
	if (listing->failed) return -2;
	if (listing->complete) return -1;
	if (!listing->fetching) fetch(listing);
	return 0;
}

// The request is not to be touched after its answer.
static void answer_page(struct listing *listing, bool further) {
	struct http_request *request = listing->request;
	if (!listing->limit) {
		listing->streaming = true;
		http_stream(request, 200, JSON_TYPE, more, listing_over, listing);
		return;
	}
	if (further) link_next(listing);
	http_answer(request, 200, JSON_TYPE, listing->page, listing->length);
	listing_free(listing);
}

static void page_failed(struct listing *listing) {
	listing->failed = true;
	if (listing->streaming) {
		http_stream_wake(listing->request);
		return;
	}
	answer_unavailable(listing->request, "PostgreSQL");
	listing_free(listing);
}

static void page_came(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	(void)error;
	struct listing *listing = arg;
	listing->fetching = false;
	if (!listing->request) {
		listing_free(listing);
		return;
	}
	if (status != DB_OK) {
		page_failed(listing);
		return;
	}
	size_t rows = db_rows(result), most = listing->limit ? (size_t)listing->limit : PAGE_ROWS;
	bool further = listing->limit ? rows > most : rows == most;
	listing->complete = listing->limit || !further;
	page_write(listing, result, rows < most ? rows : most);
	if (listing->streaming)
		http_stream_wake(listing->request);
	else
		answer_page(listing, further);
}

static void fetch(struct listing *listing) {
	struct db_params *params = db_params_new();
	db_text(params, listing->whose);
	db_text(params, listing->posted_at);
	db_text(params, listing->key);
	db_int(params, listing->limit ? listing->limit + 1 : PAGE_ROWS);
	listing->fetching = true;
	db_run(listing->reads, listing->statement, params, FRONTEND_READ_WAIT_MS, FRONTEND_READ_TIMEOUT_MS, page_came, listing);
}

// ---- after=<key>

static void position_came(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	(void)error;
	struct listing *listing = arg;
	listing->fetching = false;
	if (listing->request && status == DB_OK && db_rows(result)) {
		position_set(listing, db_get(result, 0, 0), listing->key);
		fetch(listing);
		return;
	}
	if (listing->request && status == DB_OK)
		answer_problem(listing->request, 400, 0,
			"The parameter after names no job in this list; it may have been removed since.");
	else if (listing->request)
		answer_unavailable(listing->request, "PostgreSQL");
	listing_free(listing);
}

static void fetch_position(struct listing *listing) {
	struct db_params *params = db_params_new();
	db_text(params, listing->key);
	db_text(params, listing->usuario ? NULL : listing->whose);
	listing->fetching = true;
	db_run(listing->reads, &statement_position, params, FRONTEND_READ_WAIT_MS, FRONTEND_READ_TIMEOUT_MS, position_came,
		listing);
}

// ---- parameters

static bool param_once(struct http_request *request, const char *name, const char **value) {
	size_t length = 0;
	*value = http_param(request, name, &length);
	return !*value || (http_param_count(request, name) == 1 && strlen(*value) == length);
}

// 0, or -1: answered.
static int limit_read(struct http_request *request, int64_t *limit) {
	const char *text;
	char *end = NULL;
	if (param_once(request, "limit", &text)) {
		if (!text) return 0;
		errno = 0;
		*limit = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : 0;
		if (end && !*end && !errno && *limit >= 1 && *limit <= LIMIT_MOST) return 0;
	}
	answer_problem(request, 400, 0, "The parameter limit must be one whole number from 1 to %d.", LIMIT_MOST);
	return -1;
}

static int after_read(struct http_request *request, char key[UUID_TEXT], bool *given) {
	const char *text;
	bool once = param_once(request, "after", &text);
	*given = text;
	if (once && (!text || uuid_parse_text(text, key) == 0)) return 0;
	answer_problem(request, 400, 0, "The parameter after must be one key.");
	return -1;
}

static int whose_read(struct http_request *request, const struct token_claims *claims, struct listing *listing) {
	const char *usuario;
	if (!param_once(request, "usuario", &usuario) || (usuario && !*usuario)) {
		answer_problem(request, 400, 0, "The parameter usuario must be one name, or *.");
		return -1;
	}
	if (usuario && !(claims->roles & TOKEN_ROLE_ADMIN)) {
		answer_problem(request, 403, 0, "The parameter usuario needs the realm role admin.");
		return -1;
	}
	bool everybody = usuario && strcmp(usuario, "*") == 0;
	listing->statement = everybody ? &statement_list_all : usuario ? &statement_list_usuario : &statement_list_owner;
	listing->whose = mem_strdup(usuario ? usuario : claims->sub);
	listing->usuario = mem_strdup(usuario);
	return 0;
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	const struct frontend *frontend = arg;
	struct listing *listing = mem_zalloc(sizeof *listing);
	bool given = false;
	listing->request = request;
	listing->reads = frontend->reads;
	if (limit_read(request, &listing->limit) || whose_read(request, claims, listing)) {
		listing_free(listing);
		return;
	}
	position_set(listing, FROM_START);
	if (after_read(request, listing->key, &given)) {
		listing_free(listing);
		return;
	}
	if (!frontend->reads) {
		answer_unavailable(request, "PostgreSQL");
		listing_free(listing);
		return;
	}
	http_on_gone(request, listing_over, listing);
	if (given)
		fetch_position(listing);
	else
		fetch(listing);
}

void all_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
