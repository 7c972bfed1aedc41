#include "worker/followed.h"

#include "lib/follow.h"
#include "lib/mem.h"

#include <string.h>

#define PLACES 2048
#define PROBES 16 // places in which a key may stand

struct place {
	int64_t until_ms;
	char key[UUID_TEXT];
};

struct followed {
	struct place places[PLACES];
};

// FNV-1a; whoever chooses keys so that they meet has only their own jobs slowed down.
static size_t place_of(const char *key) {
	uint32_t hash = 2166136261u;
	for (; *key; key++) hash = (hash ^ (unsigned char)*key) * 16777619u;
	return hash % PLACES;
}

void followed_add(struct followed *followed, const char key[UUID_TEXT], int64_t now_ms) {
	size_t first = place_of(key);
	struct place *over = NULL;
	for (size_t i = 0; i < PROBES; i++) {
		struct place *place = &followed->places[(first + i) % PLACES];
		if (strcmp(place->key, key) == 0) {
			place->until_ms = now_ms + FOLLOW_HOLD_MS;
			return;
		}
		if (!over && place->until_ms <= now_ms) over = place;
	}
	if (!over) return;
	over->until_ms = now_ms + FOLLOW_HOLD_MS;
	memcpy(over->key, key, UUID_TEXT);
}

bool followed_has(const struct followed *followed, const char key[UUID_TEXT], int64_t now_ms) {
	size_t first = place_of(key);
	for (size_t i = 0; i < PROBES; i++) {
		const struct place *place = &followed->places[(first + i) % PLACES];
		if (place->until_ms > now_ms && strcmp(place->key, key) == 0) return true;
	}
	return false;
}

void followed_free(struct followed *followed) {
	free(followed);
}

struct followed *followed_new(void) {
	return mem_zalloc(sizeof(struct followed));
}
