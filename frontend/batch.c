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

// One insert at a time.
struct batch_lane {
	struct batch *batch;
	struct ledger_batch *rows; // NULL: nothing is under way
	struct batch_entry *entries[LEDGER_BATCH_MOST];
	size_t count;
	struct range ranges[RANGES_MOST]; // still to be inserted; the last one is being inserted
	size_t range_count;
	unsigned tries;
};

struct batch {
	struct batch_port port;
	struct batch_entry *first, **last; // queued
	size_t queued;
	bool stopped;
	size_t lane_count;
	struct batch_lane lanes[];
};

static int by_key(const void *a, const void *b) {
	const struct batch_entry *const *left = a, *const *right = b;
	return strcmp((*left)->trabajo->key, (*right)->trabajo->key);
}

static int key_against(const void *key, const void *element) {
	const struct batch_entry *const *entry = element;
	return strcmp(key, (*entry)->trabajo->key);
}

static void mark(struct batch_entry *entry, bool doubtful) {
	entry->stored = true;
	entry->doubtful |= doubtful;
}

// The same key may be there twice, and then stands once or twice among the rows.
static void mark_stored(struct batch_lane *lane, const char *key, bool doubtful) {
	struct batch_entry **found = bsearch(key, lane->entries, lane->count, sizeof(struct batch_entry *), key_against);
	if (!found) return;
	while (found > lane->entries && strcmp(found[-1]->trabajo->key, key) == 0) found--;
	for (; found < lane->entries + lane->count && strcmp((*found)->trabajo->key, key) == 0; found++) mark(*found, doubtful);
}

static void range_stored(struct batch_lane *lane, struct range range, bool doubtful) {
	if (range.count == ledger_batch_count(lane->rows)) {
		for (size_t i = 0; i < lane->count; i++) mark(lane->entries[i], doubtful);
		return;
	}
	for (size_t i = 0; i < range.count; i++) mark_stored(lane, ledger_batch_key(lane->rows, range.from + i), doubtful);
}

static void range_push(struct batch_lane *lane, size_t from, size_t count) {
	lane->ranges[lane->range_count++] = (struct range){from, count};
	lane->tries = 0;
}

static void lane_end(struct batch_lane *lane) {
	struct batch *batch = lane->batch;
	lane->range_count = 0;
	for (size_t i = 0; i < lane->count; i++) batch->port.done(lane->entries[i], lane->entries[i]->stored, batch->port.arg);
	ledger_batch_free(STEAL(lane->rows));
	batch_kick(batch);
}

static void inserted(
	enum db_status status, int64_t known, int64_t differing, const struct error *error, struct batch_lane *lane) {
	const struct batch_port *port = &lane->batch->port;
	struct range range = lane->ranges[--lane->range_count];
	switch (status) {
	case DB_OK:
		metric_add(&meter_ledger_differing, differing);
		range_stored(lane, range, known > 0);
		break;
	case DB_RETRY:
		if (++lane->tries < TRIES_MOST) {
			lane->range_count++;
		} else {
			log_warn(log_m("the ledger's insert keeps colliding; left to the workers"), log_e(error));
			lane->range_count = 0;
		}
		break;
	case DB_BAD_DATA:
		if (range.count > 1) {
			range_push(lane, range.from + range.count / 2, range.count - range.count / 2);
			range_push(lane, range.from, range.count / 2);
		} else {
			log_error(log_m("the ledger refuses a job"), log_s("key", ledger_batch_key(lane->rows, range.from)),
				log_e(error));
			metric_add(&meter_ledger_bad, 1);
		}
		break;
	case DB_FAILED:
		log_error(log_m("the ledger's insert failed; left to the workers"), log_e(error));
		lane->range_count = 0;
		break;
	case DB_UNAVAILABLE:
		lane->range_count = 0;
		break;
	}
	if (!lane->range_count) {
		lane_end(lane);
		return;
	}
	range = lane->ranges[lane->range_count - 1];
	port->insert(lane->rows, range.from, range.count, inserted, lane, port->arg);
}

static struct batch_entry *take(struct batch *batch) {
	struct batch_entry *entry = batch->first;
	batch->first = entry->next;
	if (!batch->first) batch->last = &batch->first;
	batch->queued--;
	return entry;
}

static void refuse_queued(struct batch *batch) {
	while (batch->first) batch->port.done(take(batch), false, batch->port.arg);
}

static void lane_start(struct batch_lane *lane) {
	struct batch *batch = lane->batch;
	lane->rows = ledger_batch_new();
	lane->count = 0;
	while (batch->first && lane->count < LEDGER_BATCH_MOST) {
		struct batch_entry *entry = lane->entries[lane->count++] = take(batch);
		ledger_batch_add(lane->rows, entry->trabajo, NULL);
	}
	qsort(lane->entries, lane->count, sizeof(struct batch_entry *), by_key);
	metric_observe_ms(&meter_ledger_batch, (int64_t)lane->count);
	range_push(lane, 0, ledger_batch_count(lane->rows));
	batch->port.insert(lane->rows, 0, ledger_batch_count(lane->rows), inserted, lane, batch->port.arg);
}

struct batch *batch_new(const struct batch_port *port) {
	size_t lanes = port->lanes ? port->lanes : 1;
	struct batch *batch = mem_zalloc(sizeof *batch + lanes * sizeof *batch->lanes);
	batch->port = *port;
	batch->last = &batch->first;
	batch->lane_count = lanes;
	for (size_t i = 0; i < lanes; i++) batch->lanes[i].batch = batch;
	return batch;
}

void batch_free(struct batch *batch) {
	free(batch);
}

size_t batch_lane_number(const struct batch_lane *lane) {
	return (size_t)(lane - lane->batch->lanes);
}

void batch_add(struct batch *batch, struct batch_entry *entry) {
	entry->next = NULL;
	entry->stored = entry->doubtful = false;
	*batch->last = entry;
	batch->last = &entry->next;
	batch->queued++;
}

void batch_kick(struct batch *batch) {
	if (batch->stopped) refuse_queued(batch);
	size_t busy = 0;
	for (size_t i = 0; i < batch->lane_count; i++) busy += batch->lanes[i].rows != NULL;
	for (size_t i = 0; i < batch->lane_count && batch->queued; i++) {
		if (batch->lanes[i].rows) continue;
		if (busy && batch->queued < batch->port.enough) return;
		lane_start(&batch->lanes[i]);
		busy++;
	}
}

void batch_stop(struct batch *batch) {
	batch->stopped = true;
	refuse_queued(batch);
}
