#include "lib/publish.h"

#include "lib/failpoint.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <stdbool.h>
#include <string.h>

#define MARK_DELAY_MS        20
#define MARK_MOST            500
#define MESSAGE_TIMEOUT_MS   30000
#define STATEMENT_TIMEOUT_MS 10000

// One record under way: produced, acknowledged, marked.
struct sent {
	char key[37];
	int64_t attempt;
};

struct publisher {
	struct loop *loop;
	struct kafka_producer *producer;
	struct db_session *session;
	struct loop_timer *mark_timer;
	struct sent *acknowledged; // waiting to be marked
	size_t acknowledged_count, acknowledged_room;
	size_t producing;
	bool marking;
};

static struct metric published = {.name = "trabajos_resultados_published_total",
	.help = "records of topic resultados that Kafka acknowledged",
	.type = METRIC_COUNTER};
static struct metric unpublished = {.name = "trabajos_resultados_unpublished_total",
	.help = "records of topic resultados that were not acknowledged and are left to the sweeper",
	.type = METRIC_COUNTER};

const struct db_statement publish_mark = {"publish_mark",
	// One whose row a sweeper has just taken is left to it: it sends the record again and marks it.
	"WITH acknowledged AS ("
	" SELECT r.place FROM unnest($1::uuid[], $2::int[]) AS a (key, attempt) CROSS JOIN LATERAL ("
	"  SELECT o.ctid AS place FROM outbox o WHERE o.key = a.key AND o.attempt = a.attempt FOR UPDATE SKIP LOCKED) r"
	") DELETE FROM outbox o USING acknowledged a WHERE o.ctid = a.place"};

static void mark_next(struct publisher *publisher);

static void marked(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct publisher *publisher = arg;
	(void)result;
	publisher->marking = false;
	failpoint("publish.marked");
	// What could not be marked is found by the sweeper, which sends it again: at least once.
	if (status != DB_OK && status != DB_UNAVAILABLE) log_warn(log_m("cannot mark published results"), log_e(error));
	if (publisher->acknowledged_count > 0) mark_next(publisher);
}

static void mark_next(struct publisher *publisher) {
	if (publisher->marking || publisher->acknowledged_count == 0) return;
	size_t count = publisher->acknowledged_count < MARK_MOST ? publisher->acknowledged_count : MARK_MOST;
	AUTO_FREE const char **keys = mem_zalloc_array(count, sizeof(*keys));
	AUTO_FREE int64_t *attempts = mem_zalloc_array(count, sizeof(*attempts));
	for (size_t i = 0; i < count; i++) {
		keys[i] = publisher->acknowledged[i].key;
		attempts[i] = publisher->acknowledged[i].attempt;
	}
	struct db_params *params = db_params_new();
	db_texts(params, DB_UUID, keys, count);
	db_ints(params, DB_INT4, attempts, count);
	publisher->acknowledged_count -= count;
	memmove(publisher->acknowledged, publisher->acknowledged + count,
		publisher->acknowledged_count * sizeof(*publisher->acknowledged));
	publisher->marking = true;
	db_run(publisher->session, &publish_mark, params, STATEMENT_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, marked, publisher);
}

static void mark_soon(void *arg) {
	mark_next(arg);
}

static void delivered(enum kafka_delivery delivery, int64_t timestamp_ms, void *opaque, void *arg) {
	struct publisher *publisher = arg;
	AUTO_FREE struct sent *sent = opaque;
	(void)timestamp_ms;
	publisher->producing--;
	failpoint("publish.acknowledged");
	if (delivery != KAFKA_PERSISTED || failpoint_fails("publish.lost")) {
		metric_add(&unpublished, 1);
		return;
	}
	metric_add(&published, 1);
	if (publisher->acknowledged_count == publisher->acknowledged_room) {
		publisher->acknowledged_room = publisher->acknowledged_room ? publisher->acknowledged_room * 2 : 64;
		publisher->acknowledged =
			mem_resize(publisher->acknowledged, publisher->acknowledged_room, sizeof(*publisher->acknowledged));
	}
	publisher->acknowledged[publisher->acknowledged_count++] = *sent;
	if (!loop_timer_active(publisher->mark_timer)) loop_timer_set(publisher->mark_timer, MARK_DELAY_MS);
}

void publish(struct publisher *publisher, const struct resultado *resultado) {
	AUTO_FREE char *value = resultado_encode(resultado);
	struct sent *sent = mem_zalloc(sizeof(*sent));
	memcpy(sent->key, resultado->key, sizeof(sent->key));
	sent->attempt = resultado->attempt;
	publisher->producing++;
	if (kafka_produce(publisher->producer, resultado->key, value, strlen(value), NULL, 0, sent, NULL) < 0) {
		publisher->producing--;
		metric_add(&unpublished, 1);
		free(sent);
	}
	failpoint("publish.produced");
}

size_t publisher_pending(const struct publisher *publisher) {
	return publisher->producing + publisher->acknowledged_count + (publisher->marking ? 1 : 0);
}

int publisher_ready(const struct publisher *publisher) {
	return kafka_producer_ready(publisher->producer);
}

void publisher_close(struct publisher *publisher, int64_t flush_ms) {
	if (!publisher) return;
	kafka_producer_close(publisher->producer, flush_ms);
	loop_timer_free(publisher->mark_timer);
	free(publisher->acknowledged);
	free(publisher);
}

int publisher_open(struct loop *loop, const struct kafka_config *config, struct db_session *session,
	struct publisher **publisher, struct error *error) {
	metrics_register(&published);
	metrics_register(&unpublished);
	struct publisher *made = mem_zalloc(sizeof(*made));
	made->loop = loop;
	made->session = session;
	made->mark_timer = loop_timer_new(loop, mark_soon, made);
	if (kafka_producer_open(loop, config, KAFKA_TOPIC_RESULTADOS, KAFKA_AT_ONCE, MESSAGE_TIMEOUT_MS, delivered, made,
		    &made->producer, error) < 0) {
		loop_timer_free(made->mark_timer);
		free(made);
		return error_wrap(error, "producer of %s", KAFKA_TOPIC_RESULTADOS);
	}
	*publisher = made;
	return 0;
}
