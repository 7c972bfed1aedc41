// Topics, by Kafka's admin requests: describe, then create what is missing and correct what differs.
#include "lib/kafka_internal.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <stdbool.h>

#define TIMESTAMP_TYPE "message.timestamp.type"
#define LOG_APPEND     "LogAppendTime"
#define RETENTION      "retention.ms"

enum { AGAIN_MS = 50 };

static const char *const topics[] = {KAFKA_TOPIC_TRABAJOS, KAFKA_TOPIC_RESULTADOS};

struct admin {
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	const struct kafka_config *config;
	int64_t until_ms;
	char *retention_ms;
};

static const char *value_of(const rd_kafka_ConfigResource_t *resource, const char *name) {
	size_t count;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
	for (size_t i = 0; i < count; i++) {
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);
		if (!strcmp(rd_kafka_ConfigEntry_name(entries[i]), name)) return value ? value : "";
	}
	return "";
}

static int64_t left_ms(const struct admin *admin) {
	int64_t left = admin->until_ms - loop_now_ms();
	return left > 1 ? left : 1;
}

static rd_kafka_AdminOptions_t *options_new(const struct admin *admin, rd_kafka_admin_op_t operation) {
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->rk, operation);
	char why[256];
	(void)rd_kafka_AdminOptions_set_request_timeout(options, (int)left_ms(admin), why, sizeof(why));
	return options;
}

static enum error_kind kind_of(rd_kafka_resp_err_t err) {
	switch (err) {
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		return ERROR_DENIED;
	case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
	case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
	case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		return ERROR_CONFLICT;
	default:
		return ERROR_UNAVAILABLE;
	}
}

static int failed(struct error *error, rd_kafka_resp_err_t err, const char *what, const char *topic, const char *why) {
	return error_set(error, kind_of(err), "Kafka: %s topic %s: %s", what, topic, why ? why : rd_kafka_err2str(err));
}

// The answer to the request just sent; NULL where none came.
static rd_kafka_event_t *answer(const struct admin *admin, struct error *error) {
	rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, (int)left_ms(admin) + 100);
	if (event && !rd_kafka_event_error(event)) return event;
	const char *why = event ? rd_kafka_event_error_string(event) : "no answer";
	error_set(error, ERROR_UNAVAILABLE, "Kafka: %s: %s", admin->config->bootstrap, why);
	if (event) rd_kafka_event_destroy(event);
	return NULL;
}

// ---- change

// AlterConfigs replaces all settings of a topic: those it has are repeated.
static int set_retention(const struct admin *admin, const rd_kafka_ConfigResource_t *found, struct error *error) {
	const char *topic = rd_kafka_ConfigResource_name(found);
	rd_kafka_ConfigResource_t *wanted = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	size_t count;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found, &count);
	for (size_t i = 0; i < count; i++) {
		const char *name = rd_kafka_ConfigEntry_name(entries[i]), *value = rd_kafka_ConfigEntry_value(entries[i]);
		bool own = rd_kafka_ConfigEntry_source(entries[i]) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG;
		if (own && value && strcmp(name, RETENTION) != 0) rd_kafka_ConfigResource_set_config(wanted, name, value);
	}
	rd_kafka_ConfigResource_set_config(wanted, RETENTION, admin->retention_ms);

	rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_ALTERCONFIGS);
	rd_kafka_AlterConfigs(admin->rk, &wanted, 1, options, admin->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_ConfigResource_destroy(wanted);
	rd_kafka_event_t *event = answer(admin, error);
	if (!event) return -1;
	const rd_kafka_ConfigResource_t **results =
		rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
	rd_kafka_resp_err_t err = count ? rd_kafka_ConfigResource_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
	if (err)
		failed(error, err, "set retention.ms of", topic,
			count ? rd_kafka_ConfigResource_error_string(results[0]) : NULL);
	rd_kafka_event_destroy(event);
	return err ? -1 : 0;
}

static int create(const struct admin *admin, const char *topic, struct error *error) {
	char why[256] = "";
	rd_kafka_NewTopic_t *wanted =
		rd_kafka_NewTopic_new(topic, (int)admin->config->partitions, (int)admin->config->replication, why, sizeof(why));
	if (!wanted) return error_set(error, ERROR_INPUT, "Kafka: topic %s: %s", topic, why);
	rd_kafka_NewTopic_set_config(wanted, TIMESTAMP_TYPE, LOG_APPEND);
	rd_kafka_NewTopic_set_config(wanted, RETENTION, admin->retention_ms);
	rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	// answered when the topic is there, not when it is decided
	(void)rd_kafka_AdminOptions_set_operation_timeout(options, (int)left_ms(admin), why, sizeof(why));
	rd_kafka_CreateTopics(admin->rk, &wanted, 1, options, admin->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy(wanted);

	rd_kafka_event_t *event = answer(admin, error);
	if (!event) return -1;
	size_t count;
	const rd_kafka_topic_result_t **results =
		rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
	rd_kafka_resp_err_t err = count ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
	if (err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		err = RD_KAFKA_RESP_ERR_NO_ERROR; // another daemon, by the same rules
	if (err) failed(error, err, "create", topic, count ? rd_kafka_topic_result_error_string(results[0]) : NULL);
	rd_kafka_event_destroy(event);
	return err ? -1 : 0;
}

// ---- look

// 1: the topic was not there; look again.
static int check(const struct admin *admin, const rd_kafka_ConfigResource_t *found, struct error *error) {
	const char *topic = rd_kafka_ConfigResource_name(found);
	rd_kafka_resp_err_t err = rd_kafka_ConfigResource_error(found);
	if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return create(admin, topic, error) ? -1 : 1;
	if (err) return failed(error, err, "describe", topic, rd_kafka_ConfigResource_error_string(found));
	if (strcmp(value_of(found, TIMESTAMP_TYPE), LOG_APPEND) != 0)
		return error_set(error, ERROR_CONFLICT,
			"Kafka: topic %s has " TIMESTAMP_TYPE
			"=%s, which would let clients date their records; correct it with: "
			"kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s "
			"--add-config " TIMESTAMP_TYPE "=" LOG_APPEND,
			topic, value_of(found, TIMESTAMP_TYPE), admin->config->bootstrap, topic);
	if (!strcmp(value_of(found, RETENTION), admin->retention_ms)) return 0;
	return set_retention(admin, found, error);
}

static int look(const struct admin *admin, struct error *error) {
	rd_kafka_ConfigResource_t *wanted[COUNT_OF(topics)];
	for (size_t i = 0; i < COUNT_OF(topics); i++)
		wanted[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i]);
	rd_kafka_AdminOptions_t *options = options_new(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_DescribeConfigs(admin->rk, wanted, COUNT_OF(topics), options, admin->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_ConfigResource_destroy_array(wanted, COUNT_OF(topics));

	rd_kafka_event_t *event = answer(admin, error);
	if (!event) return -1;
	size_t count;
	const rd_kafka_ConfigResource_t **found =
		rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
	int result = 0;
	for (size_t i = 0; result >= 0 && i < count; i++) {
		int one = check(admin, found[i], error);
		if (one) result = one;
	}
	rd_kafka_event_destroy(event);
	return result;
}

// A topic that was just created is known to the controller at once and to the brokers a little later: what one of them says is
// missing may be there, with other settings. So it is looked at until it is seen.
static int ensure(const struct admin *admin, struct error *error) {
	for (;;) {
		int result = look(admin, error);
		if (result <= 0) return result;
		if (loop_now_ms() >= admin->until_ms) break;
		nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000L}, NULL);
	}
	return error_set(error, ERROR_UNAVAILABLE, "Kafka: %s: the topics were created, but have not appeared in time",
		admin->config->bootstrap);
}

int kafka_topics_ensure(const struct kafka_config *config, int64_t timeout_ms, struct error *error) {
	const struct kafka_setting none[] = {{NULL, NULL}};
	rd_kafka_conf_t *conf = kafka_conf_make(config, none, none, error);
	rd_kafka_t *rk = conf ? kafka_client_new(RD_KAFKA_PRODUCER, conf, error) : NULL;
	if (!rk) return -1;
	AUTO_FREE char *retention = mem_format("%" PRId64, config->retention_h * 3600 * 1000);
	struct admin admin = {.rk = rk, .config = config, .retention_ms = retention};
	admin.queue = rd_kafka_queue_new(rk);
	admin.until_ms = loop_now_ms() + timeout_ms;
	int result = ensure(&admin, error);
	rd_kafka_queue_destroy(admin.queue);
	rd_kafka_destroy(rk);
	return result;
}
