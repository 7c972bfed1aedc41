#include "frontend/lru.h"
#include "frontend/rate.h"
#include "lib/mem.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static int takes(struct rate *rate, const char *owner, int most, int64_t now_ms) {
	int count = 0;
	while (count < most && rate_take_ms(rate, owner, now_ms) == 0) count++;
	return count;
}

static void an_owner_may_take_the_burst_and_then_the_rate(void **state) {
	(void)state;
	struct rate *rate = rate_new(10, 5);
	assert_int_equal(takes(rate, "a", 100, 1000), 5);
	assert_int_equal(rate_take_ms(rate, "a", 1000), 100);
	assert_int_equal(rate_take_ms(rate, "a", 1060), 40);
	assert_int_equal(rate_take_ms(rate, "a", 1100), 0);
	assert_int_equal(takes(rate, "a", 100, 2100), 5);
	assert_int_equal(takes(rate, "a", 1000, 1000000000), 5);
	rate_free(rate);
}

static void the_wait_that_is_told_is_enough(void **state) {
	(void)state;
	struct rate *rate = rate_new(3, 1);
	int64_t now_ms = 0, wait_ms;
	assert_int_equal(rate_take_ms(rate, "a", now_ms), 0);
	for (int i = 0; i < 50; i++) {
		wait_ms = rate_take_ms(rate, "a", now_ms);
		assert_true(wait_ms > 0 && wait_ms <= 334);
		now_ms += wait_ms;
		assert_int_equal(rate_take_ms(rate, "a", now_ms), 0);
	}
	assert_in_range(now_ms, 16600, 16750);
	rate_free(rate);
}

static void owners_do_not_share(void **state) {
	(void)state;
	struct rate *rate = rate_new(1, 2);
	assert_int_equal(takes(rate, "a", 100, 0), 2);
	assert_int_equal(takes(rate, "b", 100, 0), 2);
	rate_free(rate);
}

static void nobody_is_limited_at_rate_zero(void **state) {
	(void)state;
	struct rate *rate = rate_new(0, 1);
	assert_int_equal(takes(rate, "a", 5000, 0), 5000);
	rate_free(rate);
}

static void the_table_of_owners_is_bounded(void **state) {
	(void)state;
	struct rate *rate = rate_new(1, 1);
	char owner[16];
	for (int i = 0; i < 30000; i++) {
		snprintf(owner, sizeof owner, "%d", i);
		assert_int_equal(rate_take_ms(rate, owner, 0), 0);
	}
	assert_true(rate_take_ms(rate, "29999", 0) > 0); // still there
	assert_int_equal(rate_take_ms(rate, "0", 0), 0); // pushed out
	rate_free(rate);
}

static int dropped;

static void count_drop(struct lru_node *node, void *arg) {
	(void)arg;
	dropped++;
	free(node);
}

static void put(struct lru *lru, unsigned char value) {
	struct lru_node *node = mem_zalloc(sizeof *node);
	node->digest[0] = value;
	lru_add(lru, node);
}

static struct lru_node *get(struct lru *lru, unsigned char value) {
	return lru_find(lru, (const unsigned char[DIGEST_BYTES]){value});
}

static void the_least_recently_used_makes_room(void **state) {
	(void)state;
	struct lru lru;
	dropped = 0;
	lru_init(&lru, 3, count_drop, NULL);
	put(&lru, 1);
	put(&lru, 2);
	put(&lru, 3);
	assert_non_null(get(&lru, 1));
	put(&lru, 65); // same bucket as 1
	assert_int_equal(dropped, 1);
	assert_null(get(&lru, 2));
	assert_non_null(get(&lru, 1));
	assert_non_null(get(&lru, 3));
	assert_non_null(get(&lru, 65));
	lru_remove(&lru, get(&lru, 1));
	assert_null(get(&lru, 1));
	assert_non_null(get(&lru, 65));
	lru_clear(&lru);
	assert_int_equal(dropped, 4);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_owner_may_take_the_burst_and_then_the_rate),
		cmocka_unit_test(the_wait_that_is_told_is_enough),
		cmocka_unit_test(owners_do_not_share),
		cmocka_unit_test(nobody_is_limited_at_rate_zero),
		cmocka_unit_test(the_table_of_owners_is_bounded),
		cmocka_unit_test(the_least_recently_used_makes_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
