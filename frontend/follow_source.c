// What is kept of a followed job: blocks of its log, what is known of its attempts, and who is woken by what.
#include "frontend/follow_internal.h"
#include "frontend/meters.h"
#include "lib/mem.h"

#include <string.h>

#define SOURCE_BYTES  ((size_t)512 << 10) // of blocks that are kept for those who come
#define ALL_BYTES     ((size_t)32 << 20)
#define BYTES_LEAST   65536
#define SOURCE_BLOCKS 1024

// ---- blocks

static void block_forget(struct source *source, struct log_block *block) {
	TAILQ_REMOVE(&source->blocks, block, entry);
	source->block_count--;
	source->bytes -= log_block_bytes(block);
	log_block_drop(block);
}

static void trim(struct source *source) {
	size_t share = ALL_BYTES / source->follow->source_count, most = share < SOURCE_BYTES ? share : SOURCE_BYTES;
	if (most < BYTES_LEAST) most = BYTES_LEAST;
	while (source->block_count > 1 && (source->bytes > most || source->block_count > SOURCE_BLOCKS))
		block_forget(source, TAILQ_FIRST(&source->blocks));
}

static void block_keep(struct source *source, struct log_block *block) {
	// in full from the start: its size does not change while it is counted
	log_block_make_events(block);
	log_block_hold(block);
	TAILQ_INSERT_TAIL(&source->blocks, block, entry);
	source->block_count++;
	source->bytes += log_block_bytes(block);
	trim(source);
}

// ---- sources

bool follow_source_ended(const char *status) {
	return strcmp(status, "Queued") != 0 && strcmp(status, "Running") != 0;
}

static void source_free(struct source *source) {
	while (!TAILQ_EMPTY(&source->blocks)) block_forget(source, TAILQ_FIRST(&source->blocks));
	for (size_t i = 0; i < source->fact_count; i++) free(source->facts[i].outcome);
	TAILQ_REMOVE(&source->follow->sources, source, entry);
	source->follow->source_count--;
	metric_set(&meter_followed, (int64_t)source->follow->source_count);
	free(source->facts);
	free(source->shown.status);
	free(source->shown.outcome);
	free(source);
}

void follow_source_drop(struct source *source) {
	if (--source->users == 0) source_free(source);
}

struct source *follow_source_find(struct follow *follow, const char *key) {
	struct source *source;
	TAILQ_FOREACH(source, &follow->sources, entry) {
		if (!source->forgotten && strcmp(source->shown.key, key) == 0) return source;
	}
	return NULL;
}

struct source *follow_source_new(struct follow *follow, const char *key) {
	struct source *source = mem_zalloc(sizeof *source);
	memcpy(source->shown.key, key, UUID_TEXT);
	source->follow = follow;
	LIST_INIT(&source->places);
	TAILQ_INIT(&source->blocks);
	TAILQ_INSERT_HEAD(&follow->sources, source, entry);
	follow->source_count++;
	metric_set(&meter_followed, (int64_t)follow->source_count);
	return source;
}

// ---- waking

void follow_source_wake_one(struct follower_place *place) {
	if (!place->idle) return;
	struct follow *follow = place->follow;
	place->idle = false;
	if (!place->counted) {
		if (!follow->waking++) follow->woken_us = loop_now_us();
		place->counted = true;
	}
	place->wake(place);
}

void follow_source_wake_all(struct source *source) {
	struct follower_place *place;
	LIST_FOREACH(place, &source->places, entry) follow_source_wake_one(place);
}

void follow_source_wake(struct source *source, const struct log_page *page, bool all) {
	struct follower_place *place;
	const struct log_block *block = page->block;
	LIST_FOREACH(place, &source->places, entry) {
		bool waits = block && place->attempt == block->attempt && place->seq >= block->from_seq &&
			     place->seq < block->to_seq;
		if (all || waits) follow_source_wake_one(place);
	}
}

void follow_served(struct follower_place *place) {
	struct follow *follow = place->follow;
	if (!place->counted) return;
	place->counted = false;
	if (--follow->waking == 0) follow->cost_us = loop_now_us() - follow->woken_us;
}

// ---- what is learnt from a page

// Whether it is a new one.
static bool fact_add(struct source *source, int64_t attempt, int64_t end_seq, const struct log_page *page) {
	for (size_t i = 0; i < source->fact_count; i++)
		if (source->facts[i].attempt == attempt) return false;
	source->facts = mem_resize(source->facts, source->fact_count + 1, sizeof *source->facts);
	source->facts[source->fact_count++] = (struct follow_fact){
		.attempt = attempt, .end_seq = end_seq, .dropped = page->dropped, .outcome = mem_strdup(page->attempt_outcome)};
	return true;
}

// An attempt that is over and whose page is not full has nothing behind it.
bool follow_source_learn(struct source *source, int64_t attempt, int64_t seq, const struct log_page *page, bool *news) {
	*news = false;
	if (page->block) {
		block_keep(source, page->block);
		seq = page->block->to_seq;
	}
	if (!page->over || page->full) return false;
	*news = fact_add(source, attempt, seq, page);
	return true;
}
