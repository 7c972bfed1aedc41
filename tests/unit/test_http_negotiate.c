// What an answer makes of the request's headers.
#include "tests/unit/http_rig.h"

static struct rig *rig;

static void origin(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_FREE char *text = http_origin(request);
	http_answer_text(request, 200, "text/plain", text ? text : "none");
}

static const struct http_route routes[] = {
	{"/origin", "GET", origin},
};

static int setup(void **state) {
	(void)state;
	struct http_config config = RIG_CONFIG(routes);
	config.trusted_proxies = "127.0.0.0/9";
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

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_origin_is_the_host_that_was_named_and_of_proxies_the_one_before_them),
	};
	return cmocka_run_group_tests_name("http negotiation", tests, NULL, NULL);
}
