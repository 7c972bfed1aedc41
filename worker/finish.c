#include "worker/finish.h"

#include "lib/mem.h"
#include "worker/output.h"
#include "worker/statements.h"

#include <string.h>

#define BATCH_MOST           500
#define BYTES_MOST           ((int64_t)8 << 20) // of output
#define WAIT_FOREVER_MS      ((int64_t)365 * 86400000)
#define STATEMENT_TIMEOUT_MS 15000

struct finisher {
	struct worker *worker;
	struct loop_timer *kick;
	struct finish_entry *waiting, **last;
	size_t count; // of the statement under way; 0: none
	struct finish_entry *sent[BATCH_MOST];
};

// ---- parameters, column by column

static void add_texts(
	struct db_params *params, struct finish_entry *const *entries, size_t count, enum db_type type, size_t offset) {
	const char *values[BATCH_MOST];
	for (size_t i = 0; i < count; i++) memcpy(&values[i], (const char *)entries[i] + offset, sizeof(values[i]));
	db_texts(params, type, values, count);
}

static void add_numbers(
	struct db_params *params, struct finish_entry *const *entries, size_t count, enum db_type type, size_t offset) {
	int64_t values[BATCH_MOST];
	for (size_t i = 0; i < count; i++) memcpy(&values[i], (const char *)entries[i] + offset, sizeof(values[i]));
	db_ints(params, type, values, count);
}

static void add_flags(struct db_params *params, struct finish_entry *const *entries, size_t count) {
	int64_t values[BATCH_MOST];
	for (size_t i = 0; i < count; i++) values[i] = entries[i]->dead;
	db_ints(params, DB_INT4, values, count);
}

static void add_output(struct db_params *params, struct finish_entry *const *entries, size_t count) {
	struct output_columns columns = {0};
	for (size_t i = 0; i < count; i++) (void)output_gather(entries[i]->output, (int64_t)i + 1, INT64_MAX, &columns);
	output_columns_params(&columns, params);
	output_columns_clear(&columns);
}

static struct db_params *params_of(struct finish_entry *const *entries, size_t count) {
	struct db_params *params = db_params_new();
	add_texts(params, entries, count, DB_UUID, offsetof(struct finish_entry, key));
	add_numbers(params, entries, count, DB_INT4, offsetof(struct finish_entry, attempt));
	add_texts(params, entries, count, DB_TEXT, offsetof(struct finish_entry, status));
	add_numbers(params, entries, count, DB_INT8, offsetof(struct finish_entry, delay_ms));
	add_flags(params, entries, count);
	add_texts(params, entries, count, DB_JSONB, offsetof(struct finish_entry, outcome));
	add_texts(params, entries, count, DB_JSONB, offsetof(struct finish_entry, detail));
	add_numbers(params, entries, count, DB_INT8, offsetof(struct finish_entry, execution_ms));
	add_texts(params, entries, count, DB_TEXT, offsetof(struct finish_entry, commit));
	add_numbers(params, entries, count, DB_INT4, offsetof(struct finish_entry, user_failures));
	add_numbers(params, entries, count, DB_INT4, offsetof(struct finish_entry, platform_failures));
	add_output(params, entries, count);
	return params;
}

// ---- statements

static void kick_soon(struct finisher *finisher) {
	if (!finisher->count && finisher->waiting && !loop_timer_active(finisher->kick)) loop_timer_set(finisher->kick, 0);
}

static void put(struct finisher *finisher, struct finish_entry *entry) {
	entry->next = NULL;
	*finisher->last = entry;
	finisher->last = &entry->next;
}

#ifdef FAULTY_fence // the fault suite must notice
#define SAME_ATTEMPT(row) true
#else
#define SAME_ATTEMPT(row) (db_get_int(result, row, 1) == entry->attempt)
#endif

static bool answered(const struct db_result *result, const struct finish_entry *entry) {
	for (size_t row = 0; row < db_rows(result); row++)
		if (SAME_ATTEMPT(row) && strcmp(db_get(result, row, 0), entry->key) == 0) return true;
	return false;
}

// Of a refused statement nothing was written; whose values they were shows when each goes alone.
static void finished(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct finisher *finisher = arg;
	struct finish_entry *sent[BATCH_MOST];
	size_t count = finisher->count;
	for (size_t i = 0; i < count; i++) sent[i] = finisher->sent[i];
	finisher->count = 0;
	for (size_t i = 0; i < count; i++) {
		if (status == DB_BAD_DATA && count > 1) {
			sent[i]->alone = true;
			put(finisher, sent[i]);
		} else {
			sent[i]->done(status, status == DB_OK && answered(result, sent[i]), error, sent[i]->arg);
		}
	}
	kick_soon(finisher);
}

static struct finish_entry *take(struct finisher *finisher) {
	struct finish_entry *entry = finisher->waiting;
	finisher->waiting = entry->next;
	if (!finisher->waiting) finisher->last = &finisher->waiting;
	return entry;
}

static void send_batch(void *arg) {
	struct finisher *finisher = arg;
	if (finisher->count || !finisher->waiting) return;
	int64_t bytes = 0;
	do {
		bytes += output_waiting_bytes(finisher->waiting->output);
		finisher->sent[finisher->count++] = take(finisher);
	} while (finisher->waiting && !finisher->waiting->alone && !finisher->sent[0]->alone && finisher->count < BATCH_MOST &&
		 bytes + output_waiting_bytes(finisher->waiting->output) <= BYTES_MOST);
	db_run(finisher->worker->ledger, &worker_finish, params_of(finisher->sent, finisher->count), WAIT_FOREVER_MS,
		STATEMENT_TIMEOUT_MS, finished, finisher);
}

// Deferred to the loop's next round, so that those of one round become one statement.
void finish_attempt(struct finisher *finisher, struct finish_entry *entry) {
	entry->alone = false;
	put(finisher, entry);
	kick_soon(finisher);
}

void finisher_free(struct finisher *finisher) {
	if (!finisher) return;
	loop_timer_free(finisher->kick);
	AUTO_ERROR struct error error = {0};
	if (finisher->waiting) error_set(&error, ERROR_UNAVAILABLE, "the worker stops");
	while (finisher->waiting) {
		struct finish_entry *entry = take(finisher);
		entry->done(DB_UNAVAILABLE, false, &error, entry->arg);
	}
	free(finisher);
}

struct finisher *finisher_new(struct worker *worker) {
	struct finisher *finisher = mem_zalloc(sizeof(*finisher));
	finisher->worker = worker;
	finisher->last = &finisher->waiting;
	finisher->kick = loop_timer_new(worker->loop, send_batch, finisher);
	return finisher;
}
