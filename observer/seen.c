#include "observer/seen.h"

#include "lib/mem.h"
#include "lib/uuid.h"

#define NONE UINT32_MAX

struct entry {
	char key[UUID_TEXT];
	uint32_t next; // in its bucket
	int64_t attempt;
};

struct seen {
	struct entry *ring; // in order of arrival, from `oldest` on once it is full
	uint32_t *buckets;
	uint32_t most, used, oldest;
};

static uint32_t *bucket_of(struct seen *seen, const char *key) {
	uint64_t hash = 14695981039346656037u; // FNV-1a
	for (; *key; key++) hash = (hash ^ (unsigned char)*key) * 1099511628211u;
	return &seen->buckets[(hash ^ hash >> 32) % seen->most];
}

static void forget(struct seen *seen, uint32_t index) {
	uint32_t *link = bucket_of(seen, seen->ring[index].key);
	while (*link != index) link = &seen->ring[*link].next;
	*link = seen->ring[index].next;
}

static uint32_t free_place(struct seen *seen) {
	if (seen->used < seen->most) return seen->used++;
	uint32_t index = seen->oldest;
	seen->oldest = (seen->oldest + 1) % seen->most;
	forget(seen, index);
	return index;
}

bool seen_is_news(struct seen *seen, const char *key, int64_t attempt) {
	uint32_t *bucket = bucket_of(seen, key);
	for (uint32_t index = *bucket; index != NONE; index = seen->ring[index].next) {
		struct entry *entry = &seen->ring[index];
		if (strcmp(entry->key, key) != 0) continue;
		if (attempt <= entry->attempt) return false;
		entry->attempt = attempt;
		return true;
	}
	uint32_t index = free_place(seen);
	struct entry *entry = &seen->ring[index];
	entry->attempt = attempt;
	size_t length = strnlen(key, sizeof entry->key - 1);
	memcpy(entry->key, key, length);
	entry->key[length] = '\0';
	entry->next = *bucket;
	*bucket = index;
	return true;
}

void seen_free(struct seen *seen) {
	if (!seen) return;
	free(seen->ring);
	free(seen->buckets);
	free(seen);
}

struct seen *seen_new(size_t most) {
	struct seen *seen = mem_zalloc(sizeof *seen);
	seen->most = (uint32_t)most;
	seen->ring = mem_zalloc_array(most, sizeof *seen->ring);
	seen->buckets = mem_zalloc_array(most, sizeof *seen->buckets);
	memset(seen->buckets, 0xff, most * sizeof *seen->buckets);
	return seen;
}
