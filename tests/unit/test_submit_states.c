// The states of a submission without an Idempotency-Key, and deadlines.
#include "tests/unit/submit_rig.h"

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
	expect(0, SUBMIT_TOO_LATE);
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
		TEST(near_its_deadline_a_client_is_told_what_is_known),
		TEST(after_the_stop_acknowledged_jobs_are_left_to_the_workers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
