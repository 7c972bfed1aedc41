// Shared by lib/kafka*.c only; the one place that includes librdkafka.
#pragma once

#include "lib/kafka.h"

#include <librdkafka/rdkafka.h>

struct kafka_setting {
	const char *name, *value;
};

// What all clients share, then our `defaults`, then KAFKA_CONFIG, then what is not to be changed (`fixed`); both lists end
// with a NULL name. NULL and ERROR_INPUT: KAFKA_CONFIG is wrong.
rd_kafka_conf_t *kafka_conf_make(const struct kafka_config *config, const struct kafka_setting *defaults,
	const struct kafka_setting *fixed, struct error *error) MUST_USE;
// Takes the configuration, also where it fails.
rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct error *error) MUST_USE;
// Asks a broker for the topic: whether it is there and has a leader. Blocks up to timeout_ms.
rd_kafka_resp_err_t kafka_topic_probe(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms);
// The same for who writes: whether at least one partition has a leader and as many replicas in sync as it asks for.
rd_kafka_resp_err_t kafka_topic_writable(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms);
