// Kafka, by librdkafka: topics, a producer, a consumer. No other file includes librdkafka.
#pragma once

#include "lib/error.h"
#include "lib/loop.h"
#include "lib/option.h"

#include <stddef.h>
#include <stdint.h>

#define KAFKA_TOPIC_TRABAJOS   "trabajos"
#define KAFKA_TOPIC_RESULTADOS "resultados"

struct kafka_config {
	char *bootstrap;
	char *extra; // KAFKA_CONFIG: "key=value,…" handed to librdkafka; a comma in a value is written "\,"
	int64_t partitions, replication, retention_h;
};

#define OPTIONS_KAFKA(config)                                                                                                  \
	{.name = "KAFKA_BOOTSTRAP",                                                                                            \
		.type = OPTION_STRING,                                                                                         \
		.value = &(config).bootstrap,                                                                                  \
		.fallback = "localhost:9092",                                                                                  \
		.help = "Kafka's address, host:port,…"},                                                                       \
		{.name = "KAFKA_CONFIG",                                                                                       \
			.type = OPTION_SECRET,                                                                                 \
			.value = &(config).extra,                                                                              \
			.fallback = "",                                                                                        \
			.help = "key=value,… handed to librdkafka (SASL, TLS)"},                                               \
		{.name = "KAFKA_PARTITIONS",                                                                                   \
			.type = OPTION_INT,                                                                                    \
			.value = &(config).partitions,                                                                         \
			.fallback = "16",                                                                                      \
			.min = 1,                                                                                              \
			.max = 10000,                                                                                          \
			.help = "partitions of a topic that is created"},                                                      \
		{.name = "KAFKA_REPLICATION",                                                                                  \
			.type = OPTION_INT,                                                                                    \
			.value = &(config).replication,                                                                        \
			.fallback = "1",                                                                                       \
			.min = 1,                                                                                              \
			.max = 100,                                                                                            \
			.help = "replicas of a topic that is created"},                                                        \
	{                                                                                                                      \
		.name = "KAFKA_RETENTION_H", .type = OPTION_INT, .value = &(config).retention_h, .fallback = "168", .min = 1,  \
		.max = 87600, .help = "hours that a topic's records are kept"                                                  \
	}

// Creates trabajos and resultados where missing, sets their retention.ms, and checks message.timestamp.type=LogAppendTime
// (ERROR_CONFLICT names the remedy where an existing topic has it not). ERROR_UNAVAILABLE: no broker within timeout_ms.
// Blocks up to timeout_ms: for start-up and threads of their own.
int kafka_topics_ensure(const struct kafka_config *config, int64_t timeout_ms, struct error *error) MUST_USE;

// Whether a broker answers within timeout_ms; ERROR_UNAVAILABLE if not. Blocks.
int kafka_reach(const struct kafka_config *config, int64_t timeout_ms, struct error *error) MUST_USE;

struct kafka_header {
	const char *name;
	const void *value;
	size_t length;
};

// ---- producer: acks=all, at least once, no linger; belongs to one loop, all calls from the loop's thread.

enum kafka_delivery {
	KAFKA_PERSISTED,          // acknowledged by all in-sync replicas
	KAFKA_NOT_PERSISTED,      // certainly not written
	KAFKA_POSSIBLY_PERSISTED, // it may have been
};

// opaque: as given to kafka_produce. timestamp_ms: the record's LogAppendTime; -1 if not persisted. May produce, not close.
typedef void kafka_delivered(enum kafka_delivery delivery, int64_t timestamp_ms, void *opaque, void *arg);

struct kafka_producer;

// Each partition is a request of its own to the broker, and librdkafka's thread spins while records are under way that need not wait
// for others. So what comes in crowds is several times cheaper when it is gathered.
enum kafka_pace {
	KAFKA_AT_ONCE, // sent at once; equal keys in one partition, in order but for what is sent again
	KAFKA_GATHER,  // half a millisecond's records together, in one partition; the next ones in another
};

// Never blocks, never fails for want of a broker. message_timeout_ms: after it the delivery is reported as failed.
int kafka_producer_open(struct loop *loop, const struct kafka_config *config, const char *topic, enum kafka_pace pace,
	int64_t message_timeout_ms, kafka_delivered *delivered, void *arg, struct kafka_producer **producer,
	struct error *error) MUST_USE;
// Copies everything. 0: `delivered` will be called exactly once, later, from the loop. -1: certainly not sent
// (ERROR_LIMIT: queue full; ERROR_UNAVAILABLE).
int kafka_produce(struct kafka_producer *producer, const char *key, const void *value, size_t length,
	const struct kafka_header *headers, size_t header_count, void *opaque, struct error *error) MUST_USE;
// Whether the topic takes records, as far as is known: asked at open (so that the first produce is quick), every few seconds, and
// at once where a record was not persisted. One such record changes nothing by itself, nor does one question without an answer.
int kafka_producer_ready(const struct kafka_producer *producer);
const char *kafka_producer_trouble(const struct kafka_producer *producer); // why not; NULL: it is ready
// Waits up to flush_ms for what is under way (calling `delivered`), then reports the rest and frees.
void kafka_producer_close(struct kafka_producer *producer, int64_t flush_ms);

// ---- consumer: for a thread of its own; all calls from that thread.

struct kafka_consumer;

struct kafka_message {
	const char *key; // NULL: none; not NUL-terminated
	size_t key_length;
	const char *value; // NULL: tombstone
	size_t value_length;
	int64_t timestamp_ms; // LogAppendTime; -1: none
	int32_t partition;
	int64_t offset;
	void *handle_; // of the wrapper
};

// auto.offset.reset=earliest, enable.auto.offset.store=false, eager round-robin assignor. Does not wait for a broker.
int kafka_consumer_open(const struct kafka_config *config, const char *group, const char *topic,
	struct kafka_consumer **consumer, struct error *error) MUST_USE;
// Up to `most` messages: waits up to timeout_ms for the first, then takes what is there already. Returns their number; 0 if
// none. Messages stay valid until kafka_messages_clear, which must come before the close; `most` 0 polls for the group's sake.
// Broker errors are kept for kafka_consumer_error and come to an end by themselves.
size_t kafka_consumer_poll(struct kafka_consumer *consumer, int64_t timeout_ms, struct kafka_message *messages, size_t most);
void kafka_messages_clear(struct kafka_message *messages, size_t count);
// The value of the last header of that name; NULL if there is none. Valid as long as the message.
const void *kafka_message_header(const struct kafka_message *message, const char *name, size_t *length);
// Stores the offset behind the message, for the next automatic commit. Fine after its partition was revoked.
void kafka_consumer_store(struct kafka_consumer *consumer, const struct kafka_message *message);
// Stops / goes on fetching all partitions, also those assigned later; polling must go on (heartbeats, rebalances).
void kafka_consumer_pause(struct kafka_consumer *consumer);
void kafka_consumer_resume(struct kafka_consumer *consumer);
// Whether the group has given us an assignment (may be empty) and no broker error stands. The error's text, or NULL. Thread-safe.
int kafka_consumer_ready(const struct kafka_consumer *consumer);
int kafka_consumer_error(struct kafka_consumer *consumer, struct error *error); // 1 and fills error where one stands, else 0
// Records of the topic that the group has not yet committed, over all partitions; -1 if unknown. Blocks up to timeout_ms. Any thread.
int64_t kafka_lag(
	const struct kafka_config *config, const char *group, const char *topic, int64_t timeout_ms, struct error *error);
// Commits what was stored, leaves the group, frees.
void kafka_consumer_close(struct kafka_consumer *consumer);
// Makes a poll that waits return early. Any thread.
void kafka_consumer_wake(struct kafka_consumer *consumer);
