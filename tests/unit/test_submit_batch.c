// The batcher against a ledger that answers what each test says.
#include "frontend/batch.h"
#include "frontend/meters.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define MOST 3000

static struct {
	size_t from, count, calls;
	char first[37];
	batch_inserted *inserted; // NULL: nothing under way
	struct batch_lane *lane;
} ledger;

static struct job {
	struct batch_entry entry; // first
	struct trabajo trabajo;
	int done; // 0: not yet, 1: stored, -1: not
} jobs[MOST];

static struct batch *batch;

static void insert(
	struct ledger_batch *rows, size_t from, size_t count, batch_inserted *inserted, struct batch_lane *of, void *arg) {
	(void)arg;
	assert_null(ledger.inserted); // one at a time
	db_params_free(ledger_batch_params(rows, from, count));
	ledger.from = from;
	ledger.count = count;
	ledger.calls++;
	ledger.inserted = inserted;
	ledger.lane = of;
	memcpy(ledger.first, ledger_batch_key(rows, from), sizeof ledger.first);
}

static void answer_known(enum db_status status, int64_t known) {
	batch_inserted *inserted = ledger.inserted;
	struct error error AUTO_ERROR = {0};
	assert_non_null(inserted);
	if (status != DB_OK) error_set(&error, ERROR_INPUT, "as the test says");
	ledger.inserted = NULL;
	inserted(status, known, 0, &error, ledger.lane);
}

static void answer(enum db_status status) {
	answer_known(status, 0);
}

static void done(struct batch_entry *entry, bool stored, void *arg) {
	(void)arg;
	struct job *job = (struct job *)entry;
	assert_int_equal(job->done, 0);
	job->done = stored ? 1 : -1;
}

// Keys come in no order.
static void add(int number) {
	struct job *job = &jobs[number];
	*job = (struct job){
		.trabajo = {.owner = "o", .usuario = "u", .url = "https://example.org/r"}, .entry.trabajo = &job->trabajo};
	snprintf(job->trabajo.key, sizeof job->trabajo.key, "%08x-0000-4000-8000-000000000000", (unsigned)number * 2654435761u);
	batch_add(batch, &job->entry);
}

static int count(int outcome, int jobs_added) {
	int found = 0;
	for (int i = 0; i < jobs_added; i++) found += jobs[i].done == outcome;
	return found;
}

static void what_arrives_meanwhile_goes_into_the_next_batch(void **state) {
	(void)state;
	add(0);
	assert_int_equal(ledger.calls, 0);
	batch_kick(batch);
	add(1);
	add(2);
	batch_kick(batch);
	assert_int_equal(ledger.calls, 1);
	assert_int_equal(ledger.count, 1);
	answer(DB_OK);
	assert_int_equal(jobs[0].done, 1);
	assert_int_equal(jobs[1].done, 0);
	assert_int_equal(ledger.calls, 2);
	assert_int_equal(ledger.count, 2);
	answer(DB_OK);
	assert_int_equal(count(1, 3), 3);
	assert_int_equal(ledger.calls, 2);
}

static void a_batch_has_at_most_the_ledgers_number_of_rows(void **state) {
	(void)state;
	for (int i = 0; i < 2500; i++) add(i);
	batch_kick(batch);
	assert_int_equal(ledger.count, LEDGER_BATCH_MOST);
	answer(DB_OK);
	assert_int_equal(ledger.count, LEDGER_BATCH_MOST);
	answer(DB_OK);
	assert_int_equal(ledger.count, 500);
	answer(DB_OK);
	assert_int_equal(count(1, 2500), 2500);
}

static void an_entry_is_doubtful_whose_insert_met_a_known_key(void **state) {
	(void)state;
	for (int i = 0; i < 4; i++) add(i);
	batch_kick(batch);
	answer(DB_BAD_DATA); // halved
	answer_known(DB_OK, 1);
	answer(DB_OK);
	assert_int_equal(count(1, 4), 4);
	int doubtful = 0;
	for (int i = 0; i < 4; i++) doubtful += jobs[i].entry.doubtful;
	assert_int_equal(doubtful, 2);
	add(0);
	batch_kick(batch);
	answer(DB_OK);
	assert_false(jobs[0].entry.doubtful);
}

static void a_deadlock_is_tried_again_and_not_for_ever(void **state) {
	(void)state;
	add(0);
	add(1);
	batch_kick(batch);
	answer(DB_RETRY);
	answer(DB_RETRY);
	answer(DB_OK);
	assert_int_equal(count(1, 2), 2);

	add(0);
	batch_kick(batch);
	for (int i = 0; i < 5; i++) answer(DB_RETRY);
	assert_null(ledger.inserted);
	assert_int_equal(jobs[0].done, -1);
}

// The ledger refuses every range that holds a key of `poison`.
static void answer_all(const int *poison, size_t poisons) {
	while (ledger.inserted) {
		char sorted[MOST][37];
		size_t total = 0;
		for (int i = 0; i < LEDGER_BATCH_MOST && jobs[i].trabajo.key[0]; i++)
			memcpy(sorted[total++], jobs[i].trabajo.key, 37);
		qsort(sorted, total, 37, (int (*)(const void *, const void *))strcmp);
		bool bad = false;
		for (size_t i = 0; i < poisons; i++)
			for (size_t row = ledger.from; row < ledger.from + ledger.count; row++)
				if (strcmp(sorted[row], jobs[poison[i]].trabajo.key) == 0) bad = true;
		answer(bad ? DB_BAD_DATA : DB_OK);
	}
}

static void poison_rows_are_found_by_halving_and_the_others_stored(void **state) {
	(void)state;
	const int poison[] = {0, 7, 500, 999};
	for (int i = 0; i < 1000; i++) add(i);
	batch_kick(batch);
	answer_all(poison, COUNT_OF(poison));
	for (size_t i = 0; i < COUNT_OF(poison); i++) assert_int_equal(jobs[poison[i]].done, -1);
	assert_int_equal(count(1, 1000), 996);
	assert_true(ledger.calls < 4 * 2 * 11);
	assert_int_equal(metric_get(&meter_ledger_bad), 4);
}

static void a_batch_of_nothing_but_poison_ends_too(void **state) {
	(void)state;
	int poison[1000];
	for (int i = 0; i < 1000; i++) add(poison[i] = i);
	batch_kick(batch);
	answer_all(poison, 1000);
	assert_int_equal(count(-1, 1000), 1000);
}

static void a_ledger_that_goes_away_leaves_the_rest_to_the_workers(void **state) {
	(void)state;
	for (int i = 0; i < 8; i++) add(i);
	batch_kick(batch);
	add(8);
	answer(DB_BAD_DATA); // 8
	answer(DB_OK);       // the first 4
	answer(DB_UNAVAILABLE);
	assert_int_equal(count(1, 8), 4);
	assert_int_equal(count(-1, 8), 4);
	assert_int_equal(jobs[8].done, 0); // the next batch finds out for itself
	answer(DB_FAILED);
	assert_int_equal(jobs[8].done, -1);
}

static void the_same_key_twice_is_done_twice(void **state) {
	(void)state;
	add(0);
	add(1);
	add(2);
	memcpy(jobs[2].trabajo.key, jobs[0].trabajo.key, 37);
	batch_kick(batch);
	answer(DB_BAD_DATA);
	while (ledger.inserted) answer(DB_OK);
	assert_int_equal(count(1, 3), 3);
}

static void after_the_stop_nothing_is_inserted(void **state) {
	(void)state;
	add(0);
	batch_kick(batch);
	add(1);
	batch_stop(batch);
	assert_int_equal(jobs[0].done, 0);
	assert_int_equal(jobs[1].done, -1);
	add(2);
	batch_kick(batch);
	assert_int_equal(jobs[2].done, -1);
	answer(DB_OK);
	assert_int_equal(jobs[0].done, 1);
	assert_null(ledger.inserted);
}

// ---- several inserts at a time

#define ENOUGH 3

static struct {
	batch_inserted *inserted;
	struct batch_lane *lane;
	size_t count;
} lanes[2];

static void insert_beside(struct ledger_batch *rows, size_t from, size_t rows_count, batch_inserted *inserted,
	struct batch_lane *lane, void *arg) {
	(void)rows, (void)from, (void)arg;
	size_t number = batch_lane_number(lane);
	assert_in_range(number, 0, 1);
	assert_null(lanes[number].inserted);
	lanes[number].inserted = inserted;
	lanes[number].lane = lane;
	lanes[number].count = rows_count;
}

static void answer_lane(size_t number) {
	batch_inserted *inserted = lanes[number].inserted;
	assert_non_null(inserted);
	lanes[number].inserted = NULL;
	inserted(DB_OK, 0, 0, NULL, lanes[number].lane);
}

static void a_further_insert_begins_beside_another_once_enough_have_gathered(void **state) {
	(void)state;
	batch_free(batch);
	memset(lanes, 0, sizeof lanes);
	batch = batch_new(&(struct batch_port){.insert = insert_beside, .done = done, .lanes = 2, .enough = ENOUGH});
	add(0);
	batch_kick(batch);
	add(1);
	add(2);
	batch_kick(batch);
	assert_null(lanes[1].inserted); // two are not enough
	add(3);
	batch_kick(batch);
	assert_int_equal(lanes[1].count, 3);
	for (int i = 4; i < 10; i++) add(i);
	batch_kick(batch); // no lane is left
	answer_lane(1);
	assert_int_equal(count(1, 10), 3);
	assert_int_equal(jobs[0].done, 0);
	assert_int_equal(lanes[1].count, 6);
	add(10);
	batch_kick(batch);
	answer_lane(0);
	assert_null(lanes[0].inserted); // one is not enough
	answer_lane(1);
	assert_int_equal(lanes[0].count, 1); // but where nothing else is under way
	answer_lane(0);
	assert_int_equal(count(1, 11), 11);
}

static int start(void **state) {
	(void)state;
	log_open("test", LOG_LEVEL_ERROR + 1, LOG_FORMAT_JSON);
	memset(&ledger, 0, sizeof ledger);
	memset(jobs, 0, sizeof jobs);
	metric_set(&meter_ledger_bad, 0);
	batch = batch_new(&(struct batch_port){.insert = insert, .done = done});
	return 0;
}

static int end(void **state) {
	(void)state;
	batch_free(batch);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(what_arrives_meanwhile_goes_into_the_next_batch),
		TEST(a_batch_has_at_most_the_ledgers_number_of_rows),
		TEST(an_entry_is_doubtful_whose_insert_met_a_known_key),
		TEST(a_deadlock_is_tried_again_and_not_for_ever),
		TEST(poison_rows_are_found_by_halving_and_the_others_stored),
		TEST(a_batch_of_nothing_but_poison_ends_too),
		TEST(a_ledger_that_goes_away_leaves_the_rest_to_the_workers),
		TEST(the_same_key_twice_is_done_twice),
		TEST(after_the_stop_nothing_is_inserted),
		TEST(a_further_insert_begins_beside_another_once_enough_have_gathered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
