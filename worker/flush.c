#include "worker/flush.h"

#include "lib/follow.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "worker/followed.h"
#include "worker/output.h"
#include "worker/statements.h"
#include "worker/worker.h"

#include <string.h>

#define USUAL_MS             1000
#define FOLLOWED_FIRST_MS    2  // after a silence: what is printed together shall go together
#define FOLLOWED_MS          25 // between two statements for the same job
#define WAITING_MOST         ((int64_t)256 << 10)
#define BYTES_MOST           ((int64_t)1 << 20) // of a statement
#define STATEMENT_TIMEOUT_MS 15000
#define AGAIN_MOST_MS        10000

LIST_HEAD(flush_entries, flush_entry);

struct flusher {
	struct worker *worker;
	struct followed *followed;
	struct flush_entries entries;
	struct loop_timer *timer, *tell;
	int64_t timer_ms, not_before_ms;
	unsigned failures;
	bool under_way;
	char (*news)[UUID_TEXT]; // that are still to be told
	size_t news_count;
};

// ---- news

static void tell(void *arg) {
	struct flusher *flusher = arg;
	follow_tell(flusher->worker->chores, FOLLOW_NEWS, (const char(*)[UUID_TEXT])flusher->news, flusher->news_count);
	flusher->news_count = 0;
}

static void add_news(struct flusher *flusher, const char *key) {
	for (size_t i = 0; i < flusher->news_count; i++)
		if (strcmp(flusher->news[i], key) == 0) return;
	flusher->news = mem_resize(flusher->news, flusher->news_count + 1, sizeof(*flusher->news));
	memcpy(flusher->news[flusher->news_count++], key, UUID_TEXT);
	loop_timer_set(flusher->tell, 0);
}

void flush_news(struct flusher *flusher, const char *key) {
	if (followed_has(flusher->followed, key, loop_now_ms())) add_news(flusher, key);
}

// ---- when

// When its output is to be sent; INT64_MAX: it has none.
static int64_t due_ms(const struct flusher *flusher, const struct flush_entry *entry) {
	if (!entry->since_ms) return INT64_MAX;
	int64_t first = entry->since_ms + FOLLOWED_FIRST_MS, next = entry->sent_ms + FOLLOWED_MS,
		at = first > next ? first : next;
	if (!entry->followed) at = entry->since_ms + (output_waiting_bytes(entry->output) < WAITING_MOST ? USUAL_MS : 0);
	return at > flusher->not_before_ms ? at : flusher->not_before_ms;
}

static void wake_at(struct flusher *flusher, int64_t at_ms) {
	if (at_ms == INT64_MAX || flusher->under_way) return;
	if (loop_timer_active(flusher->timer) && flusher->timer_ms <= at_ms) return;
	int64_t now = loop_now_ms();
	flusher->timer_ms = at_ms;
	loop_timer_set(flusher->timer, at_ms > now ? at_ms - now : 0);
}

static void wake(struct flusher *flusher) {
	struct flush_entry *entry;
	LIST_FOREACH(entry, &flusher->entries, entry) wake_at(flusher, due_ms(flusher, entry));
}

// ---- the statement

static void acknowledge(struct flusher *flusher, bool written) {
	struct flush_entry *entry;
	LIST_FOREACH(entry, &flusher->entries, entry) {
		if (!entry->sent) continue;
		entry->sent = false;
		if (written) output_acknowledge(entry->output, entry->mark);
		if (written && entry->followed) add_news(flusher, entry->key);
		if (!output_waiting(entry->output))
			entry->since_ms = 0;
		else if (!entry->since_ms)
			entry->since_ms = loop_now_ms();
	}
}

static void flushed(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct flusher *flusher = arg;
	(void)result;
	if (flusher->worker->phase == WORKER_LEAVING) return;
	flusher->under_way = false;
	flusher->failures = status == DB_OK ? 0 : flusher->failures + 1;
	if (status != DB_OK)
		flusher->not_before_ms = loop_now_ms() + lifecycle_backoff_ms(flusher->failures, FOLLOWED_MS, AGAIN_MOST_MS);
	if (status != DB_OK && status != DB_UNAVAILABLE && status != DB_RETRY)
		log_warn(log_m("cannot keep output yet"), log_e(error));
	acknowledge(flusher, status == DB_OK);
	wake(flusher);
}

// Of those that are not due yet, too, what has waited for half of its time.
static bool goes_along(const struct flusher *flusher, const struct flush_entry *entry, int64_t now_ms) {
	if (!entry->since_ms) return false;
	return due_ms(flusher, entry) <= now_ms || now_ms - entry->since_ms >= (entry->followed ? 0 : USUAL_MS / 2);
}

static void gather(struct flusher *flusher, struct output_columns *columns, struct db_params *params) {
	size_t room = (size_t)flusher->worker->config.slots, count = 0;
	AUTO_FREE const char **keys = mem_zalloc_array(room, sizeof(*keys));
	AUTO_FREE int64_t *attempts = mem_zalloc_array(room, sizeof(*attempts));
	int64_t now_ms = loop_now_ms();
	struct flush_entry *entry;
	LIST_FOREACH(entry, &flusher->entries, entry) {
		if (columns->bytes >= BYTES_MOST || !goes_along(flusher, entry, now_ms)) continue;
		keys[count] = entry->key;
		attempts[count++] = entry->attempt;
		entry->mark = output_gather(entry->output, (int64_t)count, BYTES_MOST, columns);
		entry->sent = true;
		entry->since_ms = 0;
		entry->sent_ms = now_ms;
	}
	db_text_array(params, keys, count);
	db_int_array(params, attempts, count);
	output_columns_params(columns, params);
}

static void send_due(void *arg) {
	struct flusher *flusher = arg;
	struct output_columns columns = {0};
	struct db_params *params = db_params_new();
	gather(flusher, &columns, params);
	if (columns.count > 0) {
		flusher->under_way = true;
		db_run(flusher->worker->chores, &worker_output, params, STATEMENT_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, flushed,
			flusher);
	} else {
		db_params_free(params);
		acknowledge(flusher, false);
		wake(flusher);
	}
	output_columns_clear(&columns);
}

// ---- for jobs

static void heard(const char *payload, void *arg) {
	struct flusher *flusher = arg;
	int64_t now_ms = loop_now_ms();
	char key[UUID_TEXT];
	if (!payload) follow_ask(flusher->worker->chores);
	while (payload && follow_key(&payload, key)) followed_add(flusher->followed, key, now_ms);
	struct flush_entry *entry;
	LIST_FOREACH(entry, &flusher->entries, entry) entry->followed = followed_has(flusher->followed, entry->key, now_ms);
	wake(flusher);
}

void flush_soon(struct flusher *flusher, struct flush_entry *entry) {
	if (!entry->since_ms && output_waiting(entry->output)) {
		entry->since_ms = loop_now_ms();
		entry->followed = followed_has(flusher->followed, entry->key, entry->since_ms);
	}
	wake_at(flusher, due_ms(flusher, entry));
}

void flush_remove(struct flusher *flusher, struct flush_entry *entry) {
	(void)flusher;
	if (entry->added) LIST_REMOVE(entry, entry);
	entry->added = false;
}

void flush_add(struct flusher *flusher, struct flush_entry *entry) {
	entry->added = true;
	LIST_INSERT_HEAD(&flusher->entries, entry, entry);
	flush_news(flusher, entry->key);
}

void flusher_free(struct flusher *flusher) {
	if (!flusher) return;
	loop_timer_free(flusher->timer);
	loop_timer_free(flusher->tell);
	followed_free(flusher->followed);
	free(flusher->news);
	free(flusher);
}

struct flusher *flusher_new(struct worker *worker) {
	struct flusher *flusher = mem_zalloc(sizeof(*flusher));
	flusher->worker = worker;
	flusher->followed = followed_new();
	LIST_INIT(&flusher->entries);
	flusher->timer = loop_timer_new(worker->loop, send_due, flusher);
	flusher->tell = loop_timer_new(worker->loop, tell, flusher);
	db_session_listen_each(worker->chores, FOLLOW_WANTED, heard, flusher);
	return flusher;
}
