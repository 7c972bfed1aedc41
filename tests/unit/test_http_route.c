// Which route takes a request, the parameters in its path, and bodies that must be JSON objects.
#include "lib/http_internal.h"
#include "lib/json.h"
#include "tests/unit/http_rig.h"

static void nothing(struct http_request *request, void *arg) {
	(void)request;
	(void)arg;
}

static const struct http_route table[] = {
	{"/", "GET", nothing},
	{"/jobs", "POST", nothing},
	{"/jobs", "GET", nothing},
	{"/jobs/{key}", "GET", nothing},
	{"/jobs/{key}/cancel", "POST", nothing},
	{"/jobs/{key}/files/*", "GET", nothing},
	{"/jobs/{key}/left/{path*}", "GET", nothing},
	{"/jobs/latest", "GET", nothing},
	{"/jobs/*", "DELETE", nothing},
	{"/{a}/{b}/{c}/x", "GET", nothing},
};

static const struct http_route *find(const char *path, const char *method, enum http_rank *rank) {
	return http_route_find(table, COUNT_OF(table), path, method, rank);
}

static void assert_route(const char *method, const char *path, const char *expected) {
	enum http_rank rank;
	const struct http_route *route = find(path, method, &rank);
	if (!route) fail_msg("%s %s: no route", method, path);
	assert_string_equal(route->path, expected);
}

static void assert_refused(const char *method, const char *path, const char *allowed) {
	enum http_rank rank;
	assert_null(find(path, method, &rank));
	assert_int_equal(rank == HTTP_RANK_NONE, allowed == NULL);
	if (!allowed) return;
	AUTO_FREE char *list = http_route_methods(table, COUNT_OF(table), path, rank);
	assert_string_equal(list, allowed);
}

static char *param(const char *path, const char *name) {
	enum http_rank rank;
	size_t length = 0;
	const char *value = http_route_param(find(path, "GET", &rank), path, name, &length);
	return value ? mem_strndup(value, length) : NULL;
}

static void assert_param(const char *path, const char *name, const char *expected) {
	AUTO_FREE char *value = param(path, name);
	if (!expected) assert_null(value);
	if (!expected) return;
	assert_non_null(value);
	assert_string_equal(value, expected);
}

// ---- the table

static void an_exact_path_goes_before_a_parameter_and_that_before_a_prefix(void **state) {
	(void)state;
	assert_route("GET", "/", "/");
	assert_route("GET", "/jobs", "/jobs");
	assert_route("GET", "/jobs/latest", "/jobs/latest");
	assert_route("GET", "/jobs/7", "/jobs/{key}");
	assert_route("POST", "/jobs/7/cancel", "/jobs/{key}/cancel");
	assert_route("GET", "/jobs/7/left/a", "/jobs/{key}/left/{path*}");
	assert_param("/jobs/7/left/a/b//c/", "path", "a/b//c/");
	assert_param("/jobs/7/left/a/b", "key", "7");
	assert_refused("GET", "/jobs/7/left/", "DELETE, OPTIONS");
	assert_route("DELETE", "/jobs/7/anything/else", "/jobs/*");
	assert_route("GET", "/1/2/3/x", "/{a}/{b}/{c}/x");
}

static void a_parameter_is_one_segment_that_is_not_empty(void **state) {
	(void)state;
	assert_refused("GET", "/nothing", NULL);
	assert_refused("GET", "/1//3/x", NULL);
	assert_refused("GET", "/1/2/3/x/", NULL);
	assert_refused("GET", "/1/2/3", NULL);
	assert_refused("GET", "", NULL);
	// empty, or with a slash: only the prefix has such a path
	assert_refused("GET", "/jobs/", "DELETE, OPTIONS");
	assert_refused("GET", "/jobs/7/cancel/", "DELETE, OPTIONS");
	assert_refused("GET", "/jobs/7/files", "DELETE, OPTIONS");
}

static void the_methods_of_one_path_may_stand_in_several_routes(void **state) {
	(void)state;
	enum http_rank rank;
	assert_ptr_equal(find("/jobs", "POST", &rank), &table[1]);
	assert_ptr_equal(find("/jobs", "GET", &rank), &table[2]);
	assert_refused("PUT", "/jobs", "POST, GET, HEAD, OPTIONS");
}

static void a_path_that_is_known_refuses_other_methods_by_those_that_it_has(void **state) {
	(void)state;
	assert_refused("GET", "/jobs/7/cancel", "POST, OPTIONS");
	assert_refused("HEAD", "/jobs/7/cancel", "POST, OPTIONS");
	assert_refused("DELETE", "/jobs/7", "GET, HEAD, OPTIONS");
	assert_refused("get", "/jobs/7", "GET, HEAD, OPTIONS");
}

static void head_goes_where_get_goes(void **state) {
	(void)state;
	assert_route("HEAD", "/jobs", "/jobs");
	assert_route("HEAD", "/jobs/7", "/jobs/{key}");
}

static void a_parameter_is_what_stands_in_its_place(void **state) {
	(void)state;
	assert_param("/jobs/7", "key", "7");
	assert_param("/jobs/7", "ke", NULL);
	assert_param("/jobs/7", "keys", NULL);
	assert_param("/jobs", "key", NULL);
	assert_param("/jobs/{key}", "key", "{key}");
	assert_param("/jobs/a b/files/x/y", "key", "a b");
	assert_param("/1/22/333/x", "b", "22");
	assert_param("/1/22/333/x", "c", "333");
}

// ---- at a server

static void tell_key(struct http_request *request, void *arg) {
	(void)arg;
	const char *key = http_path_param(request, "key"), *other = http_path_param(request, "other");
	AUTO_FREE char *text = mem_format("%s %s", key ? key : "NULL", other ? other : "NULL");
	http_answer_text(request, 200, "text/plain", text);
}

static void tell_object(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_JSON json_t *object = NULL;
	if (http_json(request, &object)) return;
	AUTO_FREE char *text = json_write(object);
	http_answer_text(request, 200, "text/plain", text);
}

static const struct http_route routes[] = {
	{"/tell/{key}", "GET", tell_key},
	{"/object", "POST", tell_object},
};

static struct rig *rig;

static int start(void **state) {
	(void)state;
	rig = rig_open(RIG_CONFIG(routes));
	return 0;
}

static int stop(void **state) {
	(void)state;
	rig_close(rig);
	return 0;
}

static struct reply post(const char *headers, const char *body) {
	AUTO_FREE char *text =
		mem_format("POST /object HTTP/1.1\r\nHost: h\r\n%sContent-Length: %zu\r\n\r\n%s", headers, strlen(body), body);
	return rig_ask(rig, text);
}

#define JSON_TYPE "Content-Type: application/json\r\n"

static void assert_answer(struct reply reply, int status, const char *body) {
	assert_int_equal(reply.status, status);
	if (!strstr(reply.body, body)) fail_msg("%s: not in %s", body, reply.body);
	reply_clear(&reply);
}

static void a_handler_reads_the_parameters_of_its_path_decoded(void **state) {
	(void)state;
	assert_answer(rig_ask(rig, GET("/tell/a%20b?key=other")), 200, "a b NULL");
	assert_answer(rig_ask(rig, GET("/tell/")), 404, "there is no");
	assert_answer(rig_ask(rig, GET("/tell/a%00b")), 400, "malformed");
	AUTO_REPLY struct reply reply = rig_ask(rig, "POST /tell/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(reply.status, 405);
	assert_true(reply_has(&reply, "Allow", "GET, HEAD, OPTIONS"));
}

static void a_json_object_is_read(void **state) {
	(void)state;
	assert_answer(post(JSON_TYPE, "{\"b\": [1, {}], \"a\": \"ñ\"}"), 200, "{\"a\":\"ñ\",\"b\":[1,{}]}");
	assert_answer(post("content-type: Application/JSON; charset=utf-8\r\n", "{}"), 200, "{}");
}

static void another_type_is_refused_with_the_right_one(void **state) {
	(void)state;
	const char *const types[] = {"", "Content-Type: text/plain\r\n", "Content-Type: application/jsonx\r\n",
		"Content-Type: application\r\n", "Content-Type: application/x-www-form-urlencoded\r\n", JSON_TYPE JSON_TYPE};
	for (size_t i = 0; i < COUNT_OF(types); i++) {
		AUTO_REPLY struct reply reply = post(types[i], "{}");
		assert_int_equal(reply.status, 415);
		assert_true(reply_has(&reply, "Accept", "application/json"));
		assert_true(reply_has(&reply, "Content-Type", "application/problem+json"));
	}
}

static void bad_json_is_refused_with_its_place(void **state) {
	(void)state;
	assert_answer(post(JSON_TYPE, "{\"a\": 1,\n \"b\": }"), 400, "line 2, column ");
	assert_answer(post(JSON_TYPE, "{\"a\": 1, \"a\": 2}"), 400, "duplicate");
	assert_answer(post(JSON_TYPE, "{\"a\": \"\\u0000\"}"), 400, "line 1");
	assert_answer(post(JSON_TYPE, "{\"a\": \"\xff\"}"), 400, "line 1");
	assert_answer(post(JSON_TYPE, "{} {}"), 400, "line 1");
	assert_answer(post(JSON_TYPE, "{\"a\": 123456789012345678901234567890}"), 400, "line 1");
	assert_answer(post(JSON_TYPE, "{"), 400, "line 1");
}

static void what_is_no_object_is_refused(void **state) {
	(void)state;
	const char *const bodies[] = {"[]", "\"text\"", "1", "null", "true"};
	for (size_t i = 0; i < COUNT_OF(bodies); i++) assert_answer(post(JSON_TYPE, bodies[i]), 400, "must be a JSON object");
	assert_answer(post(JSON_TYPE, ""), 400, "empty");
}

static void a_body_that_is_deep_or_large_is_refused(void **state) {
	(void)state;
	char deep[1024], large[4096];
	memset(deep, '[', sizeof deep - 1);
	deep[sizeof deep - 1] = '\0';
	assert_answer(post(JSON_TYPE, deep), 400, "The body was not accepted");
	memset(large, ' ', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	assert_answer(post(JSON_TYPE, large), 413, "at most");
	memset(deep + 100, ']', 100);
	deep[200] = '\0';
	AUTO_FREE char *nested = mem_format("{\"a\": %s}", deep);
	assert_answer(post(JSON_TYPE, nested), 400, "nested deeper");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_exact_path_goes_before_a_parameter_and_that_before_a_prefix),
		cmocka_unit_test(a_parameter_is_one_segment_that_is_not_empty),
		cmocka_unit_test(the_methods_of_one_path_may_stand_in_several_routes),
		cmocka_unit_test(a_path_that_is_known_refuses_other_methods_by_those_that_it_has),
		cmocka_unit_test(head_goes_where_get_goes),
		cmocka_unit_test(a_parameter_is_what_stands_in_its_place),
		cmocka_unit_test_setup_teardown(a_handler_reads_the_parameters_of_its_path_decoded, start, stop),
		cmocka_unit_test_setup_teardown(a_json_object_is_read, start, stop),
		cmocka_unit_test_setup_teardown(another_type_is_refused_with_the_right_one, start, stop),
		cmocka_unit_test_setup_teardown(bad_json_is_refused_with_its_place, start, stop),
		cmocka_unit_test_setup_teardown(what_is_no_object_is_refused, start, stop),
		cmocka_unit_test_setup_teardown(a_body_that_is_deep_or_large_is_refused, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
