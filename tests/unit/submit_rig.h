// A submission against a Kafka and a ledger that answer what each test says.
#pragma once

#include "frontend/submit.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#define LEFT_MS 10000
#define MOST    16

static struct loop *loop;
static struct loop_timer *timer;
static struct submit *submit;

static struct {
	bool ledger_up, kafka_full;
	struct submission *produced[MOST];
	size_t produces, taps;
	submit_found *found; // NULL: no look-up under way
	struct submission *looking;
	batch_inserted *inserted; // NULL: no insert under way
	struct batch_lane *lane;
	size_t rows;
} world;

static struct client {
	int answers;
	enum submit_outcome outcome;
	char key[37];
} clients[MOST];

// ---- the ports

static inline int produce(const struct trabajo *trabajo, const char *spec_text, struct submission *submission, void *arg) {
	(void)arg, (void)trabajo, (void)spec_text;
	if (world.kafka_full) return -1;
	world.produced[world.produces++] = submission;
	return 0;
}

static inline bool ledger_up(void *arg) {
	(void)arg;
	return world.ledger_up;
}

static inline void lookup(const char *key, submit_found *found, struct submission *submission, void *arg) {
	(void)arg, (void)key;
	assert_true(world.ledger_up);
	world.found = found;
	world.looking = submission;
}

static inline void insert(
	struct ledger_batch *rows, size_t from, size_t count, batch_inserted *inserted, struct batch_lane *lane, void *arg) {
	(void)arg, (void)rows, (void)from;
	world.rows = count;
	world.inserted = inserted;
	world.lane = lane;
}

static inline void tap(void *arg) {
	(void)arg;
	world.taps++;
}

// ---- the tests' side

static inline void answered(enum submit_outcome outcome, const char *key, void *arg) {
	struct client *client = arg;
	client->answers++;
	client->outcome = outcome;
	memcpy(client->key, key, sizeof client->key);
}

static inline void stop_loop(void *arg) {
	(void)arg;
	loop_stop(loop);
}

static inline void run_ms(int64_t ms) {
	loop_timer_set(timer, ms);
	loop_run(loop);
}

static inline struct submission *add_gathered(int client, const char *idempotency_key, const char *url, int64_t left_ms) {
	struct trabajo trabajo = {.owner = mem_strdup("owner"), .usuario = mem_strdup("user"), .url = mem_strdup(url)};
	if (idempotency_key)
		uuid_idempotent("owner", idempotency_key, trabajo.key);
	else
		uuid_v7(trabajo.key);
	return submit_job(submit, &trabajo, idempotency_key, left_ms, answered, &clients[client]);
}

// And what it gathers is produced.
static inline struct submission *add_with(int client, const char *idempotency_key, const char *url, int64_t left_ms) {
	struct submission *submission = add_gathered(client, idempotency_key, url, left_ms);
	run_ms(1);
	return submission;
}

static inline struct submission *add(int client, const char *idempotency_key) {
	return add_with(client, idempotency_key, "https://example.org/r", LEFT_MS);
}

static inline void delivered(size_t number, enum kafka_delivery delivery) {
	submit_delivered(world.produced[number], delivery, delivery == KAFKA_PERSISTED ? 1700000000000 : -1);
}

static inline void inserted_known(enum db_status status, int64_t known) {
	batch_inserted *fn = world.inserted;
	assert_non_null(fn);
	world.inserted = NULL;
	fn(status, known, 0, NULL, world.lane);
}

static inline void inserted(enum db_status status) {
	inserted_known(status, 0);
}

static inline void looked_up(const char *fingerprint) {
	submit_found *fn = world.found;
	assert_non_null(fn);
	world.found = NULL;
	fn(fingerprint, world.looking);
	run_ms(1);
}

static inline void expect(int client, enum submit_outcome outcome) {
	assert_int_equal(clients[client].answers, 1);
	assert_int_equal(clients[client].outcome, outcome);
}

static inline void expect_waiting(int client) {
	assert_int_equal(clients[client].answers, 0);
}

static inline int start(void **state) {
	(void)state;
	const struct submit_ports ports = {
		.produce = produce, .ledger_up = ledger_up, .lookup = lookup, .insert = insert, .tap = tap};
	log_open("test", LOG_LEVEL_ERROR + 1, LOG_FORMAT_JSON);
	memset(&world, 0, sizeof world);
	memset(clients, 0, sizeof clients);
	world.ledger_up = true;
	loop = loop_new();
	timer = loop_timer_new(loop, stop_loop, NULL);
	submit = submit_new(loop, &ports);
	return 0;
}

static inline int end(void **state) {
	(void)state;
	assert_int_equal(submit_under_way(submit), 0);
	submit_free(submit);
	loop_timer_free(timer);
	loop_free(loop);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
