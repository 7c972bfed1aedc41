// What a request is read as, and which answers the server gives by itself.
#include "lib/json.h"
#include "lib/metrics.h"
#include "tests/unit/http_rig.h"

static struct rig *rig;

static void hello(struct http_request *request, void *arg) {
	(void)arg;
	http_answer_text(request, 200, "text/plain", "hello\n");
}

static void set_value(json_t *object, const char *name, const char *value, size_t length) {
	char *hex = mem_strdup("");
	for (size_t i = 0; i < length; i++) {
		char *longer = mem_format("%s%02x", hex, (unsigned char)value[i]);
		free(hex);
		hex = longer;
	}
	json_object_set_new(object, name, json_string(hex));
	free(hex);
}

// Says what it was asked, values in hexadecimal.
static void echo(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_JSON json_t *object = json_object();
	size_t length = 0;
	const char *a = http_param(request, "a", &length);
	if (a) set_value(object, "a", a, length);
	json_object_set_new(object, "count", json_integer(http_param_count(request, "a")));
	const char *body = http_body(request, &length);
	set_value(object, "body", body, length);
	const char *header = http_header(request, "x-given");
	if (header) set_value(object, "header", header, strlen(header));
	json_object_set_new(object, "headers", json_integer(http_header_count(request, "X-Given")));
	json_object_set_new(object, "method", json_string(http_method(request)));
	json_object_set_new(object, "path", json_string(http_path(request)));
	json_object_set_new(object, "client", json_string(http_client(request)));
	json_object_set_new(object, "left", json_boolean(http_deadline_left_ms(request) > 4000));
	AUTO_FREE char *text = json_write(object);
	http_answer_text(request, 200, "application/json", text);
}

static void with_headers(struct http_request *request, void *arg) {
	(void)arg;
	http_answer_header(request, "Cache-Control", "max-age=60");
	http_answer_header(request, "Location", "/there");
	http_answer_header(request, "X-Bad", "a\r\nX-Injected: yes");
	http_answer(request, 201, NULL, NULL, 0);
}

static void with_problem(struct http_request *request, void *arg) {
	(void)arg;
	http_answer_header(request, "WWW-Authenticate", "Bearer");
	http_problem(request, &(struct http_problem){.status = 429,
				      .type = "urn:trabajos:rate",
				      .title = "Slow down",
				      .detail = "ñ \"quoted\"",
				      .extra = "{\"key\":\"k\"}",
				      .retry_after_s = 7});
	http_answer_text(request, 200, "text/plain", "a second answer is nothing");
}

static const struct http_route routes[] = {
	{"/hello", "GET POST", hello},
	{"/only-post", "POST", echo},
	{"/twice", "PUT", echo},
	{"/twice", "GET", echo},
	{"/echo", "GET POST HEAD", echo},
	{"/headers", "GET", with_headers},
	{"/problem", "GET", with_problem},
	{"/files/*", "GET", echo},
	{"/files/one", "DELETE", echo},
};

static int setup(void **state) {
	(void)state;
	struct http_config config = RIG_CONFIG(routes);
	config.body_bytes = 3000;
	config.trusted_proxies = "127.0.0.0/9, 10.1.2.3,2001:db8::/33";
	rig = rig_open(config);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	rig_close(rig);
	return 0;
}

static struct reply get(const char *target) {
	AUTO_FREE char *text = mem_format("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
	return rig_ask(rig, text);
}

static struct reply post(const char *target, const char *headers, const char *body) {
	AUTO_FREE char *text = mem_format(
		"POST %s HTTP/1.1\r\nHost: h\r\n%sContent-Length: %zu\r\n\r\n%s", target, headers, strlen(body), body);
	return rig_ask(rig, text);
}

static json_t *parsed(const struct reply *reply) {
	json_t *json = NULL;
	AUTO_ERROR struct error error = {.kind = ERROR_NONE};
	if (json_read(reply->body, reply->length, 100000, &json, &error) != 0)
		fail_msg("%s: %s", error_text(&error), reply->body);
	return json;
}

static void assert_member(const struct reply *reply, const char *name, const char *value) {
	AUTO_JSON json_t *json = parsed(reply);
	const char *got = json_text(json, name);
	if (value)
		assert_string_equal(got ? got : "(absent)", value);
	else
		assert_null(got);
}

static void assert_problem(const struct reply *reply, int status) {
	assert_int_equal(reply->status, status);
	assert_true(reply_has(reply, "Content-Type", "application/problem+json"));
	AUTO_JSON json_t *json = parsed(reply);
	AUTO_FREE char *id = reply_header(reply, "X-Request-Id");
	assert_int_equal(json_integer_value(json_object_get(json, "status")), status);
	assert_non_null(json_text(json, "title"));
	assert_non_null(json_text(json, "detail"));
	assert_string_equal(json_text(json, "type"), "about:blank");
	assert_string_equal(json_text(json, "request_id"), id);
}

static void an_answer_has_its_length_and_the_safe_headers(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = get("/hello");
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "hello\n");
	assert_true(reply_has(&reply, "Content-Length", "6"));
	assert_true(reply_has(&reply, "Content-Type", "text/plain"));
	assert_true(reply_has(&reply, "Cache-Control", "no-store"));
	assert_true(reply_has(&reply, "X-Content-Type-Options", "nosniff"));
	AUTO_FREE char *id = reply_header(&reply, "X-Request-Id");
	assert_int_equal(strlen(id), 36);
}

static void headers_of_the_handler_are_sent_and_line_breaks_are_not(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = get("/headers");
	assert_int_equal(reply.status, 201);
	assert_true(reply_has(&reply, "Location", "/there"));
	assert_true(reply_has(&reply, "Cache-Control", "max-age=60"));
	assert_null(strstr(reply.head, "no-store"));
	assert_null(strstr(reply.head, "X-Injected"));
	assert_true(reply_has(&reply, "Content-Length", "0"));
}

static void a_request_id_of_the_client_is_taken_if_it_is_harmless(void **state) {
	(void)state;
	AUTO_REPLY struct reply good = rig_ask(rig, "GET /hello HTTP/1.1\r\nHost: h\r\nX-Request-Id: abc.DEF_1-2\r\n\r\n");
	assert_true(reply_has(&good, "X-Request-Id", "abc.DEF_1-2"));
	AUTO_REPLY struct reply bad = rig_ask(rig, "GET /hello HTTP/1.1\r\nHost: h\r\nX-Request-Id: a b<c\r\n\r\n");
	AUTO_FREE char *id = reply_header(&bad, "X-Request-Id");
	assert_int_equal(strlen(id), 36);
}

static void a_problem_document_says_what_and_carries_the_request_id(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = get("/problem");
	assert_int_equal(reply.status, 429);
	assert_true(reply_has(&reply, "Retry-After", "7"));
	assert_true(reply_has(&reply, "WWW-Authenticate", "Bearer"));
	assert_true(reply_has(&reply, "Content-Type", "application/problem+json"));
	assert_member(&reply, "type", "urn:trabajos:rate");
	assert_member(&reply, "title", "Slow down");
	assert_member(&reply, "detail", "ñ \"quoted\"");
	assert_member(&reply, "key", "k");
	rig_await(&rig->finished, 1);
	assert_int_equal(rig->last_status, 429);
}

static void head_gets_the_headers_of_get(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = rig_ask(rig, "HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(reply.status, 200);
	assert_true(reply_has(&reply, "Content-Length", "6"));
	AUTO_REPLY struct reply none = rig_ask(rig, "HEAD /only-post HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(none.status, 405);
}

static void another_method_is_405_with_allow(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = rig_ask(rig, "DELETE /hello HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_problem(&reply, 405);
	assert_true(reply_has(&reply, "Allow", "GET, POST, HEAD, OPTIONS"));
	AUTO_REPLY struct reply twice = rig_ask(rig, "POST /twice HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
	assert_problem(&twice, 405);
	assert_true(reply_has(&twice, "Allow", "PUT, GET, HEAD, OPTIONS"));
}

static void options_lists_the_methods(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = rig_ask(rig, "OPTIONS /only-post HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(reply.status, 204);
	assert_true(reply_has(&reply, "Allow", "POST, OPTIONS"));
	AUTO_REPLY struct reply all = rig_ask(rig, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(all.status, 204);
	AUTO_REPLY struct reply none = rig_ask(rig, "OPTIONS /none HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_problem(&none, 404);
}

static void an_unknown_path_is_404(void **state) {
	(void)state;
	const char *paths[] = {"/", "/hell", "/hello/", "/files", "/none?a=b", "*"};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		AUTO_REPLY struct reply reply = get(paths[i]);
		assert_problem(&reply, 404);
	}
}

static void a_prefix_takes_what_is_below_it_and_an_exact_path_comes_first(void **state) {
	(void)state;
	AUTO_REPLY struct reply below = get("/files/a%20b/c");
	assert_member(&below, "path", "/files/a b/c");
	AUTO_REPLY struct reply exact = get("/files/one");
	assert_problem(&exact, 405);
	assert_true(reply_has(&exact, "Allow", "DELETE, OPTIONS"));
}

static void parameters_are_decoded(void **state) {
	(void)state;
	static const struct {
		const char *query, *hex;
		int count;
	} cases[] = {
		{"", NULL, 0},
		{"?b=1", NULL, 0},
		{"?a", "", 1},
		{"?a=", "", 1},
		{"?&&a=x&", "78", 1},
		{"?a=1+2%2B3", "3120322b33", 1},
		{"?a=%c3%B1", "c3b1", 1},
		{"?a=x%00y", "780079", 1},
		{"?a=1&a=2", "31", 2},
		{"?%61=z", "7a", 1},
		{"?a=b=c?d/e:f", "623d633f642f653a66", 1},
		{"?a%00=1&a=2", "32", 1},
		{"?A=1", NULL, 0},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_FREE char *target = mem_format("/echo%s", cases[i].query);
		AUTO_REPLY struct reply reply = get(target);
		assert_int_equal(reply.status, 200);
		assert_member(&reply, "a", cases[i].hex);
		AUTO_JSON json_t *json = parsed(&reply);
		assert_int_equal(json_integer_value(json_object_get(json, "count")), cases[i].count);
	}
}

static void a_target_that_is_malformed_is_400(void **state) {
	(void)state;
	const char *targets[] = {"/echo?a=%", "/echo?a=%4", "/echo?a=%zz", "/echo?a=%ff", "/echo?a=%c0%80", "/echo?%ed%a0%80",
		"/ec%ho", "/echo%00", "/%c3", "echo", "ftp://h/echo", "h:80", "/a#b", "/a\x7f"};
	for (size_t i = 0; i < COUNT_OF(targets); i++) {
		AUTO_REPLY struct reply reply = get(targets[i]);
		assert_problem(&reply, 400);
	}
	const char *spaced[] = {"/a b", "/a\tb", "/a HTTP/1.1 x"}; // libmicrohttpd may have refused these before us
	for (size_t i = 0; i < COUNT_OF(spaced); i++) {
		AUTO_REPLY struct reply reply = get(spaced[i]);
		assert_int_equal(reply.status, 400);
	}
}

static void an_absolute_target_is_its_path(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = get("http://somewhere:81/echo?a=1");
	assert_member(&reply, "path", "/echo");
	assert_member(&reply, "a", "31");
	AUTO_REPLY struct reply bare = get("HTTP://somewhere");
	assert_problem(&bare, 404);
	AUTO_REPLY struct reply query = get("https://somewhere?a=1");
	assert_problem(&query, 404);
}

static void a_form_is_read_where_the_query_says_nothing(void **state) {
	(void)state;
	const char *type = "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n";
	AUTO_REPLY struct reply form = post("/echo", type, "b=1&a=%31+2");
	assert_member(&form, "a", "312032");
	AUTO_REPLY struct reply both = post("/echo?a=q", type, "a=f");
	assert_member(&both, "a", "71");
	AUTO_JSON json_t *json = parsed(&both);
	assert_int_equal(json_integer_value(json_object_get(json, "count")), 2);
	AUTO_REPLY struct reply other = post("/echo", "Content-Type: text/plain\r\n", "a=f");
	assert_member(&other, "a", NULL);
	assert_member(&other, "body", "613d66");
	AUTO_REPLY struct reply bad = post("/echo", type, "a=%f");
	assert_problem(&bad, 400);
}

static void a_form_of_too_many_fields_is_400(void **state) {
	(void)state;
	char body[2002];
	for (size_t i = 0; i < sizeof(body); i++) body[i] = i % 2 ? '&' : 'x';
	body[2001] = '\0';
	AUTO_REPLY struct reply many = post("/echo", "Content-Type: application/x-www-form-urlencoded\r\n", body);
	assert_problem(&many, 400);
	body[2000] = '\0';
	AUTO_REPLY struct reply enough = post("/echo", "Content-Type: application/x-www-form-urlencoded\r\n", body);
	assert_int_equal(enough.status, 200);
}

static void a_chunked_body_is_put_together(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = rig_ask(rig, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
						     "3\r\nabc\r\n1\r\nd\r\n0\r\nX-Trailer: t\r\n\r\n");
	assert_member(&reply, "body", "61626364");
}

static void headers_are_found_whatever_their_case_and_counted(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply =
		rig_ask(rig, "GET /echo HTTP/1.1\r\nHost: h\r\nX-GIVEN:  one \t\r\nx-given: two\r\n\r\n");
	assert_member(&reply, "header", "6f6e65");
	AUTO_JSON json_t *json = parsed(&reply);
	assert_int_equal(json_integer_value(json_object_get(json, "headers")), 2);
}

static void what_two_readers_could_frame_differently_is_refused(void **state) {
	(void)state;
	static const struct {
		const char *headers;
		int status;
	} cases[] = {
		{"", 400},
		{"Host: a\r\nHost: b\r\n", 400},
		{"Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400},
		{"Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400},
		{"Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501},
		{"Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 501},
		{"Host: a\r\nContent-Length : 1\r\n", 400},
		{"Host: a\r\nX(: 1\r\n", 400},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_FREE char *text = mem_format("POST /echo HTTP/1.1\r\n%s\r\n", cases[i].headers);
		int fd = rig_dial(rig);
		rig_say(fd, text);
		AUTO_REPLY struct reply reply = rig_read(fd, false);
		// Later versions of libmicrohttpd refuse some of these by themselves, in their own form.
		if (reply.status == cases[i].status && strstr(reply.head, "problem+json"))
			assert_problem(&reply, cases[i].status);
		assert_in_range(reply.status, 400, 501);
		assert_true(rig_ended(fd));
		close(fd);
	}
}

static void http_1_0_is_served_and_closed(void **state) {
	(void)state;
	int fd = rig_dial(rig);
	rig_say(fd, "GET /hello HTTP/1.0\r\n\r\n");
	AUTO_REPLY struct reply reply = rig_read(fd, false);
	assert_int_equal(reply.status, 200);
	assert_true(rig_ended(fd));
	close(fd);
}

static void nonsense_is_answered_400_or_cut(void **state) {
	(void)state;
	const char *texts[] = {
		"\x16\x03\x01\x02\x00\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / FTP/1.1\r\n\r\n"};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		AUTO_REPLY struct reply reply = rig_ask(rig, texts[i]);
		assert_true(reply.status == 0 || (reply.status >= 400 && reply.status <= 505));
	}
}

static struct reply from_proxy(const char *forwarded) {
	AUTO_FREE char *text = mem_format("GET /echo HTTP/1.1\r\nHost: h\r\n%s\r\n", forwarded);
	return rig_ask(rig, text);
}

static void the_client_is_the_last_forwarded_address_that_is_no_proxy(void **state) {
	(void)state;
	static const struct {
		const char *forwarded, *client;
	} cases[] = {
		{"", "127.0.0.1"},
		{"X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"},
		{"X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", "192.0.2.1"},
		{"X-Forwarded-For: 6.6.6.6, 192.0.2.1 , 10.1.2.3,127.9.9.9\r\n", "192.0.2.1"},
		{"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 10.1.2.3\r\n", "192.0.2.7"},
		{"X-Forwarded-For: 10.1.2.3, 127.1.1.1\r\n", "10.1.2.3"},
		{"X-Forwarded-For: 192.0.2.1, nonsense\r\n", "127.0.0.1"},
		{"X-Forwarded-For: 192.0.2.1, nonsense, 10.1.2.3\r\n", "10.1.2.3"},
		{"X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1"},
		{"X-Forwarded-For: 2001:DB9::1\r\n", "2001:db9::1"},
		{"X-Forwarded-For: [2001:db9::1]:80\r\n", "2001:db9::1"},
		{"X-Forwarded-For: 192.0.2.9, 2001:db8:7fff::1\r\n", "192.0.2.9"},
		{"X-Forwarded-For: 192.0.2.9, 2001:db8:8000::1\r\n", "2001:db8:8000::1"},
		{"X-Forwarded-For: ::ffff:192.0.2.9\r\n", "192.0.2.9"},
		{"X-Forwarded-For:\r\n", "127.0.0.1"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_REPLY struct reply reply = from_proxy(cases[i].forwarded);
		assert_member(&reply, "client", cases[i].client);
	}
}

static void forwarded_addresses_of_strangers_do_not_count(void **state) {
	(void)state;
	int fd = rig_dial_from(rig, "127.200.0.1");
	rig_say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
	AUTO_REPLY struct reply reply = rig_read(fd, false);
	assert_member(&reply, "client", "127.200.0.1");
	close(fd);
}

static void a_bad_place_to_listen_or_proxy_is_one_clear_line(void **state) {
	(void)state;
	struct loop *loop = loop_new();
	struct http_server *server = NULL;
	AUTO_ERROR struct error error = {.kind = ERROR_NONE};
	struct http_config config = RIG_CONFIG(routes);
	AUTO_FREE char *taken = mem_format("127.0.0.1:%u", rig->port);
	AUTO_FREE char *line = mem_format("cannot listen on %s: Address already in use", taken);
	config.listen = taken;
	assert_int_equal(http_server_open(loop, &config, &server, &error), -1);
	assert_int_equal(error.kind, ERROR_UNAVAILABLE);
	assert_string_equal(error_text(&error), line);
	config.listen = "no.such.host.invalid:1";
	assert_int_equal(http_server_open(loop, &config, &server, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	config.listen = "127.0.0.1:0";
	const char *proxies[] = {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/a", "10.0.0.0/8x", "::/129", "host", "1.2.3",
		"10.0.0.0/8 10.1.0.0/16", "10.0.0.1 10.0.0.2", "10.0.0.1,::1 ::2"};
	for (size_t i = 0; i < COUNT_OF(proxies); i++) {
		config.trusted_proxies = proxies[i];
		assert_int_equal(http_server_open(loop, &config, &server, &error), -1);
		assert_int_equal(error.kind, ERROR_INPUT);
	}
	loop_free(loop);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_answer_has_its_length_and_the_safe_headers),
		T(headers_of_the_handler_are_sent_and_line_breaks_are_not),
		T(a_request_id_of_the_client_is_taken_if_it_is_harmless),
		T(a_problem_document_says_what_and_carries_the_request_id),
		T(head_gets_the_headers_of_get),
		T(another_method_is_405_with_allow),
		T(options_lists_the_methods),
		T(an_unknown_path_is_404),
		T(a_prefix_takes_what_is_below_it_and_an_exact_path_comes_first),
		T(parameters_are_decoded),
		T(a_target_that_is_malformed_is_400),
		T(an_absolute_target_is_its_path),
		T(a_form_is_read_where_the_query_says_nothing),
		T(a_form_of_too_many_fields_is_400),
		T(a_chunked_body_is_put_together),
		T(headers_are_found_whatever_their_case_and_counted),
		T(what_two_readers_could_frame_differently_is_refused),
		T(http_1_0_is_served_and_closed),
		T(nonsense_is_answered_400_or_cut),
		T(the_client_is_the_last_forwarded_address_that_is_no_proxy),
		T(forwarded_addresses_of_strangers_do_not_count),
		T(a_bad_place_to_listen_or_proxy_is_one_clear_line),
	};
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
