// The producer. librdkafka's threads do the talking; delivery reports come as events on a queue that writes to an eventfd
// in the loop when it is no longer empty, and are drained there without blocking.
//
// Readiness is asked for by a thread of its own: librdkafka answers "is the topic there" only by blocking. It also warms the
// metadata up, so that the first record has not to wait for them. While nothing is in doubt it looks every few seconds, for a
// topic can be gone while its broker is there, and who accepts nothing has no record that would tell.
//
// It is not what Kafka calls idempotent. With that, a batch that timed out after the broker had written it leaves its sequence
// numbers to the next batch, which the broker then takes for a duplicate: acknowledged, and not written. Here a record may be
// written twice, which every reader expects (the ledger knows its key), but what is acknowledged is there.
#include "lib/kafka_internal.h"
#include "lib/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>

enum { PROBE_MS = 1000, PROBE_AGAIN_MS = 200, PROBE_EVERY_MS = 5000, PURGE_MS = 5000, SLICE_MS = 20 };

#define SILENCES_MOST 2 // probes in a row without an answer: the first one may be a broker that is busy

struct kafka_producer {
	struct loop *loop;
	struct kafka_config config;
	char *topic_name;
	enum kafka_pace pace;
	char *timeout; // message.timeout.ms
	kafka_delivered *delivered;
	void *arg;

	rd_kafka_t *rk;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	int fd;
	struct loop_fd *watch;

	pthread_t prober;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool wanted, away, stop; // under the lock; away: all brokers were, since the last probe began
	atomic_int trouble;      // rd_kafka_resp_err_t
};

static void on_events(uint32_t events, void *arg);

// ---- readiness

// Until it is signalled, or ms later: -1.
static int nap(struct kafka_producer *producer, int64_t ms) {
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_cond_clockwait(&producer->change, &producer->lock, CLOCK_MONOTONIC, &until) ? -1 : 0;
}

static bool is_silence(rd_kafka_resp_err_t err) {
	return err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT;
}

// One question; true where the answer is good.
static bool look(struct kafka_producer *producer, unsigned *silences) {
	producer->wanted = producer->away = false;
	pthread_mutex_unlock(&producer->lock);
	rd_kafka_resp_err_t err = kafka_topic_writable(producer->rk, producer->topic, PROBE_MS);
	pthread_mutex_lock(&producer->lock);
	if (producer->away) return false; // what was answered is older
	*silences = is_silence(err) ? *silences + 1 : 0;
	if (!*silences || *silences >= SILENCES_MOST) atomic_store(&producer->trouble, err);
	return !err;
}

static void *probe(void *arg) {
	struct kafka_producer *producer = arg;
	unsigned silences = 0;
	pthread_mutex_lock(&producer->lock);
	while (!producer->stop) {
		if (!producer->wanted && nap(producer, PROBE_EVERY_MS) == 0) continue;
		if (producer->stop || (look(producer, &silences) && !producer->wanted)) continue;
		producer->wanted = true;
		if (!producer->stop) nap(producer, PROBE_AGAIN_MS);
	}
	pthread_mutex_unlock(&producer->lock);
	return NULL;
}

static void suspect(struct kafka_producer *producer) {
	pthread_mutex_lock(&producer->lock);
	// who asks already is not hurried: records may fail by the thousand
	if (!producer->wanted) pthread_cond_signal(&producer->change);
	producer->wanted = true;
	pthread_mutex_unlock(&producer->lock);
}

static void doubt(struct kafka_producer *producer) {
	pthread_mutex_lock(&producer->lock);
	atomic_store(&producer->trouble, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN);
	producer->away = true;
	producer->wanted = true;
	pthread_cond_signal(&producer->change);
	pthread_mutex_unlock(&producer->lock);
}

// ---- a client

static rd_kafka_conf_t *configure(const struct kafka_producer *producer, struct error *error) {
	const struct kafka_setting defaults[] = {
		{"queue.buffering.max.ms", producer->pace == KAFKA_AT_ONCE ? "0" : "0.5"},
		{"queue.buffering.max.kbytes", "65536"},
		{"queue.buffering.max.messages", "100000"},
		{NULL, NULL},
	};
	const struct kafka_setting fixed[] = {
		{"request.required.acks", "-1"},
		{"enable.idempotence", "false"},
		{"message.timeout.ms", producer->timeout},
		{NULL, NULL},
	};
	rd_kafka_conf_t *conf = kafka_conf_make(&producer->config, defaults, fixed, error);
	if (conf) rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
	return conf;
}

// Another partition every few milliseconds, each process beginning with another one.
static int32_t partition_of_moment(const rd_kafka_topic_t *topic, const void *key UNUSED, size_t length UNUSED, int32_t count,
	void *topic_opaque UNUSED, void *message_opaque UNUSED) {
	static atomic_int process; // getpid is a system call each time
	if (!process) process = getpid();
	int32_t first = (int32_t)((loop_now_ms() / SLICE_MS + process) % count);
	for (int32_t i = 0; i < count; i++)
		if (rd_kafka_topic_partition_available(topic, (first + i) % count)) return (first + i) % count;
	return first;
}

static rd_kafka_topic_t *topic_new(const struct kafka_producer *producer, rd_kafka_t *rk) {
	if (producer->pace == KAFKA_AT_ONCE) return rd_kafka_topic_new(rk, producer->topic_name, NULL);
	rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(rk);
	rd_kafka_topic_conf_set_partitioner_cb(conf, partition_of_moment);
	return rd_kafka_topic_new(rk, producer->topic_name, conf);
}

static int client_open(struct kafka_producer *producer, struct error *error) {
	static const uint64_t one = 1;
	rd_kafka_conf_t *conf = configure(producer, error);
	if (!conf) return -1;
	// Readable from the start: librdkafka writes when its queue is no longer empty, but what it queued before it was told of the
	// descriptor made no noise, and would keep later events silent, too.
	producer->fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	if (producer->fd < 0) {
		rd_kafka_conf_destroy(conf);
		return error_set_errno(error, ERROR_INTERNAL, errno, "Kafka: eventfd");
	}
	producer->rk = kafka_client_new(RD_KAFKA_PRODUCER, conf, error);
	if (!producer->rk) return -1;
	producer->topic = topic_new(producer, producer->rk);
	producer->queue = rd_kafka_queue_get_main(producer->rk);
	rd_kafka_queue_io_event_enable(producer->queue, producer->fd, &one, sizeof(one));
	producer->watch = loop_fd_add(producer->loop, producer->fd, EPOLLIN, on_events, producer);
	pthread_mutex_init(&producer->lock, NULL);
	pthread_cond_init(&producer->change, NULL);
	producer->wanted = true;
	if (pthread_create(&producer->prober, NULL, probe, producer)) mem_die("kafka: no thread");
	return 0;
}

static void client_close(struct kafka_producer *producer) {
	loop_fd_remove(producer->watch);
	pthread_mutex_lock(&producer->lock);
	producer->stop = true;
	pthread_cond_signal(&producer->change);
	pthread_mutex_unlock(&producer->lock);
	pthread_join(producer->prober, NULL);
	rd_kafka_queue_io_event_enable(producer->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(producer->queue);
	rd_kafka_topic_destroy(producer->topic);
	rd_kafka_destroy(producer->rk);
	pthread_mutex_destroy(&producer->lock);
	pthread_cond_destroy(&producer->change);
}

// ---- events

static void report(struct kafka_producer *producer, const rd_kafka_message_t *message) {
	enum kafka_delivery delivery = KAFKA_POSSIBLY_PERSISTED;
	int64_t timestamp_ms = -1;
	rd_kafka_timestamp_type_t type;
	switch (rd_kafka_message_status(message)) {
	case RD_KAFKA_MSG_STATUS_PERSISTED:
		delivery = KAFKA_PERSISTED;
		timestamp_ms = rd_kafka_message_timestamp(message, &type);
		break;
	case RD_KAFKA_MSG_STATUS_NOT_PERSISTED:
		delivery = KAFKA_NOT_PERSISTED;
		break;
	default:
		break;
	}
	if (delivery != KAFKA_PERSISTED) suspect(producer);
	producer->delivered(delivery, timestamp_ms, message->_private, producer->arg);
}

static void handle(struct kafka_producer *producer, rd_kafka_event_t *event) {
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
		const rd_kafka_message_t *message;
		while ((message = rd_kafka_event_message_next(event))) report(producer, message);
	} else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
		   rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		doubt(producer);
	}
}

static void drain(struct kafka_producer *producer, int timeout_ms) {
	rd_kafka_event_t *event;
	while ((event = rd_kafka_queue_poll(producer->queue, timeout_ms))) {
		handle(producer, event);
		rd_kafka_event_destroy(event);
		timeout_ms = 0;
	}
}

static void on_events(uint32_t events UNUSED, void *arg) {
	struct kafka_producer *producer = arg;
	uint64_t count;
	// read first: what is queued after the last look writes again
	if (read(producer->fd, &count, sizeof(count)) < 0 && errno != EAGAIN) return;
	drain(producer, 0);
}

// ---- what others call

int kafka_produce(struct kafka_producer *producer, const char *key, const void *value, size_t length,
	const struct kafka_header *headers, size_t header_count, void *opaque, struct error *error) {
	rd_kafka_headers_t *list = header_count ? rd_kafka_headers_new(header_count) : NULL;
	for (size_t i = 0; i < header_count; i++)
		rd_kafka_header_add(list, headers[i].name, -1, headers[i].value, (ssize_t)headers[i].length);
	const rd_kafka_vu_t fields[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = producer->topic},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)key, key ? strlen(key) : 0}},
		{.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)value, length}},
		{.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
		{.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = list},
	};
	// without headers the last field is left out
	rd_kafka_error_t *failed = rd_kafka_produceva(producer->rk, fields, COUNT_OF(fields) - (list ? 0 : 1));
	if (!failed) return 0;
	rd_kafka_resp_err_t err = rd_kafka_error_code(failed);
	rd_kafka_error_destroy(failed);
	suspect(producer);
	if (list) rd_kafka_headers_destroy(list);
	enum error_kind kind = ERROR_UNAVAILABLE;
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL || err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) kind = ERROR_LIMIT;
	return error_set(error, kind, "Kafka: %s", rd_kafka_err2str(err));
}

int kafka_producer_ready(const struct kafka_producer *producer) {
	return atomic_load(&producer->trouble) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

const char *kafka_producer_trouble(const struct kafka_producer *producer) {
	rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)atomic_load(&producer->trouble);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return NULL;
	bool away = err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || is_silence(err);
	return away ? "no broker answers" : rd_kafka_err2str(err);
}

static void finish(struct kafka_producer *producer, int64_t flush_ms) {
	int64_t until = loop_now_ms() + flush_ms;
	while (rd_kafka_outq_len(producer->rk) > 0 && loop_now_ms() < until) drain(producer, 50);
	if (rd_kafka_outq_len(producer->rk) > 0)
		rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	until = loop_now_ms() + PURGE_MS;
	while (rd_kafka_outq_len(producer->rk) > 0 && loop_now_ms() < until) drain(producer, 50);
}

void kafka_producer_close(struct kafka_producer *producer, int64_t flush_ms) {
	if (!producer) return;
	if (producer->rk) {
		finish(producer, flush_ms);
		client_close(producer);
	}
	if (producer->fd >= 0) close(producer->fd);
	free(producer->config.bootstrap);
	free(producer->config.extra);
	free(producer->topic_name);
	free(producer->timeout);
	free(producer);
}

int kafka_producer_open(struct loop *loop, const struct kafka_config *config, const char *topic, enum kafka_pace pace,
	int64_t message_timeout_ms, kafka_delivered *delivered, void *arg, struct kafka_producer **producer,
	struct error *error) {
	struct kafka_producer *made = mem_zalloc(sizeof(*made));
	*made = (struct kafka_producer){.loop = loop,
		.config = *config,
		.pace = pace,
		.delivered = delivered,
		.arg = arg,
		.fd = -1,
		.trouble = RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN};
	made->config.bootstrap = mem_strdup(config->bootstrap);
	made->config.extra = mem_strdup(config->extra ? config->extra : "");
	made->topic_name = mem_strdup(topic);
	made->timeout = mem_format("%lld", (long long)message_timeout_ms);
	if (client_open(made, error)) {
		kafka_producer_close(made, 0);
		return -1;
	}
	*producer = made;
	return 0;
}
