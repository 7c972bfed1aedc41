#include "frontend/batch.h"

#include "frontend/meters.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <string.h>

#define TRIES_MOST  5
#define RANGES_MOST 32 // halving a thousand rows leaves one range a level

struct range {
	size_t from, count;
};

struct batch {
	struct batch_port port;
	struct batch_entry *first, **last; // queued
	bool stopped;

	// under way
	struct ledger_batch *rows; // NULL: nothing
	struct batch_entry *entries[LEDGER_BATCH_MOST];
	size_t count;
	struct range ranges[RANGES_MOST]; // still to be inserted; the last one is being inserted
	size_t range_count;
	unsigned tries;
};

static int by_key(const void *a, const void *b) {
	const struct batch_entry *const *left = a, *const *right = b;
	return strcmp((*left)->trabajo->key, (*right)->trabajo->key);
}

static int key_against(const void *key, const void *element) {
	const struct batch_entry *const *entry = element;
	return strcmp(key, (*entry)->trabajo->key);
}

// The same key may be there twice, and then stands once or twice among the rows.
static void mark_stored(struct batch *batch, const char *key) {
	struct batch_entry **found = bsearch(key, batch->entries, batch->count, sizeof(struct batch_entry *), key_against);
	if (!found) return;
	while (found > batch->entries && strcmp(found[-1]->trabajo->key, key) == 0) found--;
	for (; found < batch->entries + batch->count && strcmp((*found)->trabajo->key, key) == 0; found++)
		(*found)->stored = true;
}

static void range_stored(struct batch *batch, struct range range) {
	if (range.count == ledger_batch_count(batch->rows)) {
		for (size_t i = 0; i < batch->count; i++) batch->entries[i]->stored = true;
		return;
	}
	for (size_t i = 0; i < range.count; i++) mark_stored(batch, ledger_batch_key(batch->rows, range.from + i));
}

static void range_push(struct batch *batch, size_t from, size_t count) {
	batch->ranges[batch->range_count++] = (struct range){from, count};
	batch->tries = 0;
}

static void batch_end(struct batch *batch) {
	batch->range_count = 0;
	for (size_t i = 0; i < batch->count; i++)
		batch->port.done(batch->entries[i], batch->entries[i]->stored, batch->port.arg);
	ledger_batch_free(STEAL(batch->rows));
	batch_kick(batch);
}

static void inserted(enum db_status status, int64_t differing, const struct error *error, struct batch *batch) {
	struct range range = batch->ranges[--batch->range_count];
	switch (status) {
	case DB_OK:
		metric_add(&meter_ledger_differing, differing);
		range_stored(batch, range);
		break;
	case DB_RETRY:
		if (++batch->tries < TRIES_MOST) {
			batch->range_count++;
		} else {
			log_warn(log_m("the ledger's insert keeps colliding; left to the workers"), log_e(error));
			batch->range_count = 0;
		}
		break;
	case DB_BAD_DATA:
		if (range.count > 1) {
			range_push(batch, range.from + range.count / 2, range.count - range.count / 2);
			range_push(batch, range.from, range.count / 2);
		} else {
			log_error(log_m("the ledger refuses a job"), log_s("key", ledger_batch_key(batch->rows, range.from)),
				log_e(error));
			metric_add(&meter_ledger_bad, 1);
		}
		break;
	case DB_FAILED:
		log_error(log_m("the ledger's insert failed; left to the workers"), log_e(error));
		batch->range_count = 0;
		break;
	case DB_UNAVAILABLE:
		batch->range_count = 0;
		break;
	}
	if (!batch->range_count) {
		batch_end(batch);
		return;
	}
	range = batch->ranges[batch->range_count - 1];
	batch->port.insert(batch->rows, range.from, range.count, inserted, batch, batch->port.arg);
}

static void refuse_queued(struct batch *batch) {
	while (batch->first) {
		struct batch_entry *entry = batch->first;
		batch->first = entry->next;
		if (!batch->first) batch->last = &batch->first;
		batch->port.done(entry, false, batch->port.arg);
	}
}

struct batch *batch_new(const struct batch_port *port) {
	struct batch *batch = mem_zalloc(sizeof *batch);
	batch->port = *port;
	batch->last = &batch->first;
	return batch;
}

void batch_free(struct batch *batch) {
	free(batch);
}

void batch_add(struct batch *batch, struct batch_entry *entry) {
	entry->next = NULL;
	entry->stored = false;
	*batch->last = entry;
	batch->last = &entry->next;
}

void batch_kick(struct batch *batch) {
	if (batch->stopped) refuse_queued(batch);
	if (batch->rows || !batch->first) return;
	batch->rows = ledger_batch_new();
	batch->count = 0;
	while (batch->first && batch->count < LEDGER_BATCH_MOST) {
		struct batch_entry *entry = batch->first;
		batch->first = entry->next;
		batch->entries[batch->count++] = entry;
		ledger_batch_add(batch->rows, entry->trabajo, NULL);
	}
	if (!batch->first) batch->last = &batch->first;
	qsort(batch->entries, batch->count, sizeof(struct batch_entry *), by_key);
	metric_observe_ms(&meter_ledger_batch, (int64_t)batch->count);
	range_push(batch, 0, ledger_batch_count(batch->rows));
	batch->port.insert(batch->rows, 0, ledger_batch_count(batch->rows), inserted, batch, batch->port.arg);
}

void batch_stop(struct batch *batch) {
	batch->stopped = true;
	refuse_queued(batch);
}
