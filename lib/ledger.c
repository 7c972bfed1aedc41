#include "lib/ledger.h"

#include "lib/mem.h"

#include <stdbool.h>

#ifdef FAULTY_dedupe // the fault suite must notice
#define IF_KNOWN " ON CONFLICT (key) DO UPDATE SET status = excluded.status"
#else
#define IF_KNOWN " ON CONFLICT (key) DO NOTHING"
#endif

// One statement for all: the jobs, their places in the queue, and the visible result of those that have failed already. A job with
// a concurrency key is placed by a trigger of trabajos. Parameters: key, owner, usuario, admin, url, spec, fingerprint, ref,
// priority, timeout_s (-1: none), retries, concurrency key (NULL: none), limit and replace, posted and eligible in ms,
// outcome (NULL: queued), and how many records of the batch differ from another one of the same key in it.
// Where nothing was known already, `differing` and `copied` cost nothing; else they see the table as it was before this statement,
// by the key's index alone. A copy of a record that came a day and more after the first is noted: the ingest skips records so old
// that their jobs may have been removed, by their own age less a day, so the row has to outlive its copies.
const struct db_statement ledger_insert = {"ledger_insert",
	"WITH given AS MATERIALIZED ("
	" SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::jsonb[], $7::text[], $8::text[],"
	"  $9::smallint[], $10::integer[], $11::integer[], $12::text[], $13::integer[], $14::boolean[], $15::bigint[], $16::bigint[],"
	"  $17::jsonb[])"
	" AS given (key, owner, usuario, admin, url, spec, fingerprint, ref, priority, timeout_s, retries, concurrency_key,"
	"  concurrency_limit, concurrency_replace, posted_ms, eligible_ms, outcome)"
	"), inserted AS ("
	" INSERT INTO trabajos (key, owner, usuario, admin, url, spec, fingerprint, ref, priority, timeout_s, retries,"
	"  concurrency_key, concurrency_limit, concurrency_replace, posted_at, eligible_at, status, finished_at, outcome)"
	" SELECT key, owner, usuario, admin, url, spec, fingerprint, ref, priority, nullif(timeout_s, -1), retries,"
	"  concurrency_key, concurrency_limit, concurrency_replace, to_timestamp(posted_ms / 1000.0),"
	// Kafka's clock may be ahead of PostgreSQL's
	"  CASE WHEN eligible_ms > posted_ms THEN to_timestamp(eligible_ms / 1000.0)"
	"  ELSE least(now(), to_timestamp(posted_ms / 1000.0)) END,"
	"  CASE WHEN outcome IS NULL THEN 'Queued' ELSE 'Failed' END, CASE WHEN outcome IS NOT NULL THEN now() END, outcome"
	// the triggers of concurrency keys come in this order too, and each takes its key's lock
	" FROM given ORDER BY owner COLLATE \"C\", concurrency_key COLLATE \"C\" NULLS FIRST, key" IF_KNOWN
	" RETURNING key, owner, usuario, admin, priority, eligible_at, status, concurrency_key"
	"), queued AS ("
	" INSERT INTO queue (rank, owner, place, eligible_at, key, attempt)"
	" SELECT CASE WHEN admin THEN -priority ELSE 0 END, owner, -priority, eligible_at, key, 0 FROM inserted"
	" WHERE status = 'Queued' AND concurrency_key IS NULL AND eligible_at <= now()"
	"), delayed AS ("
	" INSERT INTO delayed (eligible_at, key) SELECT eligible_at, key FROM inserted"
	" WHERE status = 'Queued' AND concurrency_key IS NULL AND eligible_at > now()"
	"), visible AS ("
	" INSERT INTO resultados (usuario, key, status) SELECT usuario, key::text, status FROM inserted WHERE status = 'Failed'"
	" ON CONFLICT (usuario, key) DO UPDATE SET status = excluded.status"
	"), unpublished AS ("
	" INSERT INTO outbox (key, attempt, publish_after) SELECT key, 0, now() FROM inserted WHERE status = 'Failed'"
	"), counted AS (SELECT count(*) AS inserted FROM inserted"
	"), copied AS ("
	" UPDATE trabajos t SET reposted_at = to_timestamp(g.posted_ms / 1000.0) FROM ("
	"  SELECT * FROM given WHERE (SELECT inserted FROM counted) < (SELECT count(*) FROM given) ORDER BY key) g"
	" WHERE t.key = g.key"
	" AND coalesce(t.reposted_at, t.posted_at) + interval '1 day' < to_timestamp(g.posted_ms / 1000.0)"
	")"
	" SELECT inserted, $18::bigint + CASE WHEN inserted = (SELECT count(*) FROM given) THEN 0 ELSE ("
	"  SELECT count(*) FROM given g WHERE g.fingerprint <> (SELECT t.fingerprint FROM trabajos t WHERE t.key = g.key)"
	" ) END AS differing FROM counted"};

struct row {
	size_t arrival;
	char key[37], fingerprint[65];
	char *owner, *usuario, *url, *spec, *ref, *concurrency_key, *outcome;
	int64_t admin, priority, timeout_s, retries, concurrency_limit, concurrency_replace, posted_ms, eligible_ms;
};

struct ledger_batch {
	size_t count, room;
	struct row *rows;
	bool sorted;
};

struct ledger_batch *ledger_batch_new(void) {
	return mem_zalloc(sizeof(struct ledger_batch));
}

void ledger_batch_free(struct ledger_batch *batch) {
	if (!batch) return;
	for (size_t i = 0; i < batch->count; i++) {
		struct row *row = &batch->rows[i];
		free(row->owner);
		free(row->usuario);
		free(row->url);
		free(row->spec);
		free(row->ref);
		free(row->concurrency_key);
		free(row->outcome);
	}
	free(batch->rows);
	free(batch);
}

void ledger_batch_add(struct ledger_batch *batch, const struct trabajo *trabajo, const struct outcome *failed) {
	if (batch->count == batch->room) {
		batch->room = batch->room ? 2 * batch->room : 16;
		batch->rows = mem_resize(batch->rows, batch->room, sizeof(batch->rows[0]));
	}
	struct row *row = &batch->rows[batch->count++];
	*row = (struct row){
		.arrival = batch->count,
		.owner = mem_strdup(trabajo->owner),
		.usuario = mem_strdup(trabajo->usuario),
		.url = mem_strdup(trabajo->url),
		.spec = trabajo->spec.json ? json_write(trabajo->spec.json) : mem_strdup("{}"),
		.ref = trabajo->spec.ref ? mem_strdup(trabajo->spec.ref) : NULL,
		.concurrency_key = trabajo->spec.concurrency_key ? mem_strdup(trabajo->spec.concurrency_key) : NULL,
		.admin = trabajo->admin,
		.priority = trabajo->spec.priority,
		.timeout_s = trabajo->spec.timeout_s,
		.retries = trabajo->spec.retries > 0 ? trabajo->spec.retries : 0,
		.concurrency_limit = trabajo->spec.concurrency_limit > 0 ? trabajo->spec.concurrency_limit : 1,
		.concurrency_replace = trabajo->spec.concurrency_replace,
		.posted_ms = trabajo->posted_ms,
		.eligible_ms = trabajo_eligible_ms(trabajo),
	};
	memcpy(row->key, trabajo->key, sizeof(row->key));
	trabajo_fingerprint(trabajo, row->fingerprint);
	if (failed) {
		AUTO_JSON json_t *outcome = outcome_json(failed);
		row->outcome = json_write(outcome);
	}
	batch->sorted = false;
}

size_t ledger_batch_count(const struct ledger_batch *batch) {
	return batch->count;
}

const char *ledger_batch_key(const struct ledger_batch *batch, size_t row) {
	return batch->rows[row].key;
}

static int by_key(const void *a, const void *b) {
	return strcmp(((const struct row *)a)->key, ((const struct row *)b)->key);
}

// ---- parameters, column by column

static void add_texts(struct db_params *params, const struct row *const *rows, size_t count, enum db_type type, size_t offset) {
	AUTO_FREE const char **values = mem_zalloc_array(count, sizeof(*values));
	for (size_t i = 0; i < count; i++) memcpy(&values[i], (const char *)rows[i] + offset, sizeof(values[i]));
	db_texts(params, type, values, count);
}

// The text stands in the row itself.
static void add_inline(
	struct db_params *params, const struct row *const *rows, size_t count, enum db_type type, size_t offset) {
	AUTO_FREE const char **values = mem_zalloc_array(count, sizeof(*values));
	for (size_t i = 0; i < count; i++) values[i] = (const char *)rows[i] + offset;
	db_texts(params, type, values, count);
}

static void add_numbers(
	struct db_params *params, const struct row *const *rows, size_t count, enum db_type type, size_t offset) {
	AUTO_FREE int64_t *values = mem_zalloc_array(count, sizeof(*values));
	for (size_t i = 0; i < count; i++) memcpy(&values[i], (const char *)rows[i] + offset, sizeof(values[i]));
	db_ints(params, type, values, count);
}

// The rows of the range without those whose key came before; returns how many.
static size_t distinct(const struct row *rows, size_t count, const struct row **kept, int64_t *differing) {
	size_t left = 0;
	*differing = 0;
	for (size_t i = 0; i < count; i++) {
		if (!left || by_key(kept[left - 1], &rows[i]) != 0)
			kept[left++] = &rows[i];
		else if (strcmp(kept[left - 1]->fingerprint, rows[i].fingerprint) != 0)
			++*differing;
	}
	return left;
}

static int by_key_and_arrival(const void *a, const void *b) {
	int order = by_key(a, b);
	if (order) return order;
	return ((const struct row *)a)->arrival < ((const struct row *)b)->arrival ? -1 : 1;
}

struct db_params *ledger_batch_params(struct ledger_batch *batch, size_t from, size_t count) {
	static const struct {
		void (*add)(struct db_params *params, const struct row *const *rows, size_t count, enum db_type type,
			size_t offset);
		enum db_type type; // as the statement casts
		size_t offset;
	} columns[] = {
		{add_inline, DB_UUID, offsetof(struct row, key)},
		{add_texts, DB_TEXT, offsetof(struct row, owner)},
		{add_texts, DB_TEXT, offsetof(struct row, usuario)},
		{add_numbers, DB_BOOL, offsetof(struct row, admin)},
		{add_texts, DB_TEXT, offsetof(struct row, url)},
		{add_texts, DB_JSONB, offsetof(struct row, spec)},
		{add_inline, DB_TEXT, offsetof(struct row, fingerprint)},
		{add_texts, DB_TEXT, offsetof(struct row, ref)},
		{add_numbers, DB_INT2, offsetof(struct row, priority)},
		{add_numbers, DB_INT4, offsetof(struct row, timeout_s)},
		{add_numbers, DB_INT4, offsetof(struct row, retries)},
		{add_texts, DB_TEXT, offsetof(struct row, concurrency_key)},
		{add_numbers, DB_INT4, offsetof(struct row, concurrency_limit)},
		{add_numbers, DB_BOOL, offsetof(struct row, concurrency_replace)},
		{add_numbers, DB_INT8, offsetof(struct row, posted_ms)},
		{add_numbers, DB_INT8, offsetof(struct row, eligible_ms)},
		{add_texts, DB_JSONB, offsetof(struct row, outcome)},
	};
	if (!batch->sorted && batch->count) qsort(batch->rows, batch->count, sizeof(batch->rows[0]), by_key_and_arrival);
	batch->sorted = true;
	int64_t differing;
	AUTO_FREE const struct row **rows = mem_zalloc_array(count, sizeof(void *));
	size_t left = distinct(batch->rows + from, count, rows, &differing);
	struct db_params *params = db_params_new();
	for (size_t i = 0; i < COUNT_OF(columns); i++) columns[i].add(params, rows, left, columns[i].type, columns[i].offset);
	db_int(params, differing);
	return params;
}

// ---- waking idle workers

enum { TAP_EVERY_MS = 5, TAP_TIMEOUT_MS = 5000 };

struct ledger_tap {
	struct db_session *session;
	struct loop_timer *timer;
	bool again; // tapped since the last one was sent
};

static void tapped(enum db_status status UNUSED, const struct db_result *result UNUSED, const struct error *error UNUSED,
	void *arg UNUSED) {
	// one that is lost costs a second: workers look by themselves that often
}

void ledger_tap(struct ledger_tap *tap) {
	// A notification writes a transaction's end, which nobody needs on disk: it would be flushed beside every insert.
	static const struct db_statement notify = {
		"ledger_tap", "SELECT set_config('synchronous_commit', 'off', true), pg_notify('" LEDGER_CHANNEL "', '')"};
	if (loop_timer_active(tap->timer)) {
		tap->again = true;
		return;
	}
	tap->again = false;
	if (!db_session_ready(tap->session)) return;
	db_run(tap->session, &notify, NULL, 0, TAP_TIMEOUT_MS, tapped, NULL);
	loop_timer_set(tap->timer, TAP_EVERY_MS);
}

static void tap_again(void *arg) {
	struct ledger_tap *tap = arg;
	if (tap->again) ledger_tap(tap);
}

void ledger_tap_close(struct ledger_tap *tap) {
	if (!tap) return;
	db_session_close(tap->session);
	loop_timer_free(tap->timer);
	free(tap);
}

struct ledger_tap *ledger_tap_open(struct loop *loop, const struct db_config *config) {
	struct ledger_tap *tap = mem_zalloc(sizeof(*tap));
	tap->session = db_session_open(loop, config);
	tap->timer = loop_timer_new(loop, tap_again, tap);
	return tap;
}
