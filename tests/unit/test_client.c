#include "lib/client.h"
#include "lib/http.h"
#include "lib/mem.h"

#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static struct loop *loop;
static struct http_server *server;
static struct client *client;
static struct loop_timer *too_late;

struct answer {
	int calls, status;
	char *body;
	size_t length;
	enum error_kind kind;
	char *message;
};
static struct answer got;
static int expected; // calls until the loop stops

static void fail_late(void *arg) {
	(void)arg;
	fail_msg("no answer in time");
}

static void keep(int status, const char *body, size_t length, const struct error *error, void *arg) {
	assert_ptr_equal(arg, &got);
	free(got.body);
	free(got.message);
	got = (struct answer){.calls = got.calls + 1,
		.status = status,
		.body = mem_strdup(body),
		.length = length,
		.kind = error->kind,
		.message = mem_strdup(error_text(error))};
	if (got.calls >= expected) loop_stop(loop);
}

static void handle_say(struct http_request *request, void *arg) {
	(void)arg;
	size_t length;
	const char *body = http_body(request, &length), *header = http_header(request, "X-Given");
	AUTO_FREE char *text = mem_format("%s %s %s", http_method(request), header ? header : "-", body);
	http_answer_text(request, 200, "text/plain", text);
}

static void handle_large(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_FREE char *body = mem_zalloc(100001);
	memset(body, 'x', 100000);
	http_answer_text(request, 200, "text/plain", body);
}

static ssize_t stream_more(char *buffer, size_t size, void *arg) {
	(void)arg;
	memset(buffer, 'y', size);
	return (ssize_t)size;
}

static void handle_endless(struct http_request *request, void *arg) {
	(void)arg;
	http_stream(request, 200, "text/plain", stream_more, NULL, NULL);
}

static void handle_redirect(struct http_request *request, void *arg) {
	(void)arg;
	http_answer_header(request, "Location", "/say");
	http_answer(request, 302, NULL, NULL, 0);
}

static void handle_never(struct http_request *request, void *arg) {
	(void)request, (void)arg;
}

static int setup(void **state) {
	static const struct http_route routes[] = {
		{"/say", "GET POST PUT", handle_say},
		{"/large", "GET", handle_large},
		{"/endless", "GET", handle_endless},
		{"/redirect", "GET", handle_redirect},
		{"/never", "GET", handle_never},
	};
	(void)state;
	struct http_config config = {.listen = "127.0.0.1:0",
		.routes = routes,
		.route_count = COUNT_OF(routes),
		.header_bytes = 4096,
		.target_bytes = 1024,
		.body_bytes = 1024,
		.connections = 200,
		.deadline_ms = 30000,
		.idle_ms = 30000};
	AUTO_ERROR struct error error = {.kind = ERROR_NONE};
	loop = loop_new();
	assert_int_equal(http_server_open(loop, &config, &server, &error), 0);
	client = client_new(loop);
	too_late = loop_timer_new(loop, fail_late, NULL);
	loop_timer_set(too_late, 10000);
	got = (struct answer){.calls = 0};
	expected = 1;
	return 0;
}

static int teardown(void **state) {
	(void)state;
	client_free(client);
	http_server_close(server);
	loop_timer_free(too_late);
	loop_free(loop);
	free(got.body);
	free(got.message);
	return 0;
}

static void ask(struct client_request request, const char *path) {
	AUTO_FREE char *url = mem_format("http://127.0.0.1:%u%s", http_server_port(server), path);
	if (!request.url) request.url = url;
	if (!request.most_bytes) request.most_bytes = 1000;
	if (!request.timeout_ms) request.timeout_ms = 8000;
	int before = got.calls;
	client_send(client, &request, keep, &got);
	assert_int_equal(got.calls, before); // never from inside
}

static void an_answer_comes_with_status_and_body(void **state) {
	(void)state;
	ask((struct client_request){.method = NULL}, "/say");
	loop_run(loop);
	assert_int_equal(got.status, 200);
	assert_int_equal(got.kind, ERROR_NONE);
	assert_string_equal(got.body, "GET - ");
	assert_int_equal(got.length, 6);
}

static void method_headers_and_body_are_sent(void **state) {
	(void)state;
	const char *const headers[] = {"X-Given: yes", "Content-Type: text/plain", NULL};
	ask((struct client_request){.method = "PUT", .headers = headers, .body = "abc"}, "/say");
	loop_run(loop);
	assert_string_equal(got.body, "PUT yes abc");
	ask((struct client_request){.body = "", .method = "POST"}, "/say");
	loop_run(loop);
	assert_string_equal(got.body, "POST - ");
	ask((struct client_request){.method = "HEAD"}, "/say");
	loop_run(loop);
	assert_int_equal(got.status, 200);
	assert_int_equal(got.length, 0);
}

static void an_error_status_is_an_answer(void **state) {
	(void)state;
	ask((struct client_request){.method = "GET"}, "/none");
	loop_run(loop);
	assert_int_equal(got.status, 404);
	assert_int_equal(got.kind, ERROR_NONE);
	assert_non_null(strstr(got.body, "\"status\":404"));
}

static void a_redirect_is_not_followed(void **state) {
	(void)state;
	ask((struct client_request){.method = "GET"}, "/redirect");
	loop_run(loop);
	assert_int_equal(got.status, 302);
}

static void an_answer_over_the_limit_fails(void **state) {
	(void)state;
	ask((struct client_request){.most_bytes = 100000}, "/large");
	loop_run(loop);
	assert_int_equal(got.length, 100000);
	const char *paths[] = {"/large", "/endless"};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		ask((struct client_request){.most_bytes = 99999}, paths[i]);
		loop_run(loop);
		assert_int_equal(got.status, 0);
		assert_int_equal(got.kind, ERROR_LIMIT);
		assert_int_equal(got.length, 0);
		assert_non_null(strstr(got.message, "larger than 99999 bytes"));
	}
}

static void where_only_the_status_counts_any_answer_will_do(void **state) {
	(void)state;
	const char *paths[] = {"/large", "/endless", "/say"};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		ask((struct client_request){.only_status = true}, paths[i]);
		loop_run(loop);
		assert_int_equal(got.status, 200);
		assert_int_equal(got.kind, ERROR_NONE);
		assert_true(got.length <= 1000);
	}
}

static int dialled;

static bool allow(const struct sockaddr *address) {
	dialled++;
	return address->sa_family == AF_INET;
}

static bool refuse(const struct sockaddr *address) {
	(void)address;
	dialled++;
	return false;
}

static void an_address_is_judged_when_it_is_dialled(void **state) {
	(void)state;
	dialled = 0;
	for (int i = 0; i < 2; i++) {
		ask((struct client_request){.may_dial = allow}, "/say");
		loop_run(loop);
		assert_int_equal(got.status, 200);
	}
	assert_int_equal(dialled, 2); // no connection is used twice
	ask((struct client_request){.may_dial = refuse}, "/say");
	loop_run(loop);
	assert_int_equal(got.status, 0);
	assert_int_equal(got.kind, ERROR_DENIED);
	assert_int_equal(dialled, 3);
}

static void one_address_that_is_refused_condemns_the_name(void **state) {
	(void)state;
	struct addrinfo *found = NULL;
	if (getaddrinfo("localhost", NULL, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &found)) skip();
	bool both = false;
	for (struct addrinfo *each = found; each; each = each->ai_next) both = both || each->ai_family == AF_INET6;
	freeaddrinfo(found);
	if (!both) skip();
	AUTO_FREE char *url = mem_format("http://localhost:%u/say", http_server_port(server));
	ask((struct client_request){.url = url, .may_dial = allow}, "");
	loop_run(loop);
	assert_int_equal(got.status, 0);
	assert_int_equal(got.kind, ERROR_DENIED);
}

static void silence_ends_at_the_timeout(void **state) {
	(void)state;
	int64_t start_ms = loop_now_ms();
	ask((struct client_request){.timeout_ms = 200}, "/never");
	loop_run(loop);
	assert_int_equal(got.status, 0);
	assert_int_equal(got.kind, ERROR_UNAVAILABLE);
	assert_in_range(loop_now_ms() - start_ms, 190, 3000);
}

static void a_port_that_nobody_listens_on_is_unavailable(void **state) {
	(void)state;
	ask((struct client_request){.url = "http://127.0.0.1:1/"}, "");
	loop_run(loop);
	assert_int_equal(got.kind, ERROR_UNAVAILABLE);
	assert_non_null(strstr(got.message, "http://127.0.0.1:1/: "));
}

static void other_schemes_and_nonsense_are_refused(void **state) {
	(void)state;
	const char *urls[] = {"file:///etc/hostname", "ftp://127.0.0.1/", "gopher://127.0.0.1:1/", "http://", "http://[", ""};
	for (size_t i = 0; i < COUNT_OF(urls); i++) {
		ask((struct client_request){.url = urls[i]}, "");
		loop_run(loop);
		assert_int_equal(got.status, 0);
		assert_int_equal(got.kind, ERROR_INPUT);
	}
}

static void proxies_of_the_environment_are_not_used(void **state) {
	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	ask((struct client_request){.method = "GET"}, "/say");
	loop_run(loop);
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
	assert_int_equal(got.status, 200);
}

static void many_requests_run_at_once(void **state) {
	(void)state;
	expected = 100;
	for (int i = 0; i < expected; i++) ask((struct client_request){.method = "GET"}, "/say");
	loop_run(loop);
	assert_int_equal(got.calls, 100);
	assert_int_equal(got.status, 200);
}

static void send_another(int status, const char *body, size_t length, const struct error *error, void *arg) {
	(void)status, (void)body, (void)length, (void)error, (void)arg;
	ask((struct client_request){.method = "GET"}, "/say");
}

static void a_callback_may_send_the_next(void **state) {
	(void)state;
	AUTO_FREE char *url = mem_format("http://127.0.0.1:%u/say", http_server_port(server));
	struct client_request request = {.url = url, .most_bytes = 100, .timeout_ms = 8000};
	client_send(client, &request, send_another, NULL);
	loop_run(loop);
	assert_int_equal(got.status, 200);
}

static void end_client(int status, const char *body, size_t length, const struct error *error, void *arg) {
	(void)body, (void)length, (void)error, (void)arg;
	assert_int_equal(status, 200);
	client_free(client);
	client = NULL;
	loop_stop(loop);
}

static void a_callback_may_end_the_client(void **state) {
	(void)state;
	ask((struct client_request){.method = "GET"}, "/never");
	AUTO_FREE char *url = mem_format("http://127.0.0.1:%u/say", http_server_port(server));
	struct client_request request = {.url = url, .most_bytes = 100, .timeout_ms = 8000};
	client_send(client, &request, end_client, NULL);
	client_send(client, &request, end_client, NULL); // dropped without a call
	loop_run(loop);
	assert_int_equal(got.calls, 0);
}

static void ending_the_client_drops_what_is_under_way(void **state) {
	(void)state;
	ask((struct client_request){.method = "GET"}, "/never");
	client_free(client);
	client = client_new(loop);
	ask((struct client_request){.method = "GET"}, "/say");
	loop_run(loop);
	assert_int_equal(got.calls, 1);
	assert_string_equal(got.body, "GET - ");
}

static void what_goes_into_a_url_is_escaped(void **state) {
	(void)state;
	AUTO_FREE char *plain = client_escape("worker-1.a_b~");
	AUTO_FREE char *all = client_escape("{\"a\": [\"b=c/d?\"]} \xc3\xb1&%");
	AUTO_FREE char *none = client_escape("");
	assert_string_equal(plain, "worker-1.a_b~");
	assert_string_equal(all, "%7B%22a%22%3A%20%5B%22b%3Dc%2Fd%3F%22%5D%7D%20%C3%B1%26%25");
	assert_string_equal(none, "");
}

static void *serve_unix(void *arg) {
	int fd = accept(*(int *)arg, NULL, NULL);
	char buffer[1000];
	const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	if (recv(fd, buffer, sizeof(buffer), 0) > 0) send(fd, text, strlen(text), MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

static void a_unix_socket_is_reached(void **state) {
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[] = "/tmp/test_client.XXXXXX";
	assert_non_null(mkdtemp(folder));
	AUTO_FREE char *path = mem_format("%s/socket", folder);
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	pthread_t thread;
	pthread_create(&thread, NULL, serve_unix, &fd);
	ask((struct client_request){.url = "http://localhost/version", .unix_socket = path}, "");
	loop_run(loop);
	pthread_join(thread, NULL);
	assert_string_equal(got.body, "hi");
	close(fd);
	unlink(path);
	rmdir(folder);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_answer_comes_with_status_and_body),
		T(method_headers_and_body_are_sent),
		T(an_error_status_is_an_answer),
		T(a_redirect_is_not_followed),
		T(an_answer_over_the_limit_fails),
		T(where_only_the_status_counts_any_answer_will_do),
		T(an_address_is_judged_when_it_is_dialled),
		T(one_address_that_is_refused_condemns_the_name),
		T(silence_ends_at_the_timeout),
		T(a_port_that_nobody_listens_on_is_unavailable),
		T(other_schemes_and_nonsense_are_refused),
		T(proxies_of_the_environment_are_not_used),
		T(many_requests_run_at_once),
		T(a_callback_may_send_the_next),
		T(a_callback_may_end_the_client),
		T(ending_the_client_drops_what_is_under_way),
		T(a_unix_socket_is_reached),
		T(what_goes_into_a_url_is_escaped),
	};
	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
