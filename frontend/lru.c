#include "frontend/lru.h"

#include "lib/mem.h"

#include <stdint.h>
#include <string.h>

// The key is a SHA-256: any of its bits are as good as a hash of it.
static struct lru_node **bucket_of(const struct lru *lru, const unsigned char *digest) {
	uint32_t bits;
	memcpy(&bits, digest, sizeof bits);
	return &lru->buckets[bits & (lru->bucket_count - 1)];
}

static void order_remove(struct lru *lru, struct lru_node *node) {
	*(node->older ? &node->older->newer : &lru->oldest) = node->newer;
	*(node->newer ? &node->newer->older : &lru->newest) = node->older;
}

static void order_add(struct lru *lru, struct lru_node *node) {
	node->newer = NULL;
	node->older = lru->newest;
	*(lru->newest ? &lru->newest->newer : &lru->oldest) = node;
	lru->newest = node;
}

void lru_init(struct lru *lru, size_t most, void (*drop)(struct lru_node *node, void *arg), void *arg) {
	*lru = (struct lru){.bucket_count = 64, .most = most, .drop = drop, .arg = arg};
	while (lru->bucket_count < most) lru->bucket_count *= 2;
	lru->buckets = mem_zalloc_array(lru->bucket_count, sizeof(struct lru_node *));
}

void lru_clear(struct lru *lru) {
	while (lru->oldest) lru_remove(lru, lru->oldest);
	free(lru->buckets);
	lru->buckets = NULL;
}

struct lru_node *lru_find(struct lru *lru, const unsigned char digest[DIGEST_BYTES]) {
	struct lru_node *node = *bucket_of(lru, digest);
	while (node && memcmp(node->digest, digest, DIGEST_BYTES) != 0) node = node->chain;
	if (node && node != lru->newest) {
		order_remove(lru, node);
		order_add(lru, node);
	}
	return node;
}

void lru_add(struct lru *lru, struct lru_node *node) {
	if (lru->count >= lru->most) lru_remove(lru, lru->oldest);
	struct lru_node **bucket = bucket_of(lru, node->digest);
	node->chain = *bucket;
	*bucket = node;
	order_add(lru, node);
	lru->count++;
}

void lru_remove(struct lru *lru, struct lru_node *node) {
	struct lru_node **place = bucket_of(lru, node->digest);
	while (*place != node) place = &(*place)->chain;
	*place = node->chain;
	order_remove(lru, node);
	lru->count--;
	lru->drop(node, lru->arg);
}
