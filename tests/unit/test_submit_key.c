// The states of a submission with an Idempotency-Key.
#include "tests/unit/submit_rig.h"

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

static void one_that_follows_one_whose_time_is_over_has_its_own(void **state) {
	(void)state;
	assert_non_null(add_with(0, "k", "https://example.org/r", SUBMIT_MESSAGE_TIMEOUT_MS));
	assert_non_null(add(1, "k"));
	assert_non_null(add_with(2, "k", "https://example.org/r", SUBMIT_MESSAGE_TIMEOUT_MS));
	looked_up(NULL);
	expect(0, SUBMIT_TOO_LATE);
	looked_up(NULL);
	expect(2, SUBMIT_TOO_LATE);
	assert_int_equal(world.produces, 0);
	looked_up(NULL);
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	inserted(DB_OK);
	expect(1, SUBMIT_ACCEPTED);
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

// The insert of a job with an Idempotency-Key, of which known rows were in the ledger already.
static void add_and_insert(int client, int64_t known) {
	assert_non_null(add(client, "k"));
	looked_up(NULL);
	delivered(world.produces - 1, KAFKA_PERSISTED);
	run_ms(5);
	inserted_known(DB_OK, known);
}

static void a_key_that_came_into_the_ledger_meanwhile_is_looked_up_again(void **state) {
	(void)state;
	char fingerprint[65];
	the_fingerprint_of("https://example.org/r", fingerprint);
	add_and_insert(0, 1);
	expect_waiting(0);
	assert_non_null(add(1, "k"));
	assert_non_null(add_with(2, "k", "https://example.org/other", LEFT_MS));
	looked_up(fingerprint);
	expect(0, SUBMIT_ACCEPTED);
	expect(1, SUBMIT_REPEATED);
	expect(2, SUBMIT_DIFFERS);
	assert_int_equal(submit_under_way(submit), 0);
}

static void one_whose_key_another_frontend_took_for_another_body_differs(void **state) {
	(void)state;
	char other[65];
	the_fingerprint_of("https://example.org/other", other);
	add_and_insert(0, 1);
	assert_non_null(add(1, "k"));
	assert_non_null(add_with(2, "k", "https://example.org/other", LEFT_MS));
	looked_up(other);
	expect(0, SUBMIT_DIFFERS);
	expect(1, SUBMIT_DIFFERS);
	expect_waiting(2);
	looked_up(other);
	expect(2, SUBMIT_REPEATED);
}

static void a_key_that_cannot_be_looked_up_again_is_pending(void **state) {
	(void)state;
	add_and_insert(0, 1);
	looked_up(NULL);
	expect(0, SUBMIT_PENDING);
	assert_non_null(add(1, "k"));
	looked_up(NULL);
	delivered(1, KAFKA_PERSISTED);
	run_ms(5);
	world.ledger_up = false;
	inserted_known(DB_OK, 1);
	expect(1, SUBMIT_PENDING);
}

static void a_job_without_a_key_is_never_looked_up(void **state) {
	(void)state;
	assert_non_null(add(0, NULL));
	delivered(0, KAFKA_PERSISTED);
	run_ms(5);
	inserted_known(DB_OK, 1);
	assert_null(world.found);
	expect(0, SUBMIT_ACCEPTED);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(a_known_key_with_the_same_body_is_not_produced_again),
		TEST(a_known_key_with_another_body_differs),
		TEST(an_unknown_key_is_produced),
		TEST(a_key_is_produced_without_a_look_where_the_ledger_is_away),
		TEST(the_second_of_two_at_once_waits_for_the_first),
		TEST(one_that_follows_a_differing_one_asks_for_itself),
		TEST(one_that_follows_one_whose_time_is_over_has_its_own),
		TEST(the_second_shares_the_firsts_failure),
		TEST(a_repetition_after_the_first_has_ended_begins_anew),
		TEST(other_keys_do_not_wait),
		TEST(followers_may_go_and_the_first_too),
		TEST(a_key_that_came_into_the_ledger_meanwhile_is_looked_up_again),
		TEST(one_whose_key_another_frontend_took_for_another_body_differs),
		TEST(a_key_that_cannot_be_looked_up_again_is_pending),
		TEST(a_job_without_a_key_is_never_looked_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
