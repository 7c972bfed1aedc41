// Questions about a topic that block: for threads of their own.
#include "lib/kafka_internal.h"
#include "lib/mem.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#define MIN_INSYNC "min.insync.replicas"

// The topic as a broker describes it; to be freed with its metadata.
static rd_kafka_resp_err_t ask(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms, const rd_kafka_metadata_t **metadata,
	const rd_kafka_metadata_topic_t **found) {
	rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, metadata, timeout_ms);
	if (err) return err;
	*found = (*metadata)->topics;
	err = (*metadata)->topic_cnt == 1 ? (*found)->err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (err) rd_kafka_metadata_destroy(*metadata);
	return err;
}

static int min_insync_of(rd_kafka_event_t *event) {
	size_t count;
	const rd_kafka_ConfigResource_t **resources =
		rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
	if (!count || rd_kafka_ConfigResource_error(resources[0])) return 1;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resources[0], &count);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(rd_kafka_ConfigEntry_name(entries[i]), MIN_INSYNC) && rd_kafka_ConfigEntry_value(entries[i]))
			return (int)strtol(rd_kafka_ConfigEntry_value(entries[i]), NULL, 10);
	return 1;
}

// 1 where nobody says: not every client may ask.
static int min_insync(rd_kafka_t *rk, const char *topic, int timeout_ms) {
	char why[256];
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_ConfigResource_t *wanted = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	(void)rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, why, sizeof(why));
	rd_kafka_DescribeConfigs(rk, &wanted, 1, options, queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_ConfigResource_destroy(wanted);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
	int least = event && !rd_kafka_event_error(event) ? min_insync_of(event) : 1;
	if (event) rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	return least;
}

// A broker asks for no more replicas than the partition has.
static bool takes_records(const rd_kafka_metadata_partition_t *partition, int least) {
	if (least > partition->replica_cnt) least = partition->replica_cnt;
	return partition->leader >= 0 && partition->isr_cnt >= least;
}

static int count_writable(const rd_kafka_metadata_topic_t *topic, int least) {
	int count = 0;
	for (int i = 0; i < topic->partition_cnt; i++) count += takes_records(&topic->partitions[i], least);
	return count;
}

rd_kafka_resp_err_t kafka_topic_probe(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms) {
	const rd_kafka_metadata_t *metadata;
	const rd_kafka_metadata_topic_t *found;
	rd_kafka_resp_err_t err = ask(rk, topic, timeout_ms, &metadata, &found);
	if (err) return err;
	for (int i = 0; !err && i < found->partition_cnt; i++)
		if (found->partitions[i].leader < 0) err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	if (!err && !found->partition_cnt) err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	rd_kafka_metadata_destroy(metadata);
	return err;
}

rd_kafka_resp_err_t kafka_topic_writable(rd_kafka_t *rk, rd_kafka_topic_t *topic, int timeout_ms) {
	const rd_kafka_metadata_t *metadata;
	const rd_kafka_metadata_topic_t *found;
	rd_kafka_resp_err_t err = ask(rk, topic, timeout_ms, &metadata, &found);
	if (err) return err;
	if (!count_writable(found, 0))
		err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	else if (!count_writable(found, INT_MAX) && !count_writable(found, min_insync(rk, found->topic, timeout_ms)))
		err = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
	rd_kafka_metadata_destroy(metadata);
	return err;
}
