#include "frontend/rate.h"

#include "frontend/lru.h"
#include "lib/mem.h"

#include <stdbool.h>
#include <string.h>

#define OWNERS_MOST 10000

struct bucket {
	struct lru_node node; // first
	int64_t level;        // thousandths
	int64_t at_ms;
};

struct rate {
	int64_t per_s, most; // most: thousandths
	struct lru buckets;
};

static void bucket_drop(struct lru_node *node, void *arg) {
	(void)arg;
	free((struct bucket *)node);
}

static struct bucket *bucket_of(struct rate *rate, const char *owner, int64_t now_ms) {
	unsigned char digest[DIGEST_BYTES];
	digest_sha256(owner, strlen(owner), digest);
	struct bucket *bucket = (struct bucket *)lru_find(&rate->buckets, digest);
	if (bucket) return bucket;
	bucket = mem_zalloc(sizeof *bucket);
	memcpy(bucket->node.digest, digest, DIGEST_BYTES);
	bucket->level = rate->most;
	bucket->at_ms = now_ms;
	lru_add(&rate->buckets, &bucket->node);
	return bucket;
}

struct rate *rate_new(int64_t per_s, int64_t burst) {
	struct rate *rate = mem_zalloc(sizeof *rate);
	rate->per_s = per_s;
	rate->most = (burst > 1 ? burst : 1) * 1000;
	lru_init(&rate->buckets, OWNERS_MOST, bucket_drop, NULL);
	return rate;
}

void rate_free(struct rate *rate) {
	if (!rate) return;
	lru_clear(&rate->buckets);
	free(rate);
}

// One per second is a thousandth per millisecond, so that no fraction is lost between two calls.
int64_t rate_take_ms(struct rate *rate, const char *owner, int64_t now_ms) {
	if (!rate->per_s) return 0;
	struct bucket *bucket = bucket_of(rate, owner, now_ms);
	int64_t passed_ms = now_ms - bucket->at_ms, missing = rate->most - bucket->level;
	bool full = passed_ms > missing / rate->per_s;
	bucket->level = full ? rate->most : bucket->level + passed_ms * rate->per_s;
	bucket->at_ms = now_ms;
	if (bucket->level < 1000) return (1000 - bucket->level + rate->per_s - 1) / rate->per_s;
	bucket->level -= 1000;
	return 0;
}
