// What an answer makes of the request's headers.
#include "lib/gzip.h"
#include "tests/unit/http_rig.h"

static struct rig *rig;

static void origin(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_FREE char *text = http_origin(request);
	http_answer_text(request, 200, "text/plain", text ? text : "none");
}

static void language(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_FREE char *text = mem_format("%zu", http_language(request));
	http_answer_language(request);
	http_answer_text(request, 200, "text/plain", text);
}

static void coding(struct http_request *request, void *arg) {
	(void)arg;
	http_answer_text(request, 200, "text/plain", http_accepts_coding(request, "gzip") ? "yes" : "no");
}

#define LARGE 100000

static void large(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_FREE char *body = mem_zalloc(LARGE);
	memset(body, 'a', LARGE);
	http_answer_packed(request);
	http_answer(request, 200, "text/plain", body, LARGE);
}

static void problem(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_FREE char *detail = mem_zalloc(LARGE + 1);
	memset(detail, 'a', LARGE);
	http_answer_packed(request);
	http_problem(request, &(struct http_problem){.status = 400, .title = "A title", .detail = detail});
}

struct source {
	struct http_request *request;
	struct loop_timer *timer;
	int left;
	bool ready;
};

static void source_wakes(void *arg) {
	struct source *source = arg;
	source->ready = true;
	http_stream_wake(source->request);
}

// A block, a pause, a block, …
static ssize_t source_more(char *buffer, size_t size, void *arg) {
	struct source *source = arg;
	if (source->left == 0) return -1;
	if (!source->ready) {
		loop_timer_set(source->timer, 1);
		return 0;
	}
	source->ready = false;
	source->left--;
	size_t part = size < 10000 ? size : 10000;
	memset(buffer, 'a', part);
	return (ssize_t)part;
}

static void source_gone(void *arg) {
	struct source *source = arg;
	loop_timer_free(source->timer);
	free(source);
	rig->streams_over++;
}

static void stream(struct http_request *request, void *arg) {
	(void)arg;
	struct source *source = mem_zalloc(sizeof *source);
	*source = (struct source){.request = request, .left = 10};
	source->timer = loop_timer_new(rig->loop, source_wakes, source);
	http_answer_packed(request);
	http_stream(request, 200, "text/plain", source_more, source_gone, source);
}

static const struct http_route routes[] = {
	{"/origin", "GET", origin},
	{"/language", "GET", language},
	{"/coding", "GET", coding},
	{"/large", "GET", large},
	{"/problem", "GET POST", problem},
	{"/stream", "GET", stream},
};

static const char *const languages[] = {"en", "es", NULL};

static char *translate(size_t to, const char *text) {
	return mem_format("[%zu] %.10s", to, text);
}

static int setup(void **state) {
	(void)state;
	struct http_config config = RIG_CONFIG(routes);
	config.trusted_proxies = "127.0.0.0/9";
	config.languages = languages;
	config.translate = translate;
	config.cors_origins = "https://a.example, http://b.example:81";
	rig = rig_open(config);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	rig_close(rig);
	return 0;
}

static struct reply ask_from(const char *from, const char *path, const char *headers) {
	AUTO_FREE char *text = mem_format("GET %s HTTP/1.1\r\n%s\r\n", path, headers);
	int fd = rig_dial_from(rig, from);
	rig_say(fd, text);
	struct reply reply = rig_read(fd, false);
	close(fd);
	return reply;
}

static void the_origin_is_the_host_that_was_named_and_of_proxies_the_one_before_them(void **state) {
	(void)state;
	static const struct {
		const char *from, *headers, *origin;
	} cases[] = {{"127.0.0.1", "Host: a.example\r\n", "http://a.example"}, {"127.0.0.1", "Host: a:80\r\n", "http://a:80"},
		{"127.0.0.1", "Host: [::1]:3000\r\n", "http://[::1]:3000"}, {"127.0.0.1", "Host: a\"b\r\n", "none"},
		{"127.0.0.1", "Host: a/b\r\n", "none"}, {"127.0.0.1", "Host: \r\n", "none"},
		{"127.0.0.1", "Host: a:\r\n", "none"}, {"127.0.0.1", "Host: a:123456\r\n", "none"},
		{"127.0.0.1", "Host: [::1\r\n", "none"}, {"127.0.0.1", "Host: []\r\n", "none"},
		{"127.0.0.1", "Host: u@a\r\n", "none"},
		{"127.0.0.1", "Host: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.c\r\n", "https://b.c"},
		{"127.0.0.1", "Host: a\r\nX-Forwarded-Proto: gopher\r\n", "http://a"},
		{"127.200.0.1", "Host: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.c\r\n", "http://a"}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_REPLY struct reply reply = ask_from(cases[i].from, "/origin", cases[i].headers);
		assert_int_equal(reply.status, 200);
		assert_string_equal(reply.body, cases[i].origin);
	}
}

static struct reply ask(const char *path, const char *headers) {
	AUTO_FREE char *with_host = mem_format("Host: h\r\n%s", headers);
	return ask_from("127.0.0.1", path, with_host);
}

static void assert_says(const char *path, const char *headers, const char *body) {
	AUTO_REPLY struct reply reply = ask(path, headers);
	assert_int_equal(reply.status, 200);
	if (strcmp(reply.body, body) != 0) fail_msg("%s%s, not %s", headers, reply.body, body);
}

static void the_language_is_the_one_of_most_weight(void **state) {
	(void)state;
	static const struct {
		const char *wish, *chosen;
	} cases[] = {{"es", "1"}, {"en", "0"}, {"ES-mx", "1"}, {"es-ES,es;q=0.9,en;q=0.8", "1"}, {"en-GB, es;q=0.9", "0"},
		{"de", "0"}, {"de, es;q=0.1", "1"}, {"*", "0"}, {"es, *", "1"}, {"en;q=0.5, *;q=0.8", "1"}, {"es;q=0, *", "0"},
		{"es;q=0", "0"}, {"", "0"}, {"est", "0"}, {"es;q=nonsense", "0"}, {"es;q=0.001,en;q=0.000", "1"},
		{"es;q=1.001", "0"}, {" , ,es ; q=1.000", "1"}, {"es;q=0.8,en;q=0.80", "0"}, {"es;x=1", "0"},
		{"en;q=0.3, es-AR;q=0.7, es;q=0.2", "1"}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_FREE char *header = mem_format("Accept-Language: %s\r\n", cases[i].wish);
		assert_says("/language", header, cases[i].chosen);
	}
	assert_says("/language", "", "0");
	AUTO_REPLY struct reply reply = ask("/language", "Accept-Language: es\r\n");
	assert_true(reply_has(&reply, "Content-Language", "es"));
	assert_true(reply_has(&reply, "Vary", "Accept-Language"));
}

static void problems_are_said_in_the_language_of_who_asks(void **state) {
	(void)state;
	AUTO_REPLY struct reply spanish = ask("/problem", "Accept-Language: es\r\n"), english = ask("/problem", "");
	assert_non_null(strstr(spanish.body, "\"[1] A title\""));
	assert_non_null(strstr(spanish.body, "\"[1] aaaaaaaaaa\""));
	assert_true(reply_has(&spanish, "Content-Language", "es"));
	assert_non_null(strstr(english.body, "\"A title\""));
	AUTO_REPLY struct reply own = ask("/nowhere", "Accept-Language: es\r\n");
	assert_non_null(strstr(own.body, "\"[1] there is n\""));
}

static void gzip_is_for_who_takes_it(void **state) {
	(void)state;
	static const struct {
		const char *accepted, *takes;
	} cases[] = {{"gzip", "yes"}, {"GZip;q=0.5, deflate", "yes"}, {"deflate", "no"}, {"gzip;q=0", "no"},
		{"gzip;q=0.000, *", "no"}, {"*", "yes"}, {"*;q=0", "no"}, {"identity", "no"}, {"br, gzip ; q=0.001", "yes"},
		{"xgzip", "no"}, {"gzip;q=2", "no"}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_FREE char *header = mem_format("Accept-Encoding: %s\r\n", cases[i].accepted);
		assert_says("/coding", header, cases[i].takes);
	}
	assert_says("/coding", "", "no");
}

static void assert_unpacks(const struct reply *reply) {
	assert_true(reply_has(reply, "Content-Encoding", "gzip"));
	assert_true(reply->length < LARGE / 10);
	AUTO_FREE char *body = gzip_unpack(reply->body, reply->length, LARGE);
	assert_non_null(body);
	assert_int_equal(strspn(body, "a"), LARGE);
}

static void large_answers_and_streams_are_packed_and_problems_never(void **state) {
	(void)state;
	AUTO_REPLY struct reply packed = ask("/large", "Accept-Encoding: gzip\r\n"), plain = ask("/large", "");
	assert_unpacks(&packed);
	assert_true(reply_has(&packed, "Vary", "Origin"));
	assert_int_equal(plain.length, LARGE);
	assert_true(reply_header(&plain, "Content-Encoding") == NULL);
	AUTO_REPLY struct reply streamed = ask("/stream", "Accept-Encoding: gzip\r\n"), open = ask("/stream", "");
	assert_unpacks(&streamed);
	assert_int_equal(open.length, LARGE);
	AUTO_REPLY struct reply refused = ask("/problem", "Accept-Encoding: gzip\r\n");
	assert_true(refused.length > LARGE && !reply_header(&refused, "Content-Encoding"));
	rig_await(&rig->streams_over, 2);
}

static void a_client_that_leaves_a_packed_stream_ends_it(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, "GET /stream HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
	close(fd);
	rig_await(&rig->streams_over, 1);
}

static void what_is_no_gzip_unpacks_to_nothing(void **state) {
	(void)state;
	size_t length;
	AUTO_FREE char *packed = gzip_pack("some text", 9, &length);
	AUTO_FREE char *same = gzip_unpack(packed, length, 9);
	assert_string_equal(same, "some text");
	assert_null(gzip_unpack(packed, length, 8));
	assert_null(gzip_unpack(packed, length, 10));
	assert_null(gzip_unpack(packed, length - 1, 9));
	assert_null(gzip_unpack("some text", 9, 9));
}

static void pages_of_allowed_origins_may_read_and_others_not(void **state) {
	(void)state;
	static const struct {
		const char *origin;
		bool allowed;
	} cases[] = {{"https://a.example", true}, {"http://b.example:81", true}, {"http://a.example", false},
		{"https://a.example:444", false}, {"https://a.example.evil", false}, {"null", false},
		{"https://a.example, http://b.example:81", false}, {"", false}};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_FREE char *headers = mem_format("Origin: %s\r\n", cases[i].origin);
		AUTO_REPLY struct reply reply = ask("/coding", headers), refused = ask("/nowhere", headers);
		assert_int_equal(reply_has(&reply, "Access-Control-Allow-Origin", cases[i].origin), cases[i].allowed);
		assert_int_equal(reply_has(&refused, "Access-Control-Allow-Origin", cases[i].origin), cases[i].allowed);
		assert_true(reply_has(&reply, "Vary", "Origin"));
		AUTO_FREE char *credentials = reply_header(&reply, "Access-Control-Allow-Credentials");
		assert_null(credentials);
	}
}

static void a_preflight_is_answered_where_the_origin_may(void **state) {
	(void)state;
	AUTO_REPLY struct reply yes = rig_ask(rig, "OPTIONS /problem HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example\r\n"
						   "Access-Control-Request-Method: POST\r\n"
						   "Access-Control-Request-Headers: authorization\r\n\r\n");
	assert_int_equal(yes.status, 204);
	assert_true(reply_has(&yes, "Access-Control-Allow-Origin", "https://a.example"));
	assert_true(reply_has(&yes, "Access-Control-Allow-Methods", "GET, POST, HEAD, OPTIONS"));
	AUTO_FREE char *headers = reply_header(&yes, "Access-Control-Allow-Headers");
	assert_non_null(strstr(headers, "Authorization"));
	AUTO_REPLY struct reply no = rig_ask(rig, "OPTIONS /problem HTTP/1.1\r\nHost: h\r\nOrigin: https://evil\r\n"
						  "Access-Control-Request-Method: POST\r\n\r\n");
	assert_int_equal(no.status, 204);
	assert_true(!reply_header(&no, "Access-Control-Allow-Methods") && !reply_header(&no, "Access-Control-Allow-Origin"));
}

static void what_is_no_origin_is_one_clear_line(void **state) {
	(void)state;
	static const char *const bad[] = {
		"a.example", "https://a.example/", "https://a.example/x", "ftp://a", "https://", "https://a b", "null"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_ERROR struct error error = {.kind = ERROR_NONE};
		AUTO_FREE char *line = mem_format("\"%s\" is no origin, like https://host:port", bad[i]);
		assert_int_equal(http_origins_check(bad[i], &error), -1);
		assert_string_equal(error_text(&error), line);
	}
	assert_int_equal(http_origins_check("", NULL), 0);
	assert_int_equal(http_origins_check("*", NULL), 0);
	assert_int_equal(http_origins_check(" https://a, ,http://[::1]:3000 ", NULL), 0);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_origin_is_the_host_that_was_named_and_of_proxies_the_one_before_them),
		T(the_language_is_the_one_of_most_weight),
		T(problems_are_said_in_the_language_of_who_asks),
		T(gzip_is_for_who_takes_it),
		T(large_answers_and_streams_are_packed_and_problems_never),
		T(a_client_that_leaves_a_packed_stream_ends_it),
		T(what_is_no_gzip_unpacks_to_nothing),
		T(pages_of_allowed_origins_may_read_and_others_not),
		T(a_preflight_is_answered_where_the_origin_may),
		T(what_is_no_origin_is_one_clear_line),
	};
	return cmocka_run_group_tests_name("http negotiation", tests, NULL, NULL);
}
