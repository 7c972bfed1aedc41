// GET /all: the caller's jobs, oldest first, in constant memory: pages by keyset, one at a time, fetched when the client has
// taken the one before.
//
//     [position of after=] --> first page --> with limit: one answer, Link to the next
//                                         `-> without: a stream; a page that fails later cuts the connection, so that
//                                             the client notices
#include "frontend/answer.h"
#include "frontend/frontend.h"
#include "frontend/param.h"
#include "frontend/statements.h"
#include "lib/mem.h"

#include <string.h>

#define JSON_TYPE  "application/json"
#define PAGE_ROWS  300
#define FROM_START "-62135596800000000", "00000000-0000-0000-0000-000000000000"

struct listing {
	struct http_request *request; // NULL: the client has gone
	struct db_session *reads;
	const struct db_statement *statement;
	char *whose;                     // $1 of the statement
	char *usuario;                   // as asked for; NULL: the caller's own
	int64_t limit;                   // 0: all, streamed
	char *posted_us, key[UUID_TEXT]; // of the last row so far

	char *page; // text not yet taken
	size_t length, taken;
	bool streaming, fetching, begun, complete, failed;
};

static void listing_free(struct listing *listing) {
	free(listing->whose);
	free(listing->usuario);
	free(listing->posted_us);
	free(listing->page);
	free(listing);
}

// A statement under way frees it when it comes back.
static void listing_over(void *arg) {
	struct listing *listing = arg;
	listing->request = NULL;
	if (!listing->fetching) listing_free(listing);
}

static void position_set(struct listing *listing, const char *posted_us, const char *key) {
	free(listing->posted_us);
	listing->posted_us = mem_strdup(posted_us);
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
		http_answer_packed(request);
		http_stream(request, 200, JSON_TYPE, more, listing_over, listing);
		return;
	}
	static const char *const kept[] = {"limit", "usuario"};
	if (further) {
		AUTO_FREE char *next = mem_format("%s.%s", listing->posted_us, listing->key);
		param_link_next(request, next, kept, COUNT_OF(kept));
	}
	answer_json(request, 200, listing->page);
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
	struct listing *listing = arg;
	listing->fetching = false;
	if (!listing->request) {
		listing_free(listing);
		return;
	}
	if (status != DB_OK) {
		answer_complain(listing->request, status, error);
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
	db_text(params, listing->posted_us);
	db_text(params, listing->key);
	db_int(params, listing->limit ? listing->limit + 1 : PAGE_ROWS);
	listing->fetching = true;
	db_run(listing->reads, listing->statement, params, FRONTEND_READ_WAIT_MS, FRONTEND_READ_TIMEOUT_MS, page_came, listing);
}

// ---- after=<key>

static void position_came(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
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
		answer_no_ledger(listing->request, status, error);
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

static const char *const known[] = {"limit", "after", "usuario"};

static int whose_read(struct http_request *request, const struct token_claims *claims, struct listing *listing) {
	const char *usuario;
	if (param_usuario(request, claims, &usuario) < 0) return -1;
	bool everybody = usuario && strcmp(usuario, "*") == 0;
	listing->statement = everybody ? &statement_list_all : usuario ? &statement_list_usuario : &statement_list_owner;
	listing->whose = mem_strdup(usuario ? usuario : claims->sub);
	listing->usuario = mem_strdup(usuario);
	return 0;
}

static void authorised(struct http_request *request, struct token_claims *claims, void *arg) {
	const struct frontend *frontend = arg;
	struct listing *listing = mem_zalloc(sizeof *listing);
	listing->request = request;
	listing->reads = frontend->reads;
	if (param_only(request, known, COUNT_OF(known)) || param_limit(request, &listing->limit) < 0 ||
		whose_read(request, claims, listing)) {
		listing_free(listing);
		return;
	}
	position_set(listing, FROM_START);
	struct param_cursor cursor;
	int given = param_cursor(request, &cursor);
	if (given < 0) {
		listing_free(listing);
		return;
	}
	if (!frontend->reads) {
		answer_unavailable(request, "PostgreSQL");
		listing_free(listing);
		return;
	}
	http_on_gone(request, listing_over, listing);
	if (given) memcpy(listing->key, cursor.key, UUID_TEXT);
	if (given && *cursor.us) position_set(listing, cursor.us, cursor.key);
	if (given && !*cursor.us)
		fetch_position(listing);
	else
		fetch(listing);
}

void all_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	auth_request(frontend->auth, request, authorised, arg);
}
