// The producer. librdkafka's threads do the talking; delivery reports come as events on a queue that writes to an eventfd
// in the loop when it is no longer empty, and are drained there without blocking.
//
// Readiness is asked for by a thread of its own that sleeps while nothing is in doubt: librdkafka answers "is the topic
// there" only by blocking. It also warms the metadata up, so that the first record has not to wait for them.
//
// An idempotent producer can end up in a fatal state. Then a new client takes its place at once; the old one is purged,
// stays in the loop until its last report has come, and is destroyed by a thread.
#include "lib/kafka_internal.h"
#include "lib/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>

enum { PROBE_MS = 1000, PROBE_AGAIN_MS = 200, PURGE_MS = 5000, SLICE_MS = 20 };

struct instance {
	struct kafka_producer *producer;
	rd_kafka_t *rk;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	int fd;
	struct loop_fd *watch;
	bool fatal;

	pthread_t prober;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool wanted, stop; // under the lock
	atomic_bool ready;
};

struct kafka_producer {
	struct loop *loop;
	struct kafka_config config;
	char *topic;
	enum kafka_pace pace;
	char *timeout; // message.timeout.ms
	kafka_delivered *delivered;
	void *arg;
	struct instance *now;
	struct instance *old; // fatal, its last reports not yet here
	pthread_t burial;     // destroys one of the past
	bool burying;
	struct loop_timer *renew; // a new client could not be made: try again
};

static void on_events(uint32_t events, void *arg);

// ---- readiness

static void nap(struct instance *instance, int64_t ms) {
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&instance->change, &instance->lock, &until);
}

static void *probe(void *arg) {
	struct instance *instance = arg;
	pthread_mutex_lock(&instance->lock);
	while (!instance->stop) {
		if (!instance->wanted) {
			pthread_cond_wait(&instance->change, &instance->lock);
			continue;
		}
		instance->wanted = false;
		pthread_mutex_unlock(&instance->lock);
		bool good = kafka_topic_probe(instance->rk, instance->topic, PROBE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;
		pthread_mutex_lock(&instance->lock);
		if (good && !instance->wanted) { // else the brokers went away meanwhile
			atomic_store(&instance->ready, true);
			continue;
		}
		instance->wanted = true;
		if (!instance->stop) nap(instance, PROBE_AGAIN_MS);
	}
	pthread_mutex_unlock(&instance->lock);
	return NULL;
}

static void doubt(struct instance *instance) {
	pthread_mutex_lock(&instance->lock);
	atomic_store(&instance->ready, false);
	instance->wanted = true;
	pthread_cond_signal(&instance->change);
	pthread_mutex_unlock(&instance->lock);
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
		{"enable.idempotence", "true"},
		{"message.timeout.ms", producer->timeout},
		{NULL, NULL},
	};
	rd_kafka_conf_t *conf = kafka_conf_make(&producer->config, defaults, fixed, error);
	if (conf) rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
	return conf;
}

static void instance_detach(struct instance *instance) {
	loop_fd_remove(instance->watch);
	instance->watch = NULL;
}

// May be called by any thread; what is under way goes without a report.
static void instance_free(struct instance *instance) {
	pthread_mutex_lock(&instance->lock);
	instance->stop = true;
	pthread_cond_signal(&instance->change);
	pthread_mutex_unlock(&instance->lock);
	pthread_join(instance->prober, NULL);
	rd_kafka_queue_io_event_enable(instance->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(instance->queue);
	rd_kafka_topic_destroy(instance->topic);
	rd_kafka_destroy(instance->rk);
	close(instance->fd);
	pthread_mutex_destroy(&instance->lock);
	pthread_cond_destroy(&instance->change);
	free(instance);
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
	if (producer->pace == KAFKA_AT_ONCE) return rd_kafka_topic_new(rk, producer->topic, NULL);
	rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(rk);
	rd_kafka_topic_conf_set_partitioner_cb(conf, partition_of_moment);
	return rd_kafka_topic_new(rk, producer->topic, conf);
}

static int instance_new(struct kafka_producer *producer, struct instance **made, struct error *error) {
	static const uint64_t one = 1;
	rd_kafka_conf_t *conf = configure(producer, error);
	if (!conf) return -1;
	// Readable from the start: librdkafka writes when its queue is no longer empty, but what it queued before it was told of the
	// descriptor made no noise, and would keep later events silent, too.
	AUTO_CLOSE int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0) {
		rd_kafka_conf_destroy(conf);
		return error_set_errno(error, ERROR_INTERNAL, errno, "Kafka: eventfd");
	}
	rd_kafka_t *rk = kafka_client_new(RD_KAFKA_PRODUCER, conf, error);
	if (!rk) return -1;
	struct instance *instance = mem_zalloc(sizeof(*instance));
	*instance = (struct instance){.producer = producer, .rk = rk, .wanted = true};
	instance->topic = topic_new(producer, rk);
	instance->queue = rd_kafka_queue_get_main(rk);
	instance->fd = steal_fd(&fd);
	rd_kafka_queue_io_event_enable(instance->queue, instance->fd, &one, sizeof(one));
	instance->watch = loop_fd_add(producer->loop, instance->fd, EPOLLIN, on_events, instance);
	pthread_mutex_init(&instance->lock, NULL);
	pthread_cond_init(&instance->change, NULL);
	if (pthread_create(&instance->prober, NULL, probe, instance)) mem_die("kafka: no thread");
	*made = instance;
	return 0;
}

// ---- a client that has come to a fatal end

static void *bury(void *arg) {
	instance_free(arg);
	return NULL;
}

static void burial_end(struct kafka_producer *producer) {
	if (producer->burying) pthread_join(producer->burial, NULL);
	producer->burying = false;
}

static void old_gone(struct kafka_producer *producer) {
	if (!producer->old || rd_kafka_outq_len(producer->old->rk) > 0) return;
	burial_end(producer);
	instance_detach(producer->old);
	if (pthread_create(&producer->burial, NULL, bury, producer->old)) mem_die("kafka: no thread");
	producer->burying = true;
	producer->old = NULL;
	if (!producer->now || producer->now->fatal) loop_timer_set(producer->renew, 0);
}

static void renew(void *arg) {
	struct kafka_producer *producer = arg;
	struct error error AUTO_ERROR = {0};
	if (producer->old || (producer->now && !producer->now->fatal)) return;
	if (producer->now) {
		rd_kafka_purge(
			producer->now->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
		producer->old = STEAL(producer->now);
	}
	if (instance_new(producer, &producer->now, &error)) loop_timer_set(producer->renew, PROBE_MS);
	old_gone(producer);
}

static void fatal(struct instance *instance) {
	instance->fatal = true;
	atomic_store(&instance->ready, false);
	loop_timer_set(instance->producer->renew, 0); // not from within its own events
}

// ---- events

static void report(struct instance *instance, const rd_kafka_message_t *message) {
	struct kafka_producer *producer = instance->producer;
	enum kafka_delivery delivery = KAFKA_POSSIBLY_PERSISTED;
	if (message->err && !instance->fatal && rd_kafka_fatal_error(instance->rk, NULL, 0)) fatal(instance);
	int64_t timestamp_ms = -1;
	rd_kafka_timestamp_type_t type;
	switch (rd_kafka_message_status(message)) {
	case RD_KAFKA_MSG_STATUS_PERSISTED:
		delivery = KAFKA_PERSISTED;
		timestamp_ms = rd_kafka_message_timestamp(message, &type);
		break;
	case RD_KAFKA_MSG_STATUS_NOT_PERSISTED:
		// a client in its fatal state has lost count: that is no time for certainties
		if (!instance->fatal) delivery = KAFKA_NOT_PERSISTED;
		break;
	default:
		break;
	}
	producer->delivered(delivery, timestamp_ms, message->_private, producer->arg);
}

static void handle(struct instance *instance, rd_kafka_event_t *event) {
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
		const rd_kafka_message_t *message;
		while ((message = rd_kafka_event_message_next(event))) report(instance, message);
		return;
	}
	if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_ERROR) return;
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	if (err == RD_KAFKA_RESP_ERR__FATAL && !instance->fatal)
		fatal(instance);
	else if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		doubt(instance);
}

static int drain(struct instance *instance, int timeout_ms) {
	int count = 0;
	rd_kafka_event_t *event;
	while ((event = rd_kafka_queue_poll(instance->queue, count ? 0 : timeout_ms))) {
		handle(instance, event);
		rd_kafka_event_destroy(event);
		count++;
	}
	return count;
}

static void on_events(uint32_t events UNUSED, void *arg) {
	struct instance *instance = arg;
	uint64_t count;
	// read first: what is queued after the last look writes again
	if (read(instance->fd, &count, sizeof(count)) < 0 && errno != EAGAIN) return;
	drain(instance, 0);
	if (instance == instance->producer->old) old_gone(instance->producer);
}

// ---- what others call

int kafka_produce(struct kafka_producer *producer, const char *key, const void *value, size_t length,
	const struct kafka_header *headers, size_t header_count, void *opaque, struct error *error) {
	struct instance *instance = producer->now;
	if (!instance || instance->fatal) return error_set(error, ERROR_UNAVAILABLE, "Kafka: the producer is being renewed");
	rd_kafka_headers_t *list = header_count ? rd_kafka_headers_new(header_count) : NULL;
	for (size_t i = 0; i < header_count; i++)
		rd_kafka_header_add(list, headers[i].name, -1, headers[i].value, (ssize_t)headers[i].length);
	const rd_kafka_vu_t fields[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = instance->topic},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)key, key ? strlen(key) : 0}},
		{.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)value, length}},
		{.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque},
		{.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = list},
	};
	// without headers the last field is left out
	rd_kafka_error_t *failed = rd_kafka_produceva(instance->rk, fields, COUNT_OF(fields) - (list ? 0 : 1));
	if (!failed) return 0;
	rd_kafka_resp_err_t err = rd_kafka_error_code(failed);
	if (rd_kafka_error_is_fatal(failed) || rd_kafka_fatal_error(instance->rk, NULL, 0)) fatal(instance);
	rd_kafka_error_destroy(failed);
	if (list) rd_kafka_headers_destroy(list);
	enum error_kind kind = ERROR_UNAVAILABLE;
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL || err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) kind = ERROR_LIMIT;
	return error_set(error, kind, "Kafka: %s", rd_kafka_err2str(err));
}

int kafka_producer_ready(const struct kafka_producer *producer) {
	return producer->now && !producer->now->fatal && atomic_load(&producer->now->ready);
}

static void finish(struct instance *instance, int64_t flush_ms) {
	if (!instance) return;
	int64_t until = loop_now_ms() + flush_ms;
	while (rd_kafka_outq_len(instance->rk) > 0 && loop_now_ms() < until) drain(instance, 50);
	if (rd_kafka_outq_len(instance->rk) > 0)
		rd_kafka_purge(instance->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	until = loop_now_ms() + PURGE_MS;
	while (rd_kafka_outq_len(instance->rk) > 0 && loop_now_ms() < until) drain(instance, 50);
	instance_detach(instance);
	instance_free(instance);
}

void kafka_producer_close(struct kafka_producer *producer, int64_t flush_ms) {
	if (!producer) return;
	finish(producer->old, 0);
	finish(producer->now, flush_ms);
	burial_end(producer);
	loop_timer_free(producer->renew);
	free(producer->config.bootstrap);
	free(producer->config.extra);
	free(producer->topic);
	free(producer->timeout);
	free(producer);
}

int kafka_producer_open(struct loop *loop, const struct kafka_config *config, const char *topic, enum kafka_pace pace,
	int64_t message_timeout_ms, kafka_delivered *delivered, void *arg, struct kafka_producer **producer,
	struct error *error) {
	struct kafka_producer *made = mem_zalloc(sizeof(*made));
	*made = (struct kafka_producer){.loop = loop, .config = *config, .pace = pace, .delivered = delivered, .arg = arg};
	made->config.bootstrap = mem_strdup(config->bootstrap);
	made->config.extra = mem_strdup(config->extra ? config->extra : "");
	made->topic = mem_strdup(topic);
	made->timeout = mem_format("%lld", (long long)message_timeout_ms);
	made->renew = loop_timer_new(loop, renew, made);
	if (instance_new(made, &made->now, error)) {
		kafka_producer_close(made, 0);
		return -1;
	}
	*producer = made;
	return 0;
}
