// The states of a submission, against a Kafka and a ledger that answer what each test says.
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

static int produce(const struct trabajo *trabajo, const char *spec_text, struct submission *submission, void *arg) {
	(void)arg, (void)trabajo, (void)spec_text;
	if (world.kafka_full) return -1;
	world.produced[world.produces++] = submission;
	return 0;
}

static bool ledger_up(void *arg) {
	(void)arg;
	return world.ledger_up;
}

static void lookup(const char *key, submit_found *found, struct submission *submission, void *arg) {
	(void)arg, (void)key;
	assert_true(world.ledger_up);
	world.found = found;
	world.looking = submission;
}

static void insert(
	struct ledger_batch *rows, size_t from, size_t count, batch_inserted *inserted, struct batch_lane *lane, void *arg) {
	(void)arg, (void)rows, (void)from;
	world.rows = count;
	world.inserted = inserted;
	world.lane = lane;
}

static void tap(void *arg) {
	(void)arg;
	world.taps++;
}

// ---- the tests' side

static void answered(enum submit_outcome outcome, const char *key, void *arg) {
	struct client *client = arg;
	client->answers++;
	client->outcome = outcome;
	memcpy(client->key, key, sizeof client->key);
}

static void stop_loop(void *arg) {
	(void)arg;
	loop_stop(loop);
}

static void run_ms(int64_t ms) {
	loop_timer_set(timer, ms);
	loop_run(loop);
}

static struct submission *add_gathered(int client, const char *idempotency_key, const char *url, int64_t left_ms) {
	struct trabajo trabajo = {.owner = mem_strdup("owner"), .usuario = mem_strdup("user"), .url = mem_strdup(url)};
	if (idempotency_key)
		uuid_idempotent("owner", idempotency_key, trabajo.key);
	else
		uuid_v7(trabajo.key);
	return submit_job(submit, &trabajo, idempotency_key, left_ms, answered, &clients[client]);
}

// And what it gathers is produced.
static struct submission *add_with(int client, const char *idempotency_key, const char *url, int64_t left_ms) {
	struct submission *submission = add_gathered(client, idempotency_key, url, left_ms);
	run_ms(1);
	return submission;
}

static struct submission *add(int client, const char *idempotency_key) {
	return add_with(client, idempotency_key, "https://example.org/r", LEFT_MS);
}

static void delivered(size_t number, enum kafka_delivery delivery) {
	submit_delivered(world.produced[number], delivery, delivery == KAFKA_PERSISTED ? 1700000000000 : -1);
}

static void inserted(enum db_status status) {
	batch_inserted *fn = world.inserted;
	assert_non_null(fn);
	world.inserted = NULL;
	fn(status, 0, NULL, world.lane);
}

static void looked_up(const char *fingerprint) {
	submit_found *fn = world.found;
	assert_non_null(fn);
	world.found = NULL;
	fn(fingerprint, world.looking);
	run_ms(1);
}

static void expect(int client, enum submit_outcome outcome) {
	assert_int_equal(clients[client].answers, 1);
	assert_int_equal(clients[client].outcome, outcome);
}

static void expect_waiting(int client) {
	assert_int_equal(clients[client].answers, 0);
}

// ---- without an Idempotency-Key

static void a_job_is_accepted_when_kafka_and_the_ledger_have_it(void **state) {
	(void)state;
	assert_non_null(add(0, NULL));
	expect_waiting(0);
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	expect_waiting(0);
	inserted(DB_OK);
	expect(0, SUBMIT_ACCEPTED);
	assert_int_equal(world.taps, 1);
}

static void acknowledgements_of_one_round_become_one_batch(void **state) {
	(void)state;
	for (int i = 0; i < 10; i++) assert_non_null(add(i, NULL));
	for (size_t i = 0; i < 10; i++) delivered(i, KAFKA_PERSISTED);
	run_ms(5);
	assert_int_equal(world.rows, 10);
	inserted(DB_OK);
	for (int i = 0; i < 10; i++) expect(i, SUBMIT_ACCEPTED);
}

static void what_one_round_brings_is_produced_together(void **state) {
	(void)state;
	for (int i = 0; i < 10; i++) assert_non_null(add_gathered(i, NULL, "https://example.org/r", LEFT_MS));
	assert_int_equal(world.produces, 0);
	run_ms(1);
	assert_int_equal(world.produces, 10);
	for (size_t i = 0; i < 10; i++) delivered(i, KAFKA_NOT_PERSISTED);
}

static void what_is_not_produced_yet_is_refused_at_the_stop(void **state) {
	(void)state;
	assert_non_null(add_gathered(0, NULL, "https://example.org/r", LEFT_MS));
	assert_non_null(add_gathered(1, NULL, "https://example.org/r", LEFT_MS));
	submit_stop(submit);
	expect(0, SUBMIT_REFUSED);
	expect(1, SUBMIT_REFUSED);
	run_ms(1);
	assert_int_equal(world.produces, 0);
}

static void a_job_is_pending_where_the_ledger_is_away(void **state) {
	(void)state;
	world.ledger_up = false;
	assert_non_null(add(0, NULL));
	delivered(0, KAFKA_PERSISTED);
	expect(0, SUBMIT_PENDING);
	assert_int_equal(world.taps, 0);
}

static void a_job_is_pending_where_the_ledger_is_lost_meanwhile(void **state) {
	(void)state;
	assert_non_null(add(0, NULL));
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	inserted(DB_UNAVAILABLE);
	expect(0, SUBMIT_PENDING);
}

static void a_record_that_was_not_written_is_refused_and_one_in_doubt_uncertain(void **state) {
	(void)state;
	assert_non_null(add(0, NULL));
	assert_non_null(add(1, NULL));
	delivered(0, KAFKA_NOT_PERSISTED);
	delivered(1, KAFKA_POSSIBLY_PERSISTED);
	expect(0, SUBMIT_REFUSED);
	expect(1, SUBMIT_UNCERTAIN);
	assert_null(world.inserted);
}

static void a_full_queue_refuses(void **state) {
	(void)state;
	world.kafka_full = true;
	add(0, NULL);
	world.ledger_up = false;
	add(1, "k");
	expect(0, SUBMIT_REFUSED);
	expect(1, SUBMIT_REFUSED);
	assert_int_equal(submit_under_way(submit), 0);
}

static void a_job_is_not_begun_whose_deadline_is_too_near(void **state) {
	(void)state;
	assert_null(add_with(0, NULL, "https://example.org/r", SUBMIT_MESSAGE_TIMEOUT_MS));
	assert_int_equal(world.produces, 0);
}

static void a_client_that_goes_does_not_stop_its_job(void **state) {
	(void)state;
	submit_forget(add(0, NULL));
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	inserted(DB_OK);
	expect_waiting(0);
	assert_int_equal(world.taps, 1);
	assert_int_equal(submit_under_way(submit), 0);
}

// ---- with an Idempotency-Key

static void the_fingerprint_of(const char *url, char text[65]) {
	struct trabajo trabajo = {.url = mem_strdup(url)};
	trabajo_fingerprint(&trabajo, text);
	trabajo_clear(&trabajo);
}

static void a_known_key_with_the_same_body_is_not_produced_again(void **state) {
	(void)state;
	char fingerprint[65];
	the_fingerprint_of("https://example.org/r", fingerprint);
	assert_non_null(add(0, "k"));
	assert_int_equal(world.produces, 0);
	looked_up(fingerprint);
	expect(0, SUBMIT_REPEATED);
	assert_int_equal(world.produces, 0);
}

static void a_known_key_with_another_body_differs(void **state) {
	(void)state;
	assert_non_null(add(0, "k"));
	looked_up("another");
	expect(0, SUBMIT_DIFFERS);
	assert_int_equal(world.produces, 0);
}

static void an_unknown_key_is_produced(void **state) {
	(void)state;
	assert_non_null(add(0, "k"));
	looked_up(NULL);
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	inserted(DB_OK);
	expect(0, SUBMIT_ACCEPTED);
}

static void a_key_is_produced_without_a_look_where_the_ledger_is_away(void **state) {
	(void)state;
	world.ledger_up = false;
	assert_non_null(add(0, "k"));
	assert_int_equal(world.produces, 1);
	delivered(0, KAFKA_PERSISTED);
	expect(0, SUBMIT_PENDING);
}

static void the_second_of_two_at_once_waits_for_the_first(void **state) {
	(void)state;
	assert_non_null(add(0, "k"));
	assert_non_null(add(1, "k"));
	assert_non_null(add_with(2, "k", "https://example.org/other", LEFT_MS));
	looked_up(NULL);
	assert_int_equal(world.produces, 1);
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	inserted(DB_OK);
	expect(0, SUBMIT_ACCEPTED);
	expect(1, SUBMIT_REPEATED);
	expect(2, SUBMIT_DIFFERS);
	assert_string_equal(clients[0].key, clients[1].key);
	assert_int_equal(submit_under_way(submit), 0);
}

static void one_that_follows_a_differing_one_asks_for_itself(void **state) {
	(void)state;
	char fingerprint[65];
	the_fingerprint_of("https://example.org/r", fingerprint);
	assert_non_null(add_with(0, "k", "https://example.org/other", LEFT_MS));
	assert_non_null(add_with(1, "k", "https://example.org/other", LEFT_MS));
	assert_non_null(add(2, "k"));
	assert_non_null(add(3, "k"));
	looked_up(fingerprint);
	expect(0, SUBMIT_DIFFERS);
	expect(1, SUBMIT_DIFFERS);
	expect_waiting(2);
	looked_up(fingerprint);
	expect(2, SUBMIT_REPEATED);
	expect(3, SUBMIT_REPEATED);
	assert_int_equal(submit_under_way(submit), 0);
}

static void the_second_shares_the_firsts_failure(void **state) {
	(void)state;
	assert_non_null(add(0, "k"));
	assert_non_null(add(1, "k"));
	looked_up(NULL);
	delivered(0, KAFKA_POSSIBLY_PERSISTED);
	expect(0, SUBMIT_UNCERTAIN);
	expect(1, SUBMIT_UNCERTAIN);
}

static void a_repetition_after_the_first_has_ended_begins_anew(void **state) {
	(void)state;
	world.ledger_up = false;
	assert_non_null(add(0, "k"));
	delivered(0, KAFKA_POSSIBLY_PERSISTED);
	assert_non_null(add(1, "k"));
	assert_int_equal(world.produces, 2);
	delivered(1, KAFKA_PERSISTED);
	expect(1, SUBMIT_PENDING);
}

static void other_keys_do_not_wait(void **state) {
	(void)state;
	world.ledger_up = false;
	assert_non_null(add(0, "k"));
	assert_non_null(add(1, "l"));
	assert_int_equal(world.produces, 2);
	delivered(1, KAFKA_PERSISTED);
	expect(1, SUBMIT_PENDING);
	delivered(0, KAFKA_PERSISTED);
	expect(0, SUBMIT_PENDING);
}

static void followers_may_go_and_the_first_too(void **state) {
	(void)state;
	struct submission *first = add(0, "k"), *second = add(1, "k");
	submit_forget(first);
	submit_forget(second);
	looked_up(NULL);
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	inserted(DB_OK);
	expect_waiting(0);
	expect_waiting(1);
	assert_int_equal(submit_under_way(submit), 0);
}

// ---- deadlines

static void near_its_deadline_a_client_is_told_what_is_known(void **state) {
	(void)state;
	assert_non_null(add_with(0, "looking", "https://example.org/r", 550));
	submit_found *looking = world.found;
	struct submission *looker = world.looking;

	world.ledger_up = false;
	assert_non_null(add(1, "producing"));
	assert_non_null(add_with(2, "producing", "https://example.org/r", 550));
	world.ledger_up = true;
	assert_non_null(add(3, NULL));
	delivered(1, KAFKA_PERSISTED);
	run_ms(600);
	expect(0, SUBMIT_REFUSED);
	expect_waiting(1);
	expect(2, SUBMIT_UNCERTAIN);
	expect_waiting(3);

	looking(NULL, looker); // too late to be produced
	assert_int_equal(world.produces, 2);
	delivered(0, KAFKA_PERSISTED);
	assert_non_null(add_with(4, "producing", "https://example.org/r", 550));
	run_ms(600);
	expect(4, SUBMIT_PENDING); // its first is acknowledged and waits for the ledger
	inserted(DB_OK);
	expect(3, SUBMIT_ACCEPTED);
	inserted(DB_OK);
	expect(1, SUBMIT_ACCEPTED);
	for (int i = 0; i < 5; i++) assert_int_equal(clients[i].answers, 1);
}

static void after_the_stop_acknowledged_jobs_are_left_to_the_workers(void **state) {
	(void)state;
	assert_non_null(add(0, NULL));
	submit_stop(submit);
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	expect(0, SUBMIT_PENDING);
	assert_null(world.inserted);
}

static int start(void **state) {
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

static int end(void **state) {
	(void)state;
	assert_int_equal(submit_under_way(submit), 0);
	submit_free(submit);
	loop_timer_free(timer);
	loop_free(loop);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(a_job_is_accepted_when_kafka_and_the_ledger_have_it),
		TEST(acknowledgements_of_one_round_become_one_batch),
		TEST(what_one_round_brings_is_produced_together),
		TEST(what_is_not_produced_yet_is_refused_at_the_stop),
		TEST(a_job_is_pending_where_the_ledger_is_away),
		TEST(a_job_is_pending_where_the_ledger_is_lost_meanwhile),
		TEST(a_record_that_was_not_written_is_refused_and_one_in_doubt_uncertain),
		TEST(a_full_queue_refuses),
		TEST(a_job_is_not_begun_whose_deadline_is_too_near),
		TEST(a_client_that_goes_does_not_stop_its_job),
		TEST(a_known_key_with_the_same_body_is_not_produced_again),
		TEST(a_known_key_with_another_body_differs),
		TEST(an_unknown_key_is_produced),
		TEST(a_key_is_produced_without_a_look_where_the_ledger_is_away),
		TEST(the_second_of_two_at_once_waits_for_the_first),
		TEST(one_that_follows_a_differing_one_asks_for_itself),
		TEST(the_second_shares_the_firsts_failure),
		TEST(a_repetition_after_the_first_has_ended_begins_anew),
		TEST(other_keys_do_not_wait),
		TEST(followers_may_go_and_the_first_too),
		TEST(near_its_deadline_a_client_is_told_what_is_known),
		TEST(after_the_stop_acknowledged_jobs_are_left_to_the_workers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
