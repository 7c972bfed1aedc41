// What a daemon costs before it does anything: one consumer of librdkafka's and one connection of libpq's, ready and idle.
// bench/rss links it with the libraries of each daemon and measures it beside that daemon. No setting of ours is used.
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int failed(const char *what, const char *why) {
	fprintf(stderr, "rss_bare: %s: %s\n", what, why);
	return 1;
}

static rd_kafka_t *consumer(const char *bootstrap, const char *topic, char *why, size_t size) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, why, size) ||
		rd_kafka_conf_set(conf, "group.id", "bench-bare", why, size))
		return NULL;
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, size);
	if (!rk) return NULL;
	rd_kafka_poll_set_consumer(rk);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
	rd_kafka_resp_err_t err = rd_kafka_subscribe(rk, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	if (!err) return rk;
	snprintf(why, size, "%s", rd_kafka_err2str(err));
	return NULL;
}

// rss_bare BOOTSTRAP TOPIC, the database by PG*: until its standard input ends.
int main(int argc, char **argv) {
	char why[512], end;
	if (argc != 3) return failed("usage", "rss_bare BOOTSTRAP TOPIC");
	PGconn *db = PQconnectdb("");
	if (PQstatus(db) != CONNECTION_OK) return failed("PostgreSQL", PQerrorMessage(db));
	rd_kafka_t *rk = consumer(argv[1], argv[2], why, sizeof(why));
	if (!rk) return failed("Kafka", why);
	for (int i = 0; i < 50; i++) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 100);
		if (message) rd_kafka_message_destroy(message);
	}
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &end, 1) > 0) continue;
	rd_kafka_destroy(rk);
	PQfinish(db);
	return 0;
}
