#include "worker/note.h"

#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "worker/detail.h"
#include "worker/flush.h"
#include "worker/statements.h"
#include "worker/worker.h"

#define USUAL_MS             500
#define AGAIN_FIRST_MS       200
#define AGAIN_MOST_MS        10000
#define STATEMENT_TIMEOUT_MS 15000

LIST_HEAD(note_entries, note_entry);

struct notes {
	struct worker *worker;
	struct note_entries entries;
	struct loop_timer *timer;
	unsigned failures;
	bool under_way;
};

static void wake(struct notes *notes) {
	int64_t now_ms = loop_now_ms(), first_ms = INT64_MAX;
	struct note_entry *entry;
	if (notes->under_way || loop_timer_active(notes->timer)) return;
	LIST_FOREACH(entry, &notes->entries, entry) if (entry->since_ms < first_ms) first_ms = entry->since_ms;
	if (first_ms == INT64_MAX) return;
	int64_t ms = first_ms + USUAL_MS - now_ms, again_ms = 0;
	if (notes->failures) again_ms = lifecycle_backoff_ms(notes->failures, AGAIN_FIRST_MS, AGAIN_MOST_MS);
	loop_timer_set(notes->timer, ms > again_ms ? ms : again_ms);
}

static void forget_sent(struct notes *notes, bool written) {
	struct note_entry *entry = LIST_FIRST(&notes->entries);
	while (entry) {
		struct note_entry *next = LIST_NEXT(entry, entry);
		if (entry->sent) {
			if (written) flush_news(notes->worker->flusher, entry->key);
			note_remove(entry);
		}
		entry = next;
	}
}

static void noted(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct notes *notes = arg;
	(void)result;
	if (notes->worker->phase == WORKER_LEAVING) return;
	bool again = status == DB_UNAVAILABLE || status == DB_RETRY;
	notes->under_way = false;
	notes->failures = again ? notes->failures + 1 : 0;
	if (!again) forget_sent(notes, status == DB_OK);
	if (!again && status != DB_OK) log_warn(log_m("the ledger refuses what is known of running jobs"), log_e(error));
	wake(notes);
}

// Of those that are not due yet, too, what has waited for half of its time.
static void send_due(void *arg) {
	struct notes *notes = arg;
	size_t room = (size_t)notes->worker->config.slots, count = 0;
	AUTO_FREE const char **keys = mem_zalloc_array(room, sizeof(*keys));
	AUTO_FREE char **details = mem_zalloc_array(room, sizeof(*details));
	AUTO_FREE int64_t *attempts = mem_zalloc_array(room, sizeof(*attempts));
	int64_t now_ms = loop_now_ms();
	struct note_entry *entry;
	LIST_FOREACH(entry, &notes->entries, entry) {
		entry->sent = now_ms - entry->since_ms >= USUAL_MS / 2;
		if (!entry->sent) continue;
		keys[count] = entry->key;
		attempts[count] = entry->attempt;
		details[count++] = detail_write_running(entry->detail);
	}
	if (count > 0) {
		struct db_params *params = db_params_new();
		db_text_array(params, keys, count);
		db_int_array(params, attempts, count);
		db_text_array(params, (const char *const *)details, count);
		notes->under_way = true;
		db_run(notes->worker->chores, &worker_note, params, STATEMENT_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, noted, notes);
	}
	for (size_t i = 0; i < count; i++) free(details[i]);
	wake(notes);
}

void note_remove(struct note_entry *entry) {
	if (entry->added) LIST_REMOVE(entry, entry);
	entry->added = false;
}

void note_add(struct notes *notes, struct note_entry *entry) {
	entry->added = true;
	entry->sent = false;
	entry->since_ms = loop_now_ms();
	LIST_INSERT_HEAD(&notes->entries, entry, entry);
	wake(notes);
}

void notes_free(struct notes *notes) {
	if (!notes) return;
	loop_timer_free(notes->timer);
	free(notes);
}

struct notes *notes_new(struct worker *worker) {
	struct notes *notes = mem_zalloc(sizeof(*notes));
	notes->worker = worker;
	LIST_INIT(&notes->entries);
	notes->timer = loop_timer_new(worker->loop, send_due, notes);
	return notes;
}
