// librdkafka's mock cluster, and a producer and consumers of ours on it. It wakes no fetch that waits and knows neither LogAppendTime
// nor admin requests: those are for the daemons' tests, on a real Kafka.
#pragma once

#include "lib/kafka.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, PARTITIONS = 3 };

static rd_kafka_t *host;
static rd_kafka_mock_cluster_t *cluster;
static char *bootstrap;
// The refresh: whoever leads a group asks for metadata, and joins anew if a refresh is answered meanwhile (librdkafka's
// rd_kafka_cgrp_metadata_update_check). A refresh makes it join, and the mock answers three seconds later: with an interval
// that divides them the next refresh comes just then, again and again.
static char extra[] =
	"fetch.wait.max.ms=10,topic.metadata.refresh.interval.ms=1200,session.timeout.ms=4000,heartbeat.interval.ms=100";
static struct kafka_config config;

static inline int start(void **state UNUSED) {
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	char why[256];
	host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof(why));
	if (!host) return -1;
	cluster = rd_kafka_mock_cluster_new(host, 1);
	rd_kafka_brokers_add(host, rd_kafka_mock_cluster_bootstraps(cluster));
	bootstrap = mem_strdup(rd_kafka_mock_cluster_bootstraps(cluster));
	config = (struct kafka_config){
		.bootstrap = bootstrap, .extra = extra, .partitions = PARTITIONS, .replication = 1, .retention_h = 168};
	return 0;
}

static inline int stop(void **state UNUSED) {
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(host);
	free(bootstrap);
	return 0;
}

// ---- a producer and what it reported

struct rig {
	struct loop *loop;
	struct loop_timer *patience, *poll;
	struct kafka_producer *producer;
	int awaited, reports[3];
	int64_t timestamp_ms;
	const char *topic;
};

static inline void delivered(enum kafka_delivery delivery, int64_t timestamp_ms, void *opaque, void *arg) {
	struct rig *rig = arg;
	assert_ptr_equal(opaque, &rig->reports);
	rig->reports[delivery]++;
	rig->timestamp_ms = timestamp_ms;
	if (rig->awaited && !--rig->awaited) loop_stop(rig->loop);
}

static inline void patience_lost(void *arg) {
	struct rig *rig = arg;
	loop_stop(rig->loop);
}

static inline void await(struct rig *rig, int reports) {
	rig->awaited = reports;
	loop_timer_set(rig->patience, PATIENCE_MS);
	loop_run(rig->loop);
	loop_timer_stop(rig->patience);
	if (rig->awaited) fail_msg("%d reports did not come", rig->awaited);
}

static inline void rig_open(struct rig *rig, const char *topic, int64_t timeout_ms) {
	AUTO_ERROR struct error error = {0};
	*rig = (struct rig){.loop = loop_new(), .topic = topic};
	rig->patience = loop_timer_new(rig->loop, patience_lost, rig);
	if (kafka_producer_open(rig->loop, &config, topic, KAFKA_AT_ONCE, timeout_ms, delivered, rig, &rig->producer, &error))
		fail_msg("%s", error_text(&error));
}

static inline void rig_close(struct rig *rig) {
	kafka_producer_close(rig->producer, 5000);
	loop_timer_free(rig->patience);
	loop_free(rig->loop);
}

static inline void look_ready(void *arg) {
	struct rig *rig = arg;
	if (kafka_producer_ready(rig->producer))
		loop_stop(rig->loop);
	else
		loop_timer_set(rig->poll, 10);
}

static inline void await_ready(struct rig *rig) {
	rig->poll = loop_timer_new(rig->loop, look_ready, rig);
	loop_timer_set(rig->poll, 0);
	loop_timer_set(rig->patience, PATIENCE_MS);
	loop_run(rig->loop);
	loop_timer_stop(rig->patience);
	loop_timer_free(STEAL(rig->poll));
	assert_true(kafka_producer_ready(rig->producer));
}

static inline void produce(struct rig *rig, const char *key, const char *value) {
	AUTO_ERROR struct error error = {0};
	const struct kafka_header headers[] = {{"sub", "first", 5}, {"sub", "alicia", 6}, {"empty", "", 0}};
	if (kafka_produce(rig->producer, key, value, strlen(value), headers, COUNT_OF(headers), &rig->reports, &error))
		fail_msg("%s", error_text(&error));
}

static inline void make_topic(const char *topic) {
	assert_int_equal(rd_kafka_mock_topic_create(cluster, topic, PARTITIONS, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
}

// ---- consumers

// A group of the topic's name: one that somebody has just left is slow to join.
static inline struct kafka_consumer *consumer_open(const char *topic) {
	AUTO_ERROR struct error error = {0};
	struct kafka_consumer *consumer = NULL;
	if (kafka_consumer_open(&config, topic, topic, &consumer, &error)) fail_msg("%s", error_text(&error));
	return consumer;
}

// The mock lets a new group wait three seconds: some tests share one.
static inline size_t poll_for(
	struct kafka_consumer *consumer, struct kafka_message *messages, size_t wanted, int64_t patience_ms) {
	int64_t until = loop_now_ms() + patience_ms;
	size_t count = 0;
	while (count < wanted && loop_now_ms() < until)
		count += kafka_consumer_poll(consumer, 50, messages + count, wanted - count);
	return count;
}

static inline void await_assignment(struct kafka_consumer *consumer) {
	struct kafka_message none[1];
	int64_t until = loop_now_ms() + PATIENCE_MS;
	while (!kafka_consumer_ready(consumer) && loop_now_ms() < until)
		assert_int_equal(kafka_consumer_poll(consumer, 20, none, 0), 0);
	assert_true(kafka_consumer_ready(consumer));
}

// ---- tests
