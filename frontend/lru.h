// A bounded table by 32-byte digests whose least recently used entry makes room. Intrusive: the node is a member of the
// caller's struct, first or found by container_of-like arithmetic of the caller's.
#pragma once

#include "lib/digest.h"

#include <stddef.h>

struct lru_node {
	unsigned char digest[DIGEST_BYTES];
	struct lru_node *chain;         // same bucket
	struct lru_node *older, *newer; // order of use
};

struct lru {
	struct lru_node **buckets;
	size_t bucket_count; // a power of two
	size_t count, most;
	struct lru_node *oldest, *newest;
	void (*drop)(struct lru_node *node, void *arg); // frees what was pushed out or removed
	void *arg;
};

void lru_init(struct lru *lru, size_t most, void (*drop)(struct lru_node *node, void *arg), void *arg);
void lru_clear(struct lru *lru);
struct lru_node *lru_find(struct lru *lru, const unsigned char digest[DIGEST_BYTES]); // NULL: none; marks it as used
void lru_add(struct lru *lru, struct lru_node *node);    // node->digest is set and not in the table
void lru_remove(struct lru *lru, struct lru_node *node); // and drops it
