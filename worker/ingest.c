#include "worker/ingest.h"

#include "lib/failpoint.h"
#include "lib/ledger.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/migrate.h"
#include "lib/starter.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>

#define GROUP             "worker"
#define POLL_MS           500
#define BATCH_MOST        500
#define TOPICS_TIMEOUT_MS 10000
#define RETRY_MOST        20
#define BACKOFF_FIRST_MS  100
#define BACKOFF_MOST_MS   5000
#define DAY_MS            ((int64_t)86400000)
#define MARGIN_DAYS       1 // by which a row outlives its record (housekeeping_retention_check): as much as our clock may be wrong

struct ingest {
	struct ingest_config config;
	pthread_t thread;
	int stop_fd; // readable from the moment on that the thread is to end
	atomic_bool stopping;
	struct db *db; // NULL: not connected
	struct kafka_consumer *consumer;
	pthread_mutex_t lock;
	char *trouble;                           // why nothing reaches the ledger now; under lock
	struct kafka_consumer *visible_consumer; // for other threads; under lock
};

static struct metric records = {
	.name = "trabajos_ingest_records_total", .help = "records of topic trabajos that were read", .type = METRIC_COUNTER};
static struct metric inserted = {.name = "trabajos_ingest_inserted_total",
	.help = "jobs that the ingest put into the ledger (the frontend had not yet)",
	.type = METRIC_COUNTER};
static struct metric differing = {.name = "trabajos_ingest_differing_total",
	.help = "records whose key is known with another content; the first one counts",
	.type = METRIC_COUNTER};
static struct metric bad = {.name = "trabajos_ingest_bad_total",
	.help = "records that are no acceptable job, recorded as failed",
	.type = METRIC_COUNTER};
static struct metric useless = {.name = "trabajos_ingest_useless_total",
	.help = "records without a usable key, or refused by the ledger; skipped",
	.type = METRIC_COUNTER};
static struct metric expired = {.name = "trabajos_ingest_expired_total",
	.help = "records so old that their jobs may have been removed already; skipped",
	.type = METRIC_COUNTER};

static void set_trouble(struct ingest *ingest, const char *what) {
	pthread_mutex_lock(&ingest->lock);
	free(ingest->trouble);
	ingest->trouble = mem_strdup(what);
	pthread_mutex_unlock(&ingest->lock);
}

static void show_consumer(struct ingest *ingest, struct kafka_consumer *consumer) {
	pthread_mutex_lock(&ingest->lock);
	ingest->visible_consumer = consumer;
	pthread_mutex_unlock(&ingest->lock);
}

static bool stopping(struct ingest *ingest) {
	return atomic_load(&ingest->stopping);
}

// Waits, but not through a stop.
static void pause_ms(struct ingest *ingest, int64_t delay_ms) {
	struct pollfd stop = {.fd = ingest->stop_fd, .events = POLLIN};
	while (poll(&stop, 1, (int)delay_ms) < 0 && errno == EINTR) continue;
}

static bool connected(struct ingest *ingest, struct error *error) {
	if (ingest->db) return true;
	return db_open(ingest->config.db, error, &ingest->db) == 0;
}

static void disconnect(struct ingest *ingest) {
	db_close(ingest->db);
	ingest->db = NULL;
}

static void migration_applied(const struct migration *migration, void *arg) {
	(void)arg;
	log_info(log_m("migration applied"), log_i("version", migration->version), log_s("name", migration->name));
}

static int prepare_ledger(struct ingest *ingest, struct error *error) {
	if (!connected(ingest, error)) return error_wrap(error, "PostgreSQL");
	if (migrate_apply(ingest->db, migration_applied, NULL, error) < 0) {
		disconnect(ingest);
		return error_wrap(error, "migrations");
	}
	return 0;
}

static int prepare_topics(struct ingest *ingest, struct error *error) {
	if (kafka_topics_ensure(ingest->config.kafka, TOPICS_TIMEOUT_MS, error) < 0) return error_wrap(error, "Kafka");
	return 0;
}

// Tries until it works, the worker stops, or the configuration turns out to be wrong; whether it worked.
static bool prepare(struct ingest *ingest, int (*step)(struct ingest *, struct error *)) {
	for (unsigned failures = 0; !stopping(ingest); failures++) {
		AUTO_ERROR struct error error = {0};
		if (step(ingest, &error) == 0) {
			set_trouble(ingest, NULL);
			return true;
		}
		set_trouble(ingest, error_text(&error));
		if (starter_hopeless(&error)) {
			ingest->config.failed(&error, ingest->config.arg);
			return false;
		}
		if (failures == 0 || failures % 10 == 0)
			log_warn(log_m("cannot start yet, trying again"), log_e(&error), log_i("tries", failures + 1));
		pause_ms(ingest, lifecycle_backoff_ms(failures, BACKOFF_FIRST_MS, BACKOFF_MOST_MS));
	}
	return false;
}

static void add_bad(struct ledger_batch *batch, const struct trabajo *trabajo, const struct error *error) {
	struct outcome outcome = {0};
	enum outcome_code code = error->kind == ERROR_DENIED ? OUTCOME_DENIED : OUTCOME_NOT_FOUND;
	outcome_set(&outcome, code, BLAME_USER, "%s", error_text(error));
	ledger_batch_add(batch, trabajo, &outcome);
	outcome_clear(&outcome);
	metric_add(&bad, 1);
	log_info(log_m("bad record, recorded as failed"), log_s("key", trabajo->key), log_e(error));
}

static void add(struct ingest *ingest, struct ledger_batch *batch, const struct kafka_message *message) {
	metric_add(&records, 1);
	int64_t oldest_ms = loop_wall_ms() - (ingest->config.retention_days - MARGIN_DAYS) * DAY_MS;
	if (message->timestamp_ms >= 0 && message->timestamp_ms < oldest_ms) {
		metric_add(&expired, 1);
		return;
	}
	struct trabajo trabajo = {0};
	AUTO_ERROR struct error error = {0};
	switch (trabajo_decode(message, ingest->config.git_rules, &trabajo, &error)) {
	case TRABAJO_FINE:
		ledger_batch_add(batch, &trabajo, NULL);
		break;
	case TRABAJO_BAD:
		add_bad(batch, &trabajo, &error);
		break;
	case TRABAJO_USELESS:
		metric_add(&useless, 1);
		log_warn(log_m("record skipped"), log_i("partition", message->partition), log_i("offset", message->offset),
			log_e(&error));
		break;
	}
	trabajo_clear(&trabajo);
}

static enum db_status insert(
	struct ingest *ingest, struct ledger_batch *batch, size_t from, size_t count, struct error *error) {
	if (!connected(ingest, error)) return DB_UNAVAILABLE;
	struct db_params *params = ledger_batch_params(batch, from, count);
	struct db_result *result = NULL;
	enum db_status status = DB_RETRY;
	for (int tries = 0; status == DB_RETRY && tries < RETRY_MOST; tries++) {
		error_clear(error);
		status = db_execute(ingest->db, &ledger_insert, params, &result, error);
	}
	db_params_free(params);
	if (status == DB_OK) {
		metric_add(&inserted, db_get_int(result, 0, 0));
		metric_add(&differing, db_get_int(result, 0, 1));
		db_result_free(result);
	}
	if (failpoint_fails("ingest.insert")) status = DB_UNAVAILABLE;
	if (status == DB_UNAVAILABLE) disconnect(ingest);
	return status;
}

// A batch whose values PostgreSQL refuses is halved until the poison record stands alone; that one is skipped, all others stay.
static enum db_status insert_range(
	struct ingest *ingest, struct ledger_batch *batch, size_t from, size_t count, struct error *error) {
	enum db_status status = insert(ingest, batch, from, count, error);
	if (status != DB_BAD_DATA) return status;
	if (count == 1) {
		metric_add(&useless, 1);
		log_error(log_m("record refused by the ledger, skipped"), log_s("key", ledger_batch_key(batch, from)),
			log_e(error));
		error_clear(error);
		return DB_OK;
	}
	error_clear(error);
	size_t half = count / 2;
	status = insert_range(ingest, batch, from, half, error);
	return status == DB_OK ? insert_range(ingest, batch, from + half, count - half, error) : status;
}

// Until the batch is in the ledger, or the worker stops. Meanwhile the partitions are paused and polling goes on, so that
// the group does not take us for dead. A rebalance may give our partitions away: then another worker reads the same records
// again, which does no harm.
static bool insert_surely(struct ingest *ingest, struct ledger_batch *batch) {
	bool paused = false;
	for (unsigned failures = 0; !stopping(ingest); failures++) {
		AUTO_ERROR struct error error = {0};
		enum db_status status = insert_range(ingest, batch, 0, ledger_batch_count(batch), &error);
		if (status == DB_OK) {
			if (paused) {
				kafka_consumer_resume(ingest->consumer);
				log_info(log_m("the ledger is back, ingest goes on"));
			}
			set_trouble(ingest, NULL);
			return true;
		}
		if (!paused) log_warn(log_m("cannot write to the ledger, ingest is paused"), log_e(&error));
		if (!paused) kafka_consumer_pause(ingest->consumer);
		paused = true;
		set_trouble(ingest, error_text(&error));
		struct kafka_message none[1];
		int64_t delay_ms = lifecycle_backoff_ms(failures, BACKOFF_FIRST_MS, BACKOFF_MOST_MS);
		size_t count = kafka_consumer_poll(ingest->consumer, delay_ms, none, 1);
		kafka_messages_clear(none, count);
	}
	return false;
}

static void take(struct ingest *ingest, struct kafka_message *messages, size_t count) {
	struct ledger_batch *batch = ledger_batch_new();
	for (size_t i = 0; i < count; i++) add(ingest, batch, &messages[i]);
	failpoint("ingest.polled");
	bool done = ledger_batch_count(batch) == 0 || insert_surely(ingest, batch);
	failpoint("ingest.inserted");
	if (done) {
		for (size_t i = 0; i < count; i++) kafka_consumer_store(ingest->consumer, &messages[i]);
		failpoint("ingest.stored");
		if (ledger_batch_count(batch) > 0) ingest->config.arrived(ingest->config.arg);
	}
	ledger_batch_free(batch);
}

static void consume(struct ingest *ingest) {
	struct kafka_message messages[BATCH_MOST];
	while (!stopping(ingest)) {
		size_t count = kafka_consumer_poll(ingest->consumer, POLL_MS, messages, BATCH_MOST);
		if (count > 0) take(ingest, messages, count);
		kafka_messages_clear(messages, count);
	}
}

static int open_consumer(struct ingest *ingest, struct error *error) {
	if (kafka_consumer_open(ingest->config.kafka, GROUP, KAFKA_TOPIC_TRABAJOS, &ingest->consumer, error) < 0) return -1;
	show_consumer(ingest, ingest->consumer);
	return 0;
}

static void *run(void *arg) {
	struct ingest *ingest = arg;
	bool ledger = prepare(ingest, prepare_ledger);
	if (ledger) ingest->config.prepared(ingest->config.arg);
	if (ledger && prepare(ingest, prepare_topics) && prepare(ingest, open_consumer)) consume(ingest);
	show_consumer(ingest, NULL);
	kafka_consumer_close(ingest->consumer);
	disconnect(ingest);
	return NULL;
}

bool ingest_ready(struct ingest *ingest, char **why) {
	pthread_mutex_lock(&ingest->lock);
	*why = mem_strdup(ingest->trouble);
	bool ready = !*why && ingest->visible_consumer && kafka_consumer_ready(ingest->visible_consumer);
	pthread_mutex_unlock(&ingest->lock);
	if (!ready && !*why) *why = mem_strdup("Kafka: no partitions assigned yet");
	return ready;
}

void ingest_ask_stop(struct ingest *ingest) {
	if (atomic_exchange(&ingest->stopping, true)) return;
	uint64_t one = 1;
	if (write(ingest->stop_fd, &one, sizeof(one)) < 0) abort(); // an eventfd takes a first write always
	pthread_mutex_lock(&ingest->lock);
	if (ingest->visible_consumer) kafka_consumer_wake(ingest->visible_consumer);
	pthread_mutex_unlock(&ingest->lock);
}

int ingest_stop(struct ingest *ingest, int64_t wait_ms) {
	if (!ingest) return 0;
	ingest_ask_stop(ingest);
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(wait_ms / 1000);
	if (pthread_timedjoin_np(ingest->thread, NULL, &until) != 0) return -1;
	close(ingest->stop_fd);
	pthread_mutex_destroy(&ingest->lock);
	free(ingest->trouble);
	free(ingest);
	return 0;
}

int ingest_start(const struct ingest_config *config, struct ingest **ingest, struct error *error) {
	struct metric *metrics[] = {&records, &inserted, &differing, &bad, &useless, &expired};
	for (size_t i = 0; i < COUNT_OF(metrics); i++) metrics_register(metrics[i]);
	struct ingest *made = mem_zalloc(sizeof(*made));
	made->config = *config;
	pthread_mutex_init(&made->lock, NULL);
	set_trouble(made, "starting");
	made->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int failed = made->stop_fd < 0 ? errno : pthread_create(&made->thread, NULL, run, made);
	if (failed) {
		if (made->stop_fd >= 0) close(made->stop_fd);
		pthread_mutex_destroy(&made->lock);
		free(made->trouble);
		free(made);
		return error_set_errno(error, ERROR_INTERNAL, failed, "cannot start the Kafka thread");
	}
	*ingest = made;
	return 0;
}
