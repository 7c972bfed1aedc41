// Questions from outside: whether Kafka answers, and how far a group is behind.
#include "lib/kafka_internal.h"

static int64_t left_ms(int64_t until_ms) {
	int64_t left = until_ms - loop_now_ms();
	return left > 1 ? left : 1;
}

static rd_kafka_resp_err_t partitions_of(
	rd_kafka_t *rk, const char *topic, int64_t until_ms, rd_kafka_topic_partition_list_t *list) {
	rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
	const rd_kafka_metadata_t *metadata;
	rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, handle, &metadata, (int)left_ms(until_ms));
	rd_kafka_topic_destroy(handle);
	if (err) return err;
	err = metadata->topic_cnt ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	for (int i = 0; !err && i < metadata->topics[0].partition_cnt; i++)
		rd_kafka_topic_partition_list_add(list, topic, metadata->topics[0].partitions[i].id);
	rd_kafka_metadata_destroy(metadata);
	return err;
}

static rd_kafka_resp_err_t add_up(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int64_t until_ms, int64_t *lag) {
	for (int i = 0; i < list->cnt; i++) {
		const rd_kafka_topic_partition_t *part = &list->elems[i];
		int64_t low = 0, high = 0;
		if (part->err) return part->err;
		rd_kafka_resp_err_t err =
			rd_kafka_query_watermark_offsets(rk, part->topic, part->partition, &low, &high, (int)left_ms(until_ms));
		if (err) return err;
		int64_t from = part->offset > low ? part->offset : low; // negative: nothing committed yet, earliest counts
		if (high > from) *lag += high - from;
	}
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

int64_t kafka_lag(
	const struct kafka_config *config, const char *group, const char *topic, int64_t timeout_ms, struct error *error) {
	const struct kafka_setting none[] = {{NULL, NULL}};
	const struct kafka_setting fixed[] = {{"group.id", group}, {"enable.auto.commit", "false"}, {NULL, NULL}};
	int64_t until_ms = loop_now_ms() + timeout_ms, lag = 0;
	rd_kafka_conf_t *conf = kafka_conf_make(config, none, fixed, error);
	rd_kafka_t *rk = conf ? kafka_client_new(RD_KAFKA_CONSUMER, conf, error) : NULL;
	if (!rk) return -1;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
	rd_kafka_resp_err_t err = partitions_of(rk, topic, until_ms, list);
	if (!err) err = rd_kafka_committed(rk, list, (int)left_ms(until_ms));
	if (!err) err = add_up(rk, list, until_ms, &lag);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	if (!err) return lag;
	return error_set(error, ERROR_UNAVAILABLE, "Kafka: lag of %s: %s", topic, rd_kafka_err2str(err));
}

int kafka_reach(const struct kafka_config *config, int64_t timeout_ms, struct error *error) {
	const struct kafka_setting none[] = {{NULL, NULL}};
	rd_kafka_conf_t *conf = kafka_conf_make(config, none, none, error);
	rd_kafka_t *rk = conf ? kafka_client_new(RD_KAFKA_PRODUCER, conf, error) : NULL;
	if (!rk) return -1;
	const rd_kafka_metadata_t *metadata;
	rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, NULL, &metadata, (int)timeout_ms);
	if (!err) rd_kafka_metadata_destroy(metadata);
	rd_kafka_destroy(rk);
	if (!err) return 0;
	return error_set(error, ERROR_UNAVAILABLE, "Kafka: %s: %s", config->bootstrap, rd_kafka_err2str(err));
}
