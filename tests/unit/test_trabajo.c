#include "lib/giturl.h"
#include "lib/mem.h"
#include "lib/trabajo.h"

#include <librdkafka/rdkafka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KEY "0198a7a0-1111-7000-8000-00000000000a"
#define URL "https://github.com/user/repo.git"

// ---- a record as the consumer would give it; headers by librdkafka itself

struct record {
	struct kafka_message message;
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *event;
};

static rd_kafka_t *client;

static int start(void **state UNUSED) {
	char why[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", why, sizeof(why));
	rd_kafka_conf_set(conf, "log_level", "2", why, sizeof(why));
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
	client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	return client ? 0 : -1;
}

static int stop(void **state UNUSED) {
	rd_kafka_destroy(client);
	return 0;
}

// A delivery report holds the message with its headers: the only way to a message without a consumer.
static void record_make(struct record *record, const char *key, const char *value, size_t length,
	const struct kafka_header *headers, size_t count) {
	rd_kafka_headers_t *list = rd_kafka_headers_new(count);
	for (size_t i = 0; i < count; i++)
		rd_kafka_header_add(list, headers[i].name, -1, headers[i].value, (ssize_t)headers[i].length);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(client, "trabajos", NULL);
	const rd_kafka_vu_t fields[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = list},
	};
	rd_kafka_error_t *failed = rd_kafka_produceva(client, fields, COUNT_OF(fields));
	assert_null(failed);
	rd_kafka_topic_destroy(topic);
	record->queue = rd_kafka_queue_get_main(client);
	record->event = rd_kafka_queue_poll(record->queue, 20000);
	assert_non_null(record->event);
	record->message = (struct kafka_message){.key = key,
		.key_length = key ? strlen(key) : 0,
		.value = value,
		.value_length = length,
		.timestamp_ms = 1700000000123,
		.handle_ = (void *)(uintptr_t)rd_kafka_event_message_next(record->event)};
	assert_non_null(record->message.handle_);
}

static void record_clear(struct record *record) {
	rd_kafka_event_destroy(record->event);
	rd_kafka_queue_destroy(record->queue);
}

static struct kafka_header header(const char *name, const char *value) {
	return (struct kafka_header){name, value, strlen(value)};
}

static enum trabajo_verdict decode(const char *key, const char *value, const struct kafka_header *headers, size_t count,
	struct trabajo *trabajo, struct error *error) {
	struct record record;
	struct giturl_rules *rules = NULL;
	assert_int_equal(giturl_rules_parse("", &rules, NULL), 0);
	record_make(&record, key, value, value ? strlen(value) : 0, headers, count);
	enum trabajo_verdict verdict = trabajo_decode(&record.message, rules, trabajo, error);
	record_clear(&record);
	giturl_rules_free(rules);
	return verdict;
}

// ---- records

static void a_record_as_the_originals_frontend_writes_it_is_a_job_of_nobody(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	struct trabajo trabajo;
	assert_int_equal(decode("0198A7A0-1111-7000-8000-00000000000A", URL, NULL, 0, &trabajo, &error), TRABAJO_FINE);
	assert_string_equal(trabajo.key, KEY);
	assert_string_equal(trabajo.url, URL);
	assert_string_equal(trabajo.owner, TRABAJO_NOBODY);
	assert_string_equal(trabajo.usuario, TRABAJO_NOBODY);
	assert_int_equal(trabajo.posted_ms, 1700000000123);
	assert_null(trabajo.spec.ref);
	assert_int_equal(trabajo.spec.priority, 0);
	assert_int_equal(trabajo.spec.timeout_s, -1);
	assert_int_equal(trabajo.spec.retries, -1);
	trabajo_clear(&trabajo);
}

static void headers_come_back_as_they_were_given(void **state UNUSED) {
	static const char spec[] = "{\"priority\":5,\"ref\":\"v1.0\",\"retries\":2,\"timeout_s\":60}";
	struct trabajo job = {.owner = mem_strdup("f:1:2"), .usuario = mem_strdup("ñandú")}, back;
	struct kafka_header headers[TRABAJO_HEADERS];
	size_t count = trabajo_headers(&job, spec, headers);
	assert_int_equal(count, 3);
	AUTO_ERROR struct error error = {0};
	assert_int_equal(decode(KEY, URL, headers, count, &back, &error), TRABAJO_FINE);
	assert_string_equal(back.owner, "f:1:2");
	assert_string_equal(back.usuario, "ñandú");
	assert_string_equal(back.spec.ref, "v1.0");
	assert_int_equal(back.spec.priority, 5);
	assert_int_equal(back.spec.timeout_s, 60);
	assert_int_equal(back.spec.retries, 2);
	AUTO_FREE char *text = json_write(back.spec.json);
	assert_string_equal(text, spec);
	trabajo_clear(&back);
	assert_int_equal(trabajo_headers(&job, "{}", headers), 2);
	assert_int_equal(trabajo_headers(&job, NULL, headers), 2);
	free(job.owner);
	job.owner = mem_strdup(TRABAJO_NOBODY);
	assert_int_equal(trabajo_headers(&job, NULL, headers), 0);
	trabajo_clear(&job);
}

static void a_record_without_a_usable_key_is_useless(void **state UNUSED) {
	static const char *const keys[] = {NULL, "", "nonsense", KEY "0", "0198a7a0-1111-7000-8000-00000000000g",
		"{198a7a0-1111-7000-8000-00000000000a", "0198a7a011117000800000000000000a0000"};
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		AUTO_ERROR struct error error = {0};
		struct trabajo trabajo;
		assert_int_equal(decode(keys[i], URL, NULL, 0, &trabajo, &error), TRABAJO_USELESS);
		assert_int_equal(error.kind, ERROR_INPUT);
		trabajo_clear(&trabajo);
	}
}

static void a_value_that_is_no_acceptable_url_is_bad_and_can_be_shown(void **state UNUSED) {
	AUTO_FREE char *long_url = mem_zalloc(9001);
	memset(long_url, 'x', 9000);
	memcpy(long_url, "https://a.example/", 18);
	const struct {
		const char *value, *shown;
		enum error_kind kind;
	} cases[] = {
		{NULL, "", ERROR_INPUT},
		{"", "", ERROR_INPUT},
		{"hello", "hello", ERROR_INPUT},
		{"https://a.example/\x01\x1b[31m", "https://a.example/??[31m", ERROR_INPUT},
		{"\xff\xfe", "??", ERROR_INPUT},
		{"https://127.0.0.1/x", "https://127.0.0.1/x", ERROR_DENIED},
		{"file:///etc/passwd", "file:///etc/passwd", ERROR_DENIED},
		{long_url, NULL, ERROR_INPUT},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_ERROR struct error error = {0};
		struct trabajo trabajo;
		assert_int_equal(decode(KEY, cases[i].value, NULL, 0, &trabajo, &error), TRABAJO_BAD);
		assert_int_equal(error.kind, cases[i].kind);
		assert_string_equal(trabajo.key, KEY);
		assert_string_equal(trabajo.owner, TRABAJO_NOBODY);
		assert_int_equal(trabajo.posted_ms, 1700000000123);
		if (cases[i].shown) assert_string_equal(trabajo.url, cases[i].shown);
		assert_true(strlen(trabajo.url) <= TRABAJO_URL_MAX);
		trabajo_clear(&trabajo);
	}
}

static void a_nul_in_the_value_is_bad(void **state UNUSED) {
	struct record record;
	struct trabajo trabajo;
	record_make(&record, KEY, URL "\0x", strlen(URL) + 2, NULL, 0);
	assert_int_equal(trabajo_decode(&record.message, NULL, &trabajo, NULL), TRABAJO_BAD);
	assert_string_equal(trabajo.url, URL "?x");
	trabajo_clear(&trabajo);
	record_clear(&record);
}

static void nobodys_name_cannot_be_taken(void **state UNUSED) {
	const struct kafka_header headers[] = {header("sub", "kafka"), header("usuario", "mallory"), header("role", "admin")};
	struct trabajo trabajo;
	assert_int_equal(decode(KEY, URL, headers, 3, &trabajo, NULL), TRABAJO_FINE);
	assert_false(trabajo.admin);
	assert_string_equal(trabajo.owner, TRABAJO_NOBODY);
	assert_string_equal(trabajo.usuario, TRABAJO_NOBODY);
	trabajo_clear(&trabajo);
}

static void a_usuario_without_a_sub_counts_for_nothing(void **state UNUSED) {
	const struct kafka_header headers[] = {header("usuario", "alicia"), header("sub", "")};
	struct trabajo trabajo;
	assert_int_equal(decode(KEY, URL, headers, 2, &trabajo, NULL), TRABAJO_FINE);
	assert_string_equal(trabajo.owner, TRABAJO_NOBODY);
	assert_string_equal(trabajo.usuario, TRABAJO_NOBODY);
	trabajo_clear(&trabajo);
}

static void headers_that_cannot_be_used_make_a_bad_job(void **state UNUSED) {
	AUTO_FREE char *longest = mem_zalloc(301);
	memset(longest, 'x', 300);
	const struct {
		struct kafka_header headers[2];
		const char *owner;
	} cases[] = {
		{{header("sub", "\xff"), header("usuario", "a")}, TRABAJO_NOBODY},
		{{header("sub", longest), header("usuario", "a")}, TRABAJO_NOBODY},
		{{header("sub", "a\nb"), header("usuario", "a")}, TRABAJO_NOBODY},
		{{header("sub", "alicia"), header("usuario", "\xff")}, "alicia"},
		{{header("sub", "alicia"), header("usuario", longest)}, "alicia"},
		{{header("sub", "alicia"), header("spec", "{")}, "alicia"},
		{{header("sub", "alicia"), header("spec", "[]")}, "alicia"},
		{{header("sub", "alicia"), header("spec", "{\"priority\":1000}")}, "alicia"},
		{{header("sub", "alicia"), header("spec", "{\"ref\":\"a\\u0000b\"}")}, "alicia"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_ERROR struct error error = {0};
		struct trabajo trabajo;
		assert_int_equal(decode(KEY, URL, cases[i].headers, 2, &trabajo, &error), TRABAJO_BAD);
		assert_int_equal(error.kind, ERROR_INPUT);
		assert_non_null(strstr(error_text(&error), "header"));
		assert_string_equal(trabajo.owner, cases[i].owner);
		assert_true(strlen(trabajo.usuario) <= TRABAJO_USUARIO_MAX);
		assert_string_equal(trabajo.url, URL);
		trabajo_clear(&trabajo);
	}
}

// ---- specs

static int read_spec(const char *text, struct trabajo_spec *spec, struct error *error) {
	AUTO_JSON json_t *json = NULL;
	assert_int_equal(json_read(text, strlen(text), 1 << 20, &json, NULL), 0);
	return trabajo_spec_read(json, spec, error);
}

static void a_whole_spec_is_read(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	struct trabajo_spec spec;
	if (read_spec(
		    "{\"ref\":\"refs/heads/main\",\"priority\":-100,\"timeout_s\":86400,\"retries\":100,\"concurrency_key\":\"deploy\","
		    "\"labels\":{\"team\":\"a\"},\"env\":{\"_A1\":\"x y\",\"CI_TOKEN\":\"\"}}",
		    &spec, &error))
		fail_msg("%s", error_text(&error));
	assert_string_equal(spec.ref, "refs/heads/main");
	assert_int_equal(spec.priority, -100);
	assert_int_equal(spec.timeout_s, 86400);
	assert_int_equal(spec.retries, 100);
	assert_int_equal(json_object_size(spec.json), 7);
	trabajo_spec_clear(&spec);
}

static void null_members_are_as_good_as_none(void **state UNUSED) {
	struct trabajo_spec spec;
	assert_int_equal(read_spec("{\"ref\":null,\"priority\":null,\"timeout_s\":null,\"env\":null}", &spec, NULL), 0);
	assert_null(spec.ref);
	assert_int_equal(spec.timeout_s, -1);
	assert_int_equal(json_object_size(spec.json), 0);
	trabajo_spec_clear(&spec);
	assert_int_equal(trabajo_spec_read(NULL, &spec, NULL), 0);
	assert_int_equal(json_object_size(spec.json), 0);
	trabajo_spec_clear(&spec);
}

static void a_bad_member_is_named(void **state UNUSED) {
	static const struct {
		const char *text, *named;
	} cases[] = {
		{"[]", "spec"},
		{"{\"url\":\"x\"}", "url"},
		{"{\"nonsense\\u001b\":1}", "nonsense?"},
		{"{\"ref\":5}", "ref"},
		{"{\"ref\":\"a..b\"}", "ref"},
		{"{\"priority\":101}", "priority"},
		{"{\"priority\":\"5\"}", "priority"},
		{"{\"priority\":5.5}", "priority"},
		{"{\"timeout_s\":0}", "timeout_s"},
		{"{\"timeout_s\":86401}", "timeout_s"},
		{"{\"retries\":-1}", "retries"},
		{"{\"concurrency_key\":\"\"}", "concurrency_key"},
		{"{\"concurrency_key\":7}", "concurrency_key"},
		{"{\"concurrency_key\":\"a\\nb\"}", "concurrency_key"},
		{"{\"labels\":[]}", "labels"},
		{"{\"labels\":{\"a\":1}}", "labels"},
		{"{\"labels\":{\"\":\"x\"}}", "labels"},
		{"{\"env\":\"A=1\"}", "env"},
		{"{\"env\":{\"A\":1}}", "env"},
		{"{\"env\":{\"1A\":\"x\"}}", "env"},
		{"{\"env\":{\"A-B\":\"x\"}}", "env"},
		{"{\"env\":{\"\":\"x\"}}", "env"},
		{"{\"env\":{\"PATH\":\"x\"}}", "env"},
		{"{\"env\":{\"HOME\":\"x\"}}", "env"},
		{"{\"env\":{\"LANG\":\"x\"}}", "env"},
		{"{\"env\":{\"CI\":\"x\"}}", "env"},
		{"{\"env\":{\"TRABAJO_KEY\":\"x\"}}", "env"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_ERROR struct error error = {0};
		struct trabajo_spec spec;
		if (!read_spec(cases[i].text, &spec, &error)) fail_msg("%s was taken", cases[i].text);
		assert_int_equal(error.kind, ERROR_INPUT);
		if (!strstr(error_text(&error), cases[i].named)) fail_msg("%s: %s", cases[i].text, error_text(&error));
	}
}

static void what_is_too_much_is_refused(void **state UNUSED) {
	struct trabajo_spec spec;
	AUTO_JSON json_t *many = json_object();
	for (int i = 0; i < 33; i++) {
		AUTO_FREE char *name = mem_format("l%d", i);
		json_object_set_new(many, name, json_string("x"));
	}
	AUTO_JSON json_t *labels = json_pack("{sO}", "labels", many);
	assert_int_equal(trabajo_spec_read(labels, &spec, NULL), -1);
	json_object_del(many, "l0");
	assert_int_equal(trabajo_spec_read(labels, &spec, NULL), 0);
	trabajo_spec_clear(&spec);

	AUTO_FREE char *big = mem_zalloc(32768);
	memset(big, 'x', 32767);
	AUTO_JSON json_t *env = json_pack("{s{ss}}", "env", "A", big);
	AUTO_ERROR struct error error = {0};
	assert_int_equal(trabajo_spec_read(env, &spec, &error), -1);
	assert_null(strstr(error_text(&error), "xxx"));
	big[32768 - 3] = '\0';
	AUTO_JSON json_t *fits = json_pack("{s{ss}}", "env", "A", big);
	assert_int_equal(trabajo_spec_read(fits, &spec, NULL), 0);
	trabajo_spec_clear(&spec);
}

static void refs_follow_gits_own_rules(void **state UNUSED) {
	static const char *const good[] = {"main", "feature/x", "refs/tags/v1.0", "v1.0-rc.1", "HEAD", "a@b", "ñ",
		"0123456789abcdef0123456789abcdef01234567"};
	static const char *const bad[] = {"", "-x", "a..b", ".a", "a/.b", "a/", "/a", "a//b", "a.lock", "a.lock/b", "a.", "@",
		"a@{1}", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a\nb", "a\x7f", "\xff"};
	for (size_t i = 0; i < COUNT_OF(good); i++)
		if (trabajo_ref_check(good[i], NULL)) fail_msg("%s was refused", good[i]);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_ERROR struct error error = {0};
		if (!trabajo_ref_check(bad[i], &error)) fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(error.kind, ERROR_INPUT);
	}
	char longest[TRABAJO_REF_MAX + 2];
	memset(longest, 'a', sizeof(longest));
	longest[TRABAJO_REF_MAX + 1] = '\0';
	assert_int_equal(trabajo_ref_check(longest, NULL), -1);
	longest[TRABAJO_REF_MAX] = '\0';
	assert_int_equal(trabajo_ref_check(longest, NULL), 0);
}

static void equal_bodies_have_equal_fingerprints(void **state UNUSED) {
	static const char *const specs[] = {"{\"priority\":1,\"labels\":{\"a\":\"1\",\"b\":\"2\"}}",
		"{ \"labels\": {\"b\":\"2\", \"a\":\"1\"}, \"priority\": 1 }",
		"{\"priority\":2,\"labels\":{\"a\":\"1\",\"b\":\"2\"}}"};
	char prints[4][65];
	for (size_t i = 0; i < COUNT_OF(specs); i++) {
		char url[] = URL;
		struct trabajo trabajo = {.url = url};
		assert_int_equal(read_spec(specs[i], &trabajo.spec, NULL), 0);
		trabajo_fingerprint(&trabajo, prints[i]);
		if (!i) {
			url[8] = 'G';
			trabajo_fingerprint(&trabajo, prints[3]);
		}
		trabajo_spec_clear(&trabajo.spec);
	}
	assert_int_equal(strlen(prints[0]), 64);
	assert_string_equal(prints[0], prints[1]);
	assert_string_not_equal(prints[0], prints[2]);
	assert_string_not_equal(prints[0], prints[3]);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_as_the_originals_frontend_writes_it_is_a_job_of_nobody),
		cmocka_unit_test(headers_come_back_as_they_were_given),
		cmocka_unit_test(a_record_without_a_usable_key_is_useless),
		cmocka_unit_test(a_value_that_is_no_acceptable_url_is_bad_and_can_be_shown),
		cmocka_unit_test(a_nul_in_the_value_is_bad),
		cmocka_unit_test(nobodys_name_cannot_be_taken),
		cmocka_unit_test(a_usuario_without_a_sub_counts_for_nothing),
		cmocka_unit_test(headers_that_cannot_be_used_make_a_bad_job),
		cmocka_unit_test(a_whole_spec_is_read),
		cmocka_unit_test(null_members_are_as_good_as_none),
		cmocka_unit_test(a_bad_member_is_named),
		cmocka_unit_test(what_is_too_much_is_refused),
		cmocka_unit_test(refs_follow_gits_own_rules),
		cmocka_unit_test(equal_bodies_have_equal_fingerprints),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
