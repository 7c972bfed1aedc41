// What becomes of a record when Kafka is away, slow or says no.
#include "tests/unit/kafka_rig.h"

static void without_a_broker_a_record_is_certainly_not_persisted(void **state UNUSED) {
	make_topic("away");
	rd_kafka_mock_broker_set_down(cluster, 1);
	struct rig rig;
	int64_t begin = loop_now_ms();
	rig_open(&rig, "away", 500);
	assert_false(kafka_producer_ready(rig.producer));
	produce(&rig, "k", "x");
	await(&rig, 1);
	assert_true(loop_now_ms() - begin < 5000);
	assert_int_equal(rig.reports[KAFKA_NOT_PERSISTED], 1);
	assert_int_equal(rig.timestamp_ms, -1);
	rd_kafka_mock_broker_set_up(cluster, 1);
	await_ready(&rig);
	produce(&rig, "k", "x");
	await(&rig, 1);
	assert_int_equal(rig.reports[KAFKA_PERSISTED], 1);
	rig_close(&rig);
}

static void an_unanswered_record_is_possibly_persisted(void **state UNUSED) {
	make_topic("slow");
	struct rig rig;
	rig_open(&rig, "slow", 500);
	await_ready(&rig);
	produce(&rig, "k", "x");
	await(&rig, 1);
	rd_kafka_mock_broker_set_rtt(cluster, 1, 1500);
	produce(&rig, "k", "y");
	await(&rig, 1);
	assert_int_equal(rig.reports[KAFKA_POSSIBLY_PERSISTED], 1);
	rd_kafka_mock_broker_set_rtt(cluster, 1, 0);
	rig_close(&rig);
}

static void a_broker_that_went_away_and_came_back_is_used_again(void **state UNUSED) {
	make_topic("back");
	struct rig rig;
	struct kafka_message messages[2];
	AUTO_ERROR struct error error = {0};
	rig_open(&rig, "back", 15000);
	struct kafka_consumer *consumer = consumer_open("back");
	produce(&rig, "k", "x");
	await(&rig, 1);
	assert_int_equal(poll_for(consumer, messages, 1, PATIENCE_MS), 1);
	kafka_messages_clear(messages, 1);
	rd_kafka_mock_broker_set_down(cluster, 1);
	int64_t until = loop_now_ms() + PATIENCE_MS;
	while (!kafka_consumer_error(consumer, NULL) && loop_now_ms() < until) kafka_consumer_poll(consumer, 50, messages, 1);
	assert_int_equal(kafka_consumer_error(consumer, &error), 1);
	produce(&rig, "k", "while away");
	rd_kafka_mock_broker_set_up(cluster, 1);
	await(&rig, 1);
	assert_int_equal(rig.reports[KAFKA_PERSISTED], 2);
	assert_int_equal(poll_for(consumer, messages, 1, PATIENCE_MS), 1);
	assert_int_equal(kafka_consumer_error(consumer, &error), 0);
	kafka_messages_clear(messages, 1);
	await_ready(&rig);
	kafka_consumer_close(consumer);
	rig_close(&rig);
}

static void what_comes_after_an_unanswered_record_is_written(void **state UNUSED) {
	make_topic("after");
	struct rig rig;
	struct kafka_message messages[4];
	rig_open(&rig, "after", 500);
	await_ready(&rig);
	rd_kafka_mock_broker_set_rtt(cluster, 1, 1500);
	produce(&rig, "k", "unanswered");
	await(&rig, 1);
	assert_int_equal(rig.reports[KAFKA_POSSIBLY_PERSISTED], 1);
	rd_kafka_mock_broker_set_rtt(cluster, 1, 0);
	int acknowledged = 0;
	while (!acknowledged) {
		produce(&rig, "k", "after");
		await(&rig, 1);
		acknowledged = rig.reports[KAFKA_PERSISTED];
	}
	struct kafka_consumer *consumer = consumer_open("after");
	bool found = false;
	while (!found) {
		assert_int_equal(poll_for(consumer, messages, 1, PATIENCE_MS), 1);
		found = messages[0].value_length == strlen("after") &&
			memcmp(messages[0].value, "after", messages[0].value_length) == 0;
		kafka_messages_clear(messages, 1);
	}
	kafka_consumer_close(consumer);
	rig_close(&rig);
}

static void what_kafka_would_not_take_is_refused_at_once(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	make_topic("large");
	struct rig rig;
	rig_open(&rig, "large", 10000);
	const struct kafka_header header = {"sub", "alicia", 6};
	size_t length = 2000000; // message.max.bytes is a million
	AUTO_FREE char *value = mem_zalloc(length);
	for (size_t headers = 0; headers < 2; headers++) {
		assert_int_equal(kafka_produce(rig.producer, "k", value, length, &header, headers, &rig.reports, &error), -1);
		assert_int_equal(error.kind, ERROR_LIMIT);
		error_clear(&error);
	}
	produce(&rig, "k", "x");
	await(&rig, 1);
	assert_int_equal(rig.reports[KAFKA_PERSISTED], 1);
	rig_close(&rig);
}

static void closing_reports_what_is_under_way(void **state UNUSED) {
	make_topic("closing");
	rd_kafka_mock_broker_set_down(cluster, 1);
	struct rig rig;
	rig_open(&rig, "closing", 60000);
	for (int i = 0; i < 3; i++) produce(&rig, "k", "x");
	int64_t begin = loop_now_ms();
	kafka_producer_close(rig.producer, 200);
	assert_true(loop_now_ms() - begin < 4000);
	assert_int_equal(rig.reports[KAFKA_NOT_PERSISTED], 3);
	loop_timer_free(rig.patience);
	loop_free(rig.loop);
	rd_kafka_mock_broker_set_up(cluster, 1);
}

static void look_unready(void *arg) {
	struct rig *rig = arg;
	if (kafka_producer_trouble(rig->producer))
		loop_stop(rig->loop);
	else
		loop_timer_set(rig->poll, 10);
}

static void await_unready(struct rig *rig) {
	rig->poll = loop_timer_new(rig->loop, look_unready, rig);
	loop_timer_set(rig->poll, 0);
	loop_timer_set(rig->patience, PATIENCE_MS);
	loop_run(rig->loop);
	loop_timer_stop(rig->patience);
	loop_timer_free(STEAL(rig->poll));
	assert_false(kafka_producer_ready(rig->producer));
}

static void a_topic_that_is_gone_ends_readiness_until_it_is_back(void **state UNUSED) {
	make_topic("gone");
	struct rig rig;
	rig_open(&rig, "gone", 500);
	await_ready(&rig);
	rd_kafka_mock_topic_set_error(cluster, "gone", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	await_unready(&rig); // nobody has produced
	assert_string_equal(kafka_producer_trouble(rig.producer), "Broker: Unknown topic or partition");
	rd_kafka_mock_topic_set_error(cluster, "gone", RD_KAFKA_RESP_ERR_NO_ERROR);
	await_ready(&rig);
	assert_null(kafka_producer_trouble(rig.producer));
	rig_close(&rig);
}

static void count_unready(void *arg) {
	struct rig *rig = arg;
	if (kafka_producer_trouble(rig->producer)) fail_msg("%s", kafka_producer_trouble(rig->producer));
	loop_timer_set(rig->poll, 1);
}

static void records_that_fail_on_a_healthy_broker_leave_it_ready(void **state UNUSED) {
	enum { PRODUCE = 0, FAILING = 50 };
	make_topic("healthy");
	struct rig rig;
	rig_open(&rig, "healthy", 10000);
	await_ready(&rig);
	rig.poll = loop_timer_new(rig.loop, count_unready, &rig);
	loop_timer_set(rig.poll, 0);
	for (int i = 0; i < FAILING; i++) {
		rd_kafka_mock_push_request_errors(cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
		produce(&rig, "k", "x");
		await(&rig, 1);
	}
	assert_int_equal(rig.reports[KAFKA_NOT_PERSISTED], FAILING);
	produce(&rig, "k", "x");
	await(&rig, 1);
	assert_int_equal(rig.reports[KAFKA_PERSISTED], 1);
	loop_timer_free(STEAL(rig.poll));
	rig_close(&rig);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_broker_a_record_is_certainly_not_persisted),
		cmocka_unit_test(an_unanswered_record_is_possibly_persisted),
		cmocka_unit_test(a_broker_that_went_away_and_came_back_is_used_again),
		cmocka_unit_test(what_comes_after_an_unanswered_record_is_written),
		cmocka_unit_test(what_kafka_would_not_take_is_refused_at_once),
		cmocka_unit_test(a_topic_that_is_gone_ends_readiness_until_it_is_back),
		cmocka_unit_test(records_that_fail_on_a_healthy_broker_leave_it_ready),
		cmocka_unit_test(closing_reports_what_is_under_way),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
