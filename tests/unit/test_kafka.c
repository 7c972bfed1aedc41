// Consumers, and what they get of producers.
#include "tests/unit/kafka_rig.h"

static struct kafka_consumer *shared; // of the first test to the last

static void what_is_produced_is_consumed_as_it_was(void **state UNUSED) {
	make_topic("whole");
	struct rig rig;
	rig_open(&rig, "whole", 10000);
	await_ready(&rig);
	produce(&rig, "k1", "https://a.example/ñ");
	assert_int_equal(rig.reports[KAFKA_PERSISTED], 0); // never from inside
	await(&rig, 1);
	assert_int_equal(rig.reports[KAFKA_PERSISTED], 1);
	assert_true(rig.timestamp_ms > 0);

	struct kafka_consumer *consumer = consumer_open("whole");
	struct kafka_message message;
	size_t length;
	assert_int_equal(poll_for(consumer, &message, 1, PATIENCE_MS), 1);
	assert_int_equal(message.key_length, 2);
	assert_memory_equal(message.key, "k1", 2);
	assert_int_equal(message.value_length, strlen("https://a.example/ñ"));
	assert_memory_equal(message.value, "https://a.example/ñ", message.value_length);
	assert_true(message.timestamp_ms > 0);
	const char *sub = kafka_message_header(&message, "sub", &length);
	assert_int_equal(length, 6);
	assert_memory_equal(sub, "alicia", 6); // the last one
	assert_null(kafka_message_header(&message, "none", &length));
	assert_int_equal(length, 0);
	kafka_message_header(&message, "empty", &length);
	assert_int_equal(length, 0);
	kafka_messages_clear(&message, 1);
	assert_null(message.handle_);
	kafka_consumer_close(consumer);
	rig_close(&rig);
}

static void a_batch_takes_what_is_there_and_no_more_than_asked_for(void **state UNUSED) {
	enum { COUNT = 500 };
	make_topic("batch");
	struct rig rig;
	rig_open(&rig, "batch", 10000);
	for (int i = 0; i < COUNT; i++) {
		char key[16];
		snprintf(key, sizeof(key), "key-%d", i);
		produce(&rig, key, "x");
	}
	await(&rig, COUNT);
	assert_int_equal(rig.reports[KAFKA_PERSISTED], COUNT);
	struct kafka_consumer *consumer = consumer_open("batch");
	struct kafka_message messages[COUNT + 1];
	assert_int_equal(poll_for(consumer, messages, 10, PATIENCE_MS), 10);
	assert_int_equal(poll_for(consumer, messages + 10, COUNT - 10, PATIENCE_MS), COUNT - 10);
	assert_int_equal(kafka_consumer_poll(consumer, 100, messages + COUNT, 1), 0);
	kafka_messages_clear(messages, COUNT);
	kafka_consumer_close(consumer);
	rig_close(&rig);
}

static void records_of_one_moment_share_a_partition(void **state UNUSED) {
	enum { COUNT = 30 };
	make_topic("moment");
	AUTO_ERROR struct error error = {0};
	struct rig rig = {.loop = loop_new()};
	rig.patience = loop_timer_new(rig.loop, patience_lost, &rig);
	if (kafka_producer_open(rig.loop, &config, "moment", KAFKA_GATHER, 10000, delivered, &rig, &rig.producer, &error))
		fail_msg("%s", error_text(&error));
	await_ready(&rig);
	for (int i = 0; i < COUNT; i++) {
		char key[16];
		snprintf(key, sizeof(key), "key-%d", i);
		produce(&rig, key, "x");
	}
	await(&rig, COUNT);
	int64_t most = 0;
	for (int32_t partition = 0; partition < PARTITIONS; partition++) {
		int64_t low, high;
		assert_int_equal(rd_kafka_query_watermark_offsets(host, "moment", partition, &low, &high, 5000), 0);
		if (high - low > most) most = high - low;
	}
	assert_true(most > COUNT / 2); // by their keys they would be strewn; a moment can end in between
	rig_close(&rig);
}

static void only_stored_offsets_are_committed(void **state UNUSED) {
	make_topic("stored");
	assert_int_equal(rd_kafka_mock_topic_create(cluster, "one", 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
	struct rig rig;
	rig_open(&rig, "one", 10000);
	for (int i = 0; i < 4; i++) produce(&rig, "k", "x");
	await(&rig, 4);
	struct kafka_message messages[4];
	struct kafka_consumer *consumer = consumer_open("one");
	assert_int_equal(poll_for(consumer, messages, 4, PATIENCE_MS), 4);
	kafka_consumer_store(consumer, &messages[1]);
	kafka_messages_clear(messages, 4);
	kafka_consumer_close(consumer);

	AUTO_ERROR struct error error = {0};
	assert_int_equal(kafka_lag(&config, "one", "one", 10000, &error), 2);
	assert_int_equal(kafka_lag(&config, "never", "one", 10000, &error), 4);
	rd_kafka_mock_topic_set_error(cluster, "stored", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	assert_int_equal(kafka_lag(&config, "never", "stored", 10000, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAVAILABLE);

	consumer = consumer_open("one");
	assert_int_equal(poll_for(consumer, messages, 2, PATIENCE_MS), 2);
	assert_int_equal(messages[0].offset, 2);
	assert_int_equal(messages[1].offset, 3);
	kafka_messages_clear(messages, 2);
	kafka_consumer_close(consumer);
	rig_close(&rig);
}

static void a_paused_consumer_gets_nothing_until_it_resumes(void **state UNUSED) {
	make_topic("shared");
	struct rig rig;
	struct kafka_message messages[8];
	rig_open(&rig, "shared", 10000);
	struct kafka_consumer *consumer = shared = consumer_open("shared");
	kafka_consumer_pause(consumer); // before anything is assigned
	await_assignment(consumer);
	for (int i = 0; i < 3; i++) produce(&rig, "k", "x");
	await(&rig, 3);
	assert_int_equal(poll_for(consumer, messages, 3, 500), 0);
	kafka_consumer_resume(consumer);
	assert_int_equal(poll_for(consumer, messages, 3, PATIENCE_MS), 3);
	kafka_messages_clear(messages, 3);
	kafka_consumer_pause(consumer);
	for (int i = 0; i < 3; i++) produce(&rig, "k", "y");
	await(&rig, 3);
	assert_int_equal(poll_for(consumer, messages, 3, 500), 0);
	kafka_consumer_resume(consumer);
	assert_int_equal(poll_for(consumer, messages, 3, PATIENCE_MS), 3);
	assert_memory_equal(messages[0].value, "y", 1);
	kafka_messages_clear(messages, 3);
	rig_close(&rig);
}

static void pausing_with_messages_at_hand_loses_none(void **state UNUSED) {
	enum { COUNT = 300 };
	struct rig rig;
	rig_open(&rig, "shared", 10000);
	for (int i = 0; i < COUNT; i++) {
		char key[16];
		snprintf(key, sizeof(key), "key-%d", i);
		produce(&rig, key, "x");
	}
	await(&rig, COUNT);
	struct kafka_message messages[COUNT];
	struct kafka_consumer *consumer = shared;
	size_t count = 0;
	for (int round = 0; round < 20 && count < COUNT; round++) {
		count += poll_for(consumer, messages + count, 110 < COUNT - count ? 110 : COUNT - count, 5000);
		kafka_consumer_pause(consumer);
		assert_int_equal(kafka_consumer_poll(consumer, 20, messages, 1), 0);
		kafka_consumer_resume(consumer);
	}
	assert_int_equal(count, COUNT);
	bool seen[PARTITIONS][2 * COUNT] = {{false}};
	for (size_t i = 0; i < COUNT; i++) {
		assert_false(seen[messages[i].partition][messages[i].offset]);
		seen[messages[i].partition][messages[i].offset] = true;
	}
	kafka_messages_clear(messages, COUNT);
	rig_close(&rig);
}

static void a_missing_topic_is_an_error_that_ends_when_it_appears(void **state UNUSED) {
	// the mock makes a topic of whatever is asked for: the error is put on one that is there
	make_topic("late");
	rd_kafka_mock_topic_set_error(cluster, "late", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	struct kafka_consumer *consumer = consumer_open("late");
	struct rig rig;
	struct kafka_message message;
	AUTO_ERROR struct error error = {0};
	rig_open(&rig, "late", 10000);
	int64_t until = loop_now_ms() + PATIENCE_MS;
	while (!kafka_consumer_error(consumer, &error) && loop_now_ms() < until) kafka_consumer_poll(consumer, 50, &message, 1);
	assert_int_equal(kafka_consumer_error(consumer, &error), 1);
	assert_int_equal(error.kind, ERROR_UNAVAILABLE);
	assert_false(kafka_consumer_ready(consumer));
	assert_false(kafka_producer_ready(rig.producer));
	rd_kafka_mock_topic_set_error(cluster, "late", RD_KAFKA_RESP_ERR_NO_ERROR);
	await_ready(&rig);
	produce(&rig, "k", "x");
	await(&rig, 1);
	assert_int_equal(rig.reports[KAFKA_PERSISTED], 1);
	assert_int_equal(poll_for(consumer, &message, 1, PATIENCE_MS), 1);
	kafka_messages_clear(&message, 1);
	// an answer to an older question may still have brought the error back for a moment
	await_assignment(consumer);
	assert_int_equal(kafka_consumer_error(consumer, &error), 0);
	kafka_consumer_close(consumer);
	rig_close(&rig);
}

static void closing_a_consumer_without_a_broker_takes_no_session_time_out(void **state UNUSED) {
	struct kafka_message message;
	struct kafka_consumer *consumer = STEAL(shared);
	await_assignment(consumer);
	rd_kafka_mock_broker_set_down(cluster, 1);
	kafka_consumer_poll(consumer, 100, &message, 1);
	int64_t begin = loop_now_ms();
	kafka_consumer_close(consumer);
	assert_true(loop_now_ms() - begin < 5000);
	rd_kafka_mock_broker_set_up(cluster, 1);
}

static void *wake(void *consumer) {
	nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
	kafka_consumer_wake(consumer);
	return NULL;
}

static void a_poll_that_waits_can_be_woken(void **state UNUSED) {
	struct kafka_message message;
	struct kafka_consumer *consumer = shared;
	await_assignment(consumer);
	pthread_t thread;
	int64_t begin = loop_now_ms();
	assert_int_equal(pthread_create(&thread, NULL, wake, consumer), 0);
	assert_int_equal(kafka_consumer_poll(consumer, 10000, &message, 1), 0);
	assert_true(loop_now_ms() - begin < 5000);
	pthread_join(thread, NULL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_produced_is_consumed_as_it_was),
		cmocka_unit_test(a_batch_takes_what_is_there_and_no_more_than_asked_for),
		cmocka_unit_test(records_of_one_moment_share_a_partition),
		cmocka_unit_test(only_stored_offsets_are_committed),
		cmocka_unit_test(a_paused_consumer_gets_nothing_until_it_resumes),
		cmocka_unit_test(pausing_with_messages_at_hand_loses_none),
		cmocka_unit_test(a_missing_topic_is_an_error_that_ends_when_it_appears),
		cmocka_unit_test(a_poll_that_waits_can_be_woken),
		cmocka_unit_test(closing_a_consumer_without_a_broker_takes_no_session_time_out),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
