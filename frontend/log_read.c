#include "frontend/log_read.h"

#include "lib/mem.h"

#include <string.h>

#define PAGE_BYTES 32768
#define PAGE_ROWS  128
#define WAIT_MS    0 // who reads comes again
#define TIMEOUT_MS 5000

#define STRINGS(...) #__VA_ARGS__
#define TEXT(...)    STRINGS(__VA_ARGS__)

// Where the output of an attempt (alias a, of attempts) stands: with the job whose result it took, or with itself.
#define PLACE                                                                                                                  \
	" LEFT JOIN LATERAL (SELECT r.key, r.attempt, r.detail FROM attempts r"                                                \
	" WHERE r.key = (a.detail ->> 'reused_from')::uuid AND r.finished_at <= a.finished_at AND r.outcome ->> 'code' = 'ok'" \
	" ORDER BY r.attempt DESC LIMIT 1) r ON true"
#define DROPPED                                                                                                                \
	"coalesce((coalesce(r.detail, a.detail) -> 'output' ->> 'bytes')::bigint"                                              \
	" - (coalesce(r.detail, a.detail) -> 'output' ->> 'kept')::bigint, 0)"
#define OVER(job, attempt) "(" job ".attempt > " attempt " OR " job ".attempt = " attempt " AND " job ".status <> 'Running')"

const struct db_statement log_read_look = {.name = "log_look",
	.sql = "SELECT t.status, t.attempt, t.outcome::text, n.attempt, " OVER("t",
		"n.attempt") "::int,"
			     " coalesce((SELECT o.seq + 1 FROM logs o WHERE o.key = t.key AND o.attempt = t.attempt ORDER BY o.seq DESC LIMIT 1), 0)"
			     " FROM trabajos t CROSS JOIN LATERAL (SELECT CASE WHEN $3::int = 0 THEN t.attempt ELSE $3::int END AS attempt) n"
			     " WHERE t.key = $1::uuid AND ($2::text IS NULL OR t.owner = $2::text)"};

#define OF_ATTEMPT                                                                                                             \
	" FROM (SELECT $1::uuid AS key, $2::int AS attempt) m"                                                                 \
	" LEFT JOIN LATERAL (SELECT b.detail, b.finished_at FROM attempts b WHERE b.key = m.key AND b.attempt = m.attempt) a ON true" PLACE
#define ITS_CHUNKS                                                                                                             \
	"logs o WHERE o.key = coalesce(r.key, m.key) AND o.attempt = coalesce(r.attempt, m.attempt)"                           \
	" AND ($3::int = 0 OR o.stream = $3::int)"

const struct db_statement log_read_size = {
	.name = "log_size", .sql = "SELECT coalesce((SELECT sum(length(o.data)) FROM " ITS_CHUNKS "), 0), " DROPPED OF_ATTEMPT};

const struct db_statement log_read_seek = {.name = "log_seek",
	.sql = "SELECT s.seq, s.before" OF_ATTEMPT " CROSS JOIN LATERAL ("
	       "SELECT c.seq, c.before FROM (SELECT o.seq, sum(length(o.data)) OVER (ORDER BY o.seq) - length(o.data) AS before"
	       " FROM " ITS_CHUNKS ") c WHERE c.before <= $4::bigint ORDER BY c.before DESC, c.seq DESC LIMIT 1) s"};

// A page ends with the chunk that fills it.
static const struct db_statement read_pages = {.name = "log_read",
	.sql = "SELECT f.n, t.status, t.attempt, t.outcome::text, " OVER("t",
		"f.attempt") "::int, a.outcome::text, " DROPPED ","
			     " l.seq, l.stream, (extract(epoch FROM l.at) * 1000)::bigint, l.data"
			     " FROM unnest($1::uuid[], $2::int[], $3::int[]) WITH ORDINALITY AS f (key, attempt, seq, n)"
			     " LEFT JOIN LATERAL (SELECT j.status, j.attempt, j.outcome FROM trabajos j WHERE j.key = f.key) t ON true"
			     " LEFT JOIN LATERAL (SELECT b.outcome, b.detail, b.finished_at FROM attempts b"
			     " WHERE b.key = f.key AND b.attempt = f.attempt) a ON true" PLACE
			     " LEFT JOIN LATERAL (SELECT p.* FROM ("
			     "SELECT c.*, sum(length(c.data)) OVER (ORDER BY c.seq) - length(c.data) AS before FROM ("
			     "SELECT o.seq, o.stream, o.at, o.data FROM logs o"
			     " WHERE o.key = coalesce(r.key, f.key) AND o.attempt = coalesce(r.attempt, f.attempt) AND o.seq >= f.seq"
			     " ORDER BY o.seq LIMIT " TEXT(PAGE_ROWS) ") c) p WHERE p.before < " TEXT(
				     PAGE_BYTES) ") l ON true"
						 " ORDER BY f.n, l.seq"};

struct reading {
	log_read_done *done;
	void *arg;
	size_t count;
	struct log_place places[];
};

static void page_state(struct log_page *page, const struct db_result *result, size_t row) {
	page->status = db_get(result, row, 1);
	page->known = page->status != NULL;
	page->job_attempt = db_get_int(result, row, 2);
	page->outcome = db_get(result, row, 3);
	page->over = db_get_int(result, row, 4) != 0;
	page->attempt_outcome = db_get(result, row, 5);
	page->dropped = db_get_int(result, row, 6);
}

static void page_chunk(struct log_page *page, const struct log_place *place, const struct db_result *result, size_t row) {
	size_t length = 0;
	AUTO_FREE unsigned char *data = db_get_bytes(result, row, 10, &length);
	if (!page->block) page->block = log_block_new(place->attempt, place->seq);
	log_block_add(page->block, db_get_int(result, row, 7), (int)db_get_int(result, row, 8), db_get_int(result, row, 9),
		data, length);
}

static void came(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	AUTO_FREE struct reading *reading = arg;
	if (status != DB_OK) {
		reading->done(NULL, status, error, reading->arg);
		return;
	}
	AUTO_FREE struct log_page *pages = mem_zalloc_array(reading->count, sizeof *pages);
	for (size_t row = 0; row < db_rows(result); row++) {
		size_t number = (size_t)db_get_int(result, row, 0) - 1;
		if (number >= reading->count) continue;
		page_state(&pages[number], result, row);
		if (db_get(result, row, 7)) page_chunk(&pages[number], &reading->places[number], result, row);
	}
	for (size_t i = 0; i < reading->count; i++) {
		const struct log_block *block = pages[i].block;
		pages[i].full = block && (block->count >= PAGE_ROWS || block->length >= PAGE_BYTES);
	}
	reading->done(pages, status, error, reading->arg);
	for (size_t i = 0; i < reading->count; i++) log_block_drop(pages[i].block);
}

void log_read(struct db_session *session, const struct log_place *places, size_t count, log_read_done *done, void *arg) {
	struct reading *reading = mem_zalloc(sizeof *reading + count * sizeof *places);
	*reading = (struct reading){.done = done, .arg = arg, .count = count};
	memcpy(reading->places, places, count * sizeof *places);
	AUTO_FREE const char **keys = mem_zalloc_array(count, sizeof *keys);
	AUTO_FREE int64_t *attempts = mem_zalloc_array(count, sizeof *attempts), *seqs = mem_zalloc_array(count, sizeof *seqs);
	for (size_t i = 0; i < count; i++) {
		keys[i] = places[i].key;
		attempts[i] = places[i].attempt;
		seqs[i] = places[i].seq;
	}
	struct db_params *params = db_params_new();
	db_text_array(params, keys, count);
	db_int_array(params, attempts, count);
	db_int_array(params, seqs, count);
	db_run(session, &read_pages, params, WAIT_MS, TIMEOUT_MS, came, reading);
}
