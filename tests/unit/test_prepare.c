#include "lib/log.h"
#include "lib/mem.h"
#include "lib/prepare.h"

#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static struct loop *loop;
static int schema_calls, topics_calls, failed_calls;
static char *failure;

static char host[] = "127.0.0.1", nowhere[] = "1", name[] = "postgres", user[] = "postgres", empty[] = "";
static char closed[] = "127.0.0.1:1", nonsense[] = "nonsense";

static void schema_done(void *arg) {
	(void)arg;
	schema_calls++;
}

static void topics_done(void *arg) {
	(void)arg;
	topics_calls++;
}

static void failed(const struct error *error, void *arg) {
	(void)arg;
	failed_calls++;
	free(failure);
	failure = mem_strdup(error_text(error));
	assert_int_equal(error->kind, ERROR_INPUT);
	loop_stop(loop);
}

static struct db_config db_config(void) {
	return (struct db_config){.host = host,
		.port = nowhere,
		.name = name,
		.user = user,
		.password = empty,
		.options = empty,
		.application = "unit"};
}

static struct kafka_config kafka_config(void) {
	return (struct kafka_config){.bootstrap = closed, .extra = empty, .partitions = 1, .replication = 1, .retention_h = 1};
}

static struct prepare *begin(const struct db_config *db, const struct kafka_config *kafka) {
	return prepare_start(loop,
		&(struct prepare_config){
			.db = db, .kafka = kafka, .schema_done = schema_done, .topics_done = topics_done, .failed = failed});
}

static void a_configuration_that_no_time_will_mend_is_told_for_each_service(void **state) {
	(void)state;
	struct db_config db = db_config();
	struct kafka_config kafka = kafka_config();
	db.options = kafka.extra = nonsense;
	struct prepare *prepare = begin(&db, &kafka);
	loop_run(loop);
	if (failed_calls == 1) loop_run(loop);
	assert_int_equal(failed_calls, 2);
	AUTO_FREE char *schema = NULL, *topics = NULL;
	assert_false(prepare_schema_done(prepare, &schema));
	assert_false(prepare_topics_done(prepare, &topics));
	assert_non_null(strstr(schema, "POSTGRES_OPTIONS"));
	assert_non_null(strstr(topics, "KAFKA_CONFIG"));
	assert_int_equal(prepare_close(prepare, 1000), 0);
}

static void a_service_that_is_away_is_waited_for_whatever_the_other_says(void **state) {
	(void)state;
	struct db_config db = db_config();
	struct kafka_config kafka = kafka_config();
	kafka.extra = nonsense;
	struct prepare *prepare = begin(&db, &kafka);
	loop_run(loop);
	assert_int_equal(failed_calls, 1);
	assert_non_null(strstr(failure, "KAFKA_CONFIG"));
	AUTO_FREE char *why = mem_strdup("not asked yet");
	for (int i = 0; i < 5000 && strcmp(why, "not asked yet") == 0; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		free(why);
		assert_false(prepare_schema_done(prepare, &why));
	}
	assert_non_null(strstr(why, "127.0.0.1"));
	assert_int_equal(schema_calls + topics_calls, 0);
	assert_int_equal(prepare_close(prepare, 5000), 0);
	assert_int_equal(prepare_close(NULL, 0), 0);
}

static int start(void **state) {
	(void)state;
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_JSON);
	loop = loop_new();
	schema_calls = topics_calls = failed_calls = 0;
	return 0;
}

static int end(void **state) {
	(void)state;
	free(STEAL(failure));
	loop_free(loop);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_configuration_that_no_time_will_mend_is_told_for_each_service, start, end),
		cmocka_unit_test_setup_teardown(a_service_that_is_away_is_waited_for_whatever_the_other_says, start, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
