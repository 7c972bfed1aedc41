#include "lib/prepare.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/migrate.h"
#include "lib/starter.h"

#define TOPICS_TIMEOUT_MS 5000

struct prepare {
	struct prepare_config config;
	struct starter *schema, *topics;
};

static void tell_migration(const struct migration *migration, void *arg) {
	(void)arg;
	log_info(log_m("migration applied"), log_i("version", migration->version), log_s("name", migration->name));
}

static int apply_schema(void *arg, struct error *error) {
	const struct prepare *prepare = arg;
	struct db *db;
	if (db_open(prepare->config.db, error, &db) != 0) return -1;
	int result = migrate_apply(db, tell_migration, NULL, error);
	db_close(db);
	return result;
}

static int ensure_topics(void *arg, struct error *error) {
	const struct prepare *prepare = arg;
	return kafka_topics_ensure(prepare->config.kafka, TOPICS_TIMEOUT_MS, error);
}

static void schema_done(void *arg) {
	struct prepare *prepare = arg;
	prepare->config.schema_done(prepare->config.arg);
}

static void topics_done(void *arg) {
	struct prepare *prepare = arg;
	prepare->config.topics_done(prepare->config.arg);
}

static void failed(const struct error *error, void *arg) {
	struct prepare *prepare = arg;
	prepare->config.failed(error, prepare->config.arg);
}

bool prepare_schema_done(struct prepare *prepare, char **why) {
	return starter_done(prepare->schema, why);
}

bool prepare_topics_done(struct prepare *prepare, char **why) {
	return starter_done(prepare->topics, why);
}

int prepare_close(struct prepare *prepare, int64_t wait_ms) {
	if (!prepare) return 0;
	starter_ask(prepare->topics);
	int schema = starter_stop(prepare->schema, wait_ms), topics = starter_stop(prepare->topics, wait_ms);
	if (schema || topics) return -1;
	free(prepare);
	return 0;
}

struct prepare *prepare_start(struct loop *loop, const struct prepare_config *config) {
	struct prepare *prepare = mem_zalloc(sizeof *prepare);
	prepare->config = *config;
	prepare->schema = starter_run(loop,
		&(struct starter_step){
			.name = "database schema", .run = apply_schema, .done = schema_done, .failed = failed, .arg = prepare});
	prepare->topics = starter_run(loop,
		&(struct starter_step){
			.name = "Kafka topics", .run = ensure_topics, .done = topics_done, .failed = failed, .arg = prepare});
	return prepare;
}
