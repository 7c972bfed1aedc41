#include "lib/kafka.h"
#include "lib/log.h"
#include "lib/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static char nobody[] = "127.0.0.1:1", nothing[] = "";
static const struct kafka_config config = {
	.bootstrap = nobody, .extra = nothing, .partitions = 1, .replication = 1, .retention_h = 1};

static void bad_settings_are_refused_without_showing_them(void **state UNUSED) {
	static char no_such[] = "no.such.setting=s3cret", no_value[] = "sasl.password=a,s3cret", bad[] = "acks=s3cret";
	char *const cases[] = {no_such, no_value, bad};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_ERROR struct error error = {0};
		struct kafka_config wrong = config;
		struct kafka_consumer *consumer;
		wrong.extra = cases[i];
		assert_int_equal(kafka_consumer_open(&wrong, "g", "trabajos", &consumer, &error), -1);
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_non_null(strstr(error_text(&error), "KAFKA_CONFIG"));
		assert_null(strstr(error_text(&error), "s3cret"));
	}
}

static void commas_in_a_setting_are_written_with_a_backslash(void **state UNUSED) {
	static char escaped[] = "client.id=a\\,b\\\\c, client.rack=r ,,linger.ms=1";
	AUTO_ERROR struct error error = {0};
	struct kafka_config good = config;
	struct kafka_consumer *consumer = NULL;
	good.extra = escaped;
	if (kafka_consumer_open(&good, "g", "trabajos", &consumer, &error)) fail_msg("%s", error_text(&error));
	kafka_consumer_close(consumer);
}

static void topics_cannot_be_ensured_without_a_broker(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	int64_t begin = loop_now_ms();
	assert_int_equal(kafka_topics_ensure(&config, 500, &error), -1);
	assert_true(loop_now_ms() - begin < 3000);
	assert_int_equal(error.kind, ERROR_UNAVAILABLE);
	assert_non_null(strstr(error_text(&error), nobody));
}

static int start(void **state UNUSED) {
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_settings_are_refused_without_showing_them),
		cmocka_unit_test(commas_in_a_setting_are_written_with_a_backslash),
		cmocka_unit_test(topics_cannot_be_ensured_without_a_broker),
	};
	return cmocka_run_group_tests(tests, start, NULL);
}
