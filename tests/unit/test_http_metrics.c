// What operators and orchestrators read on METRICS_LISTEN.
#include "tests/unit/http_rig.h"

static struct rig *rig;
static atomic_int is_ready;

static int ready(char **reason, void *arg) {
	(void)arg;
	if (!is_ready) *reason = mem_strdup("PostgreSQL is away");
	return is_ready;
}

static int setup(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {.kind = ERROR_NONE};
	struct http_config config = rig_config(NULL, 0);
	config.connections = 1;
	rig = rig_open(config);
	// From here on the rig's loop serves the second server as well.
	rig_do(rig, NULL);
	pthread_join(rig->thread, NULL);
	struct http_server *full = rig->server;
	if (http_metrics_open(rig->loop, "127.0.0.1:0", ready, NULL, &rig->server, &error) != 0)
		fail_msg("%s", error_text(&error));
	pthread_create(&rig->thread, NULL, rig_thread, rig);
	*state = full;
	return 0;
}

static int teardown(void **state) {
	rig_do(rig, NULL);
	pthread_join(rig->thread, NULL);
	http_server_close(*state);
	http_server_close(rig->server);
	loop_wakeup_free(rig->wakeup);
	loop_free(rig->loop);
	sem_destroy(&rig->done);
	free(rig);
	return 0;
}

static struct reply get(const char *path) {
	rig->port = http_server_port(rig->server);
	AUTO_FREE char *text = mem_format("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
	return rig_ask(rig, text);
}

static void the_page_is_prometheus_text(void **state) {
	(void)state;
	AUTO_REPLY struct reply reply = get("/metrics");
	assert_int_equal(reply.status, 200);
	AUTO_FREE char *type = reply_header(&reply, "Content-Type");
	assert_ptr_equal(strstr(type, "text/plain; version=0.0.4"), type);
	assert_non_null(strstr(reply.body, "process_resident_memory_bytes"));
}

static void livez_says_ok_and_readyz_says_why_not(void **state) {
	(void)state;
	is_ready = 0;
	AUTO_REPLY struct reply live = get("/livez");
	assert_int_equal(live.status, 200);
	assert_string_equal(live.body, "OK\n");
	AUTO_REPLY struct reply not_yet = get("/readyz");
	assert_int_equal(not_yet.status, 503);
	assert_non_null(strstr(not_yet.body, "\"detail\":\"PostgreSQL is away\""));
	is_ready = 1;
	AUTO_REPLY struct reply now = get("/readyz");
	assert_int_equal(now.status, 200);
	assert_string_equal(now.body, "OK\n");
}

static void refused_connections_are_counted(void **state) {
	rig->port = http_server_port(*state);
	int first = rig_dial(rig), second = rig_dial(rig);
	assert_true(rig_ended(second));
	close(first), close(second);
	AUTO_REPLY struct reply reply = get("/metrics");
	assert_non_null(strstr(reply.body, "trabajos_http_connections_refused_total{limit=\"all\"} 1\n"));
	assert_non_null(strstr(reply.body, "trabajos_http_connections_refused_total{limit=\"address\"} 0\n"));
}

static void without_an_address_there_is_no_server(void **state) {
	(void)state;
	struct http_server *server = rig->server;
	AUTO_ERROR struct error error = {.kind = ERROR_NONE};
	assert_int_equal(http_metrics_open(rig->loop, "", ready, NULL, &server, &error), 0);
	assert_null(server);
	assert_int_equal(http_metrics_open(rig->loop, "nowhere", ready, NULL, &server, &error), -1);
	assert_null(server);
	assert_ptr_equal(strstr(error_text(&error), "METRICS_LISTEN: "), error_text(&error));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_page_is_prometheus_text),
		T(livez_says_ok_and_readyz_says_why_not),
		T(refused_connections_are_counted),
		T(without_an_address_there_is_no_server),
	};
	return cmocka_run_group_tests_name("http_metrics", tests, NULL, NULL);
}
