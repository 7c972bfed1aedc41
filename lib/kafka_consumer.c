// The consumer. It is polled without pause by a thread of its own: what is slow happens elsewhere, so that the group never
// takes it for dead.
//
// Errors are kept until something shows that they are over: a message, an assignment, or, for what a broker can tell, a
// question that is asked each second while polling brings nothing.
#include "lib/kafka_internal.h"
#include "lib/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { PROBE_EVERY_MS = 1000, PROBE_MS = 500, CLOSE_MS = 3000, DESTROY_MS = 1000 };

struct kafka_consumer {
	rd_kafka_t *rk;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	bool paused;
	rd_kafka_message_t **held; // came although paused; given out first
	size_t held_count;
	int64_t probed_ms;

	atomic_bool assigned;
	pthread_mutex_t lock; // of what follows
	rd_kafka_resp_err_t err;
	char *why;
};

// ---- errors

static void error_stands(struct kafka_consumer *consumer, rd_kafka_resp_err_t err, const char *why) {
	pthread_mutex_lock(&consumer->lock);
	free(consumer->why);
	consumer->why = mem_strdup(why);
	consumer->err = err;
	pthread_mutex_unlock(&consumer->lock);
}

static void error_over(struct kafka_consumer *consumer) {
	pthread_mutex_lock(&consumer->lock);
	consumer->err = RD_KAFKA_RESP_ERR_NO_ERROR;
	pthread_mutex_unlock(&consumer->lock);
}

static rd_kafka_resp_err_t error_now(const struct kafka_consumer *consumer) {
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&consumer->lock;
	pthread_mutex_lock(lock);
	rd_kafka_resp_err_t err = consumer->err;
	pthread_mutex_unlock(lock);
	return err;
}

static bool broker_can_tell(rd_kafka_resp_err_t err) {
	return err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	       err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || err == RD_KAFKA_RESP_ERR__TRANSPORT ||
	       err == RD_KAFKA_RESP_ERR__TIMED_OUT;
}

static void ask(struct kafka_consumer *consumer) {
	int64_t now = loop_now_ms();
	rd_kafka_resp_err_t err = error_now(consumer);
	if (!broker_can_tell(err) || now - consumer->probed_ms < PROBE_EVERY_MS) return;
	rd_kafka_resp_err_t found = kafka_topic_probe(consumer->rk, consumer->topic, PROBE_MS);
	consumer->probed_ms = loop_now_ms();
	if (!found) error_over(consumer);
}

static void on_error(rd_kafka_t *rk UNUSED, int number, const char *reason, void *arg) {
	rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)number;
	// others concern one broker of several, or are retried by themselves
	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || err == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
		err == RD_KAFKA_RESP_ERR__FATAL)
		error_stands(arg, err, reason);
}

// ---- the group

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *partitions, void *arg) {
	struct kafka_consumer *consumer = arg;
	if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		rd_kafka_assign(rk, partitions);
		if (consumer->paused) rd_kafka_pause_partitions(rk, partitions);
		error_over(consumer);
		atomic_store(&consumer->assigned, true);
	} else {
		atomic_store(&consumer->assigned, false);
		rd_kafka_assign(rk, NULL);
	}
}

static rd_kafka_conf_t *configure(const struct kafka_config *config, const char *group, struct error *error) {
	// Little is fetched ahead: what waits here is memory, and the ledger is where jobs wait. The limit is on bytes, and above
	// what a second needs: at the limit librdkafka pauses a partition for about that long.
	const struct kafka_setting defaults[] = {
		{"session.timeout.ms", "10000"},
		{"topic.metadata.refresh.interval.ms", "5000"},
		{"fetch.error.backoff.ms", "50"},
		{"queued.min.messages", "100000"},
		{"queued.max.messages.kbytes", "4096"},
		{"fetch.message.max.bytes", "262144"},
		{"fetch.max.bytes", "1048576"},
		{NULL, NULL},
	};
	const struct kafka_setting fixed[] = {
		{"group.id", group},
		{"enable.auto.offset.store", "false"},
		{"enable.auto.commit", "true"},
		{"auto.commit.interval.ms", "1000"},
		{"auto.offset.reset", "earliest"},
		{"partition.assignment.strategy", "roundrobin"},
		{NULL, NULL},
	};
	rd_kafka_conf_t *conf = kafka_conf_make(config, defaults, fixed, error);
	// unknown to older versions; later ones wait a second by default before they fetch again after a full queue
	if (conf) (void)rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", NULL, 0);
	return conf;
}

// ---- messages

static void give(const rd_kafka_message_t *raw, struct kafka_message *message) {
	rd_kafka_timestamp_type_t type;
	*message = (struct kafka_message){
		.key = raw->key,
		.key_length = raw->key_len,
		.value = raw->payload,
		.value_length = raw->len,
		.timestamp_ms = rd_kafka_message_timestamp(raw, &type),
		.partition = raw->partition,
		.offset = raw->offset,
		.handle_ = (void *)(uintptr_t)raw,
	};
}

static size_t give_held(struct kafka_consumer *consumer, struct kafka_message *messages, size_t most) {
	size_t count = consumer->held_count < most ? consumer->held_count : most;
	for (size_t i = 0; i < count; i++) give(consumer->held[i], &messages[i]);
	if (!count) return 0;
	consumer->held_count -= count;
	if (consumer->held_count > 0) memmove(consumer->held, consumer->held + count, consumer->held_count * sizeof(void *));
	return count;
}

static void hold(struct kafka_consumer *consumer, rd_kafka_message_t *raw) {
	consumer->held = mem_resize(consumer->held, consumer->held_count + 1, sizeof(void *));
	consumer->held[consumer->held_count++] = raw;
}

// One message, or NULL: nothing within the time, or an error (which is noted).
static rd_kafka_message_t *take(struct kafka_consumer *consumer, int64_t timeout_ms) {
	rd_kafka_message_t *raw = rd_kafka_consumer_poll(consumer->rk, (int)(timeout_ms > 0 ? timeout_ms : 0));
	if (!raw) return NULL;
	if (!raw->err) {
		if (!consumer->paused) return raw;
		hold(consumer, raw);
		return NULL;
	}
	if (raw->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) error_stands(consumer, raw->err, rd_kafka_message_errstr(raw));
	rd_kafka_message_destroy(raw);
	return NULL;
}

size_t kafka_consumer_poll(struct kafka_consumer *consumer, int64_t timeout_ms, struct kafka_message *messages, size_t most) {
	size_t count = consumer->paused ? 0 : give_held(consumer, messages, most);
	do {
		rd_kafka_message_t *raw = take(consumer, count ? 0 : timeout_ms);
		if (!raw) break;
		if (count < most)
			give(raw, &messages[count++]);
		else
			hold(consumer, raw); // none was asked for: the poll was for the group's sake
	} while (count < most);
	if (!error_now(consumer)) return count;
	if (count)
		error_over(consumer);
	else
		ask(consumer);
	return count;
}

void kafka_messages_clear(struct kafka_message *messages, size_t count) {
	for (size_t i = 0; i < count; i++) {
		rd_kafka_message_destroy(messages[i].handle_);
		messages[i] = (struct kafka_message){0};
	}
}

const void *kafka_message_header(const struct kafka_message *message, const char *name, size_t *length) {
	rd_kafka_headers_t *headers;
	const void *value;
	*length = 0;
	if (!message->handle_ || rd_kafka_message_headers(message->handle_, &headers)) return NULL;
	return rd_kafka_header_get_last(headers, name, &value, length) ? NULL : value;
}

void kafka_consumer_store(struct kafka_consumer *consumer UNUSED, const struct kafka_message *message) {
	const rd_kafka_message_t *raw = message->handle_;
	// fails where the partition is no longer ours: then it is another's to go on from what was committed
	(void)rd_kafka_offset_store(raw->rkt, raw->partition, raw->offset);
}

static void pause_all(struct kafka_consumer *consumer, bool pause) {
	rd_kafka_topic_partition_list_t *partitions;
	consumer->paused = pause;
	if (rd_kafka_assignment(consumer->rk, &partitions)) return;
	if (pause)
		rd_kafka_pause_partitions(consumer->rk, partitions);
	else
		rd_kafka_resume_partitions(consumer->rk, partitions);
	rd_kafka_topic_partition_list_destroy(partitions);
}

void kafka_consumer_pause(struct kafka_consumer *consumer) {
	if (!consumer->paused) pause_all(consumer, true);
}

void kafka_consumer_resume(struct kafka_consumer *consumer) {
	if (consumer->paused) pause_all(consumer, false);
}

int kafka_consumer_ready(const struct kafka_consumer *consumer) {
	return atomic_load(&consumer->assigned) && !error_now(consumer);
}

int kafka_consumer_error(struct kafka_consumer *consumer, struct error *error) {
	pthread_mutex_lock(&consumer->lock);
	rd_kafka_resp_err_t err = consumer->err;
	if (err) error_set(error, ERROR_UNAVAILABLE, "Kafka: %s: %s", rd_kafka_err2str(err), consumer->why);
	pthread_mutex_unlock(&consumer->lock);
	return err ? 1 : 0;
}

void kafka_consumer_wake(struct kafka_consumer *consumer) {
	rd_kafka_queue_yield(consumer->queue);
}

// ---- start and end

static void *destroy(void *rk) {
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return NULL;
}

// librdkafka 2.0 sometimes awaits one of its own threads for ever where no broker answers. Then false: it is left to itself,
// as it would be at the process's end, which mostly follows.
static bool destroy_in_time(rd_kafka_t *rk) {
	pthread_t thread;
	struct timespec until;
	if (pthread_create(&thread, NULL, destroy, rk)) {
		destroy(rk);
		return true;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += DESTROY_MS / 1000;
	if (!pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until)) return true;
	pthread_detach(thread);
	return false;
}

void kafka_consumer_close(struct kafka_consumer *consumer) {
	if (!consumer) return;
	for (size_t i = 0; i < consumer->held_count; i++) rd_kafka_message_destroy(consumer->held[i]);
	free(consumer->held);
	// not rd_kafka_consumer_close, which waits a whole session time-out where no broker answers
	rd_kafka_error_t *failed = rd_kafka_consumer_close_queue(consumer->rk, consumer->queue);
	if (failed) rd_kafka_error_destroy(failed);
	int64_t until = loop_now_ms() + CLOSE_MS;
	while (!failed && !rd_kafka_consumer_closed(consumer->rk) && loop_now_ms() < until) {
		rd_kafka_message_t *raw = rd_kafka_consumer_poll(consumer->rk, 20);
		if (raw) rd_kafka_message_destroy(raw);
	}
	rd_kafka_queue_destroy(consumer->queue);
	rd_kafka_topic_destroy(consumer->topic);
	if (!destroy_in_time(consumer->rk)) return; // the callbacks' argument remains
	pthread_mutex_destroy(&consumer->lock);
	free(consumer->why);
	free(consumer);
}

int kafka_consumer_open(const struct kafka_config *config, const char *group, const char *topic,
	struct kafka_consumer **consumer, struct error *error) {
	rd_kafka_conf_t *conf = configure(config, group, error);
	if (!conf) return -1;
	struct kafka_consumer *made = mem_zalloc(sizeof(*made));
	pthread_mutex_init(&made->lock, NULL);
	rd_kafka_conf_set_opaque(conf, made);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
	made->rk = kafka_client_new(RD_KAFKA_CONSUMER, conf, error);
	if (!made->rk) {
		pthread_mutex_destroy(&made->lock);
		free(made);
		return -1;
	}
	rd_kafka_poll_set_consumer(made->rk);
	made->topic = rd_kafka_topic_new(made->rk, topic, NULL);
	made->queue = rd_kafka_queue_get_consumer(made->rk);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
	rd_kafka_resp_err_t err = rd_kafka_subscribe(made->rk, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	if (err) {
		kafka_consumer_close(made);
		return error_set(error, ERROR_INTERNAL, "Kafka: subscribe: %s", rd_kafka_err2str(err));
	}
	*consumer = made;
	return 0;
}
