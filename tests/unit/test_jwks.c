// The issuer's keys, from an issuer on loopback that answers what each test says.
#include "frontend/jwks.h"
#include "lib/http.h"
#include "lib/log.h"
#include "tests/unit/token_maker.h"

static struct loop *loop;
static struct loop_timer *timer;
static struct client *client;
static struct http_server *server;
static struct jwks *jwks;
static char *issuer, *named_issuer, *keys_url, *set;
static struct {
	int discoveries, fetches, changes, status;
	struct http_request *held; // not yet answered
	bool hold;
} seen;

static void discovery_handle(struct http_request *request, void *arg) {
	(void)arg;
	seen.discoveries++;
	AUTO_FREE char *text = mem_format("{\"issuer\":\"%s\",\"jwks_uri\":\"%s/certs\"}", named_issuer, issuer);
	http_answer_text(request, 200, "application/json", text);
}

static void certs_handle(struct http_request *request, void *arg) {
	(void)arg;
	seen.fetches++;
	if (seen.hold)
		seen.held = request;
	else
		http_answer_text(request, seen.status, "application/json", set);
}

static const struct http_route routes[] = {
	{"/realm/.well-known/openid-configuration", "GET", discovery_handle}, {"/realm/certs", "GET", certs_handle}};

static void changed(const struct token_keys *fetched, void *arg) {
	(void)arg;
	assert_int_equal(token_keys_count(fetched), 1);
	seen.changes++;
}

static void set_keys(EVP_PKEY *pkey, const char *kid) {
	AUTO_FREE char *jwk = rsa_jwk(pkey, kid, ",\"use\":\"sig\"");
	free(set);
	set = mem_format("{\"keys\":[%s]}", jwk);
}

// ---- the loop, until something has happened

static bool (*awaited)(void);
static int64_t give_up_ms;

static void look(void *arg) {
	(void)arg;
	if (awaited() || loop_now_ms() > give_up_ms)
		loop_stop(loop);
	else
		loop_timer_set(timer, 1);
}

static void await(bool (*what)(void)) {
	awaited = what;
	give_up_ms = loop_now_ms() + 5000;
	loop_timer_set(timer, 1);
	loop_run(loop);
	assert_true(what());
}

static bool keys_there(void) {
	return jwks_keys(jwks);
}
static bool keys_gone(void) {
	return !jwks_keys(jwks);
}
static bool failed(void) {
	return jwks_error(jwks);
}
static bool fetched_twice(void) {
	return seen.changes >= 2;
}
static bool held(void) {
	return seen.held;
}

static void open_with(struct jwks_config config) {
	config.issuer = issuer;
	if (!config.url) config.url = "";
	config.changed = changed;
	jwks = jwks_open(loop, client, &config);
}

static struct waiting {
	struct jwks_waiter waiter;
	int calls;
} waiting[4];

static void waited(void *arg) {
	((struct waiting *)arg)->calls++;
}

static bool begin_waiting(int number) {
	waiting[number] = (struct waiting){.waiter = {.fn = waited, .arg = &waiting[number]}};
	return jwks_await(jwks, &waiting[number].waiter);
}

static bool may_wait_again(void) {
	return waiting[2].waiter.place || begin_waiting(2);
}

static bool first_waited(void) {
	return waiting[0].calls;
}

// ---- tests

static void keys_are_found_by_the_discovery_document(void **state) {
	(void)state;
	open_with((struct jwks_config){0});
	assert_null(jwks_keys(jwks));
	await(keys_there);
	assert_int_equal(seen.discoveries, 1);
	assert_int_equal(seen.fetches, 1);
	assert_null(jwks_error(jwks));
}

static void a_given_address_needs_no_discovery(void **state) {
	(void)state;
	keys_url = mem_format("%s/certs", issuer);
	open_with((struct jwks_config){.url = keys_url});
	await(keys_there);
	assert_int_equal(seen.discoveries, 0);
}

static void a_discovery_document_of_another_issuer_is_refused(void **state) {
	(void)state;
	free(named_issuer);
	named_issuer = mem_strdup("http://evil/realm");
	open_with((struct jwks_config){0});
	await(failed);
	assert_non_null(strstr(error_text(jwks_error(jwks)), "http://evil/realm"));
	assert_int_equal(seen.fetches, 0);
	assert_null(jwks_keys(jwks));
}

static void an_issuer_that_is_down_at_first_is_asked_again(void **state) {
	(void)state;
	seen.status = 503;
	open_with((struct jwks_config){0});
	await(failed);
	assert_non_null(strstr(error_text(jwks_error(jwks)), "503"));
	seen.status = 200;
	await(keys_there);
	assert_null(jwks_error(jwks));
}

static void keys_are_refreshed_and_a_bad_answer_keeps_the_old_ones(void **state) {
	(void)state;
	open_with((struct jwks_config){.refresh_ms = 20});
	await(fetched_twice);
	free(set);
	set = mem_strdup("{\"keys\":[]}");
	await(failed);
	assert_non_null(jwks_keys(jwks));
}

static void old_keys_are_served_for_a_bounded_time(void **state) {
	(void)state;
	open_with((struct jwks_config){.refresh_ms = 20, .stale_ms = 200});
	await(keys_there);
	seen.status = 500;
	await(failed);
	assert_non_null(jwks_keys(jwks));
	await(keys_gone);
	seen.status = 200;
	await(keys_there);
}

static void an_unknown_kid_makes_one_fetch_for_all_who_wait(void **state) {
	(void)state;
	open_with((struct jwks_config){0});
	await(keys_there);
	seen.hold = true;
	assert_true(begin_waiting(0));
	assert_true(begin_waiting(1));
	assert_true(begin_waiting(2));
	await(held);
	assert_true(begin_waiting(3));
	assert_int_equal(seen.fetches, 2);
	jwks_forget(&waiting[1].waiter);
	http_answer_text(seen.held, 200, "application/json", set);
	await(first_waited);
	assert_int_equal(waiting[0].calls, 1);
	assert_int_equal(waiting[1].calls, 0);
	assert_int_equal(waiting[2].calls, 1);
	assert_int_equal(waiting[3].calls, 1);
	assert_int_equal(seen.fetches, 2);
}

static void an_unknown_kid_fetches_but_once_in_a_while(void **state) {
	(void)state;
	open_with((struct jwks_config){.unknown_ms = 100});
	await(keys_there);
	assert_true(begin_waiting(0));
	await(first_waited);
	assert_false(begin_waiting(1));
	assert_int_equal(seen.fetches, 2);
	await(may_wait_again);
	jwks_forget(&waiting[2].waiter);
	jwks_forget(&waiting[2].waiter); // twice is fine
}

static void who_waits_is_told_of_a_failure_too(void **state) {
	(void)state;
	open_with((struct jwks_config){0});
	await(keys_there);
	seen.status = 500;
	assert_true(begin_waiting(0));
	await(first_waited);
	assert_non_null(jwks_error(jwks));
}

static void a_discovery_document_needs_a_usable_address(void **state) {
	(void)state;
	static const char *const bad[] = {"", "[]", "{\"issuer\":\"i\"}",
		"{\"issuer\":\"i\",\"jwks_uri\":\"file:///etc/passwd\"}", "{\"issuer\":\"i\",\"jwks_uri\":7}",
		"{\"issuer\":\"i/\",\"jwks_uri\":\"https://i/c\"}"};
	char *url = NULL;
	for (size_t i = 0; i < COUNT_OF(bad); i++) assert_int_equal(jwks_discover(bad[i], strlen(bad[i]), "i", &url, NULL), -1);
	const char *good = "{\"issuer\":\"i\",\"jwks_uri\":\"https://i/c\"}";
	assert_int_equal(jwks_discover(good, strlen(good), "i", &url, NULL), 0);
	assert_string_equal(url, "https://i/c");
	free(url);
}

static int start(void **state) {
	(void)state;
	const struct http_config config = {.listen = "127.0.0.1:0",
		.routes = routes,
		.route_count = COUNT_OF(routes),
		.header_bytes = 8192,
		.target_bytes = 1024,
		.body_bytes = 1024,
		.connections = 100,
		.deadline_ms = 5000,
		.idle_ms = 5000};
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_JSON);
	memset(&seen, 0, sizeof seen);
	memset(waiting, 0, sizeof waiting);
	seen.status = 200;
	loop = loop_new();
	timer = loop_timer_new(loop, look, NULL);
	client = client_new(loop);
	set_keys(rsa, "one");
	if (http_server_open(loop, &config, &server, NULL)) return -1;
	issuer = mem_format("http://127.0.0.1:%d/realm", http_server_port(server));
	named_issuer = mem_strdup(issuer);
	return 0;
}

static int end(void **state) {
	(void)state;
	client_free(client);
	jwks_close(jwks);
	jwks = NULL;
	http_server_close(server);
	loop_timer_free(timer);
	loop_free(loop);
	free(issuer);
	free(named_issuer);
	free(STEAL(keys_url));
	free(STEAL(set));
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(keys_are_found_by_the_discovery_document),
		TEST(a_given_address_needs_no_discovery),
		TEST(a_discovery_document_of_another_issuer_is_refused),
		TEST(an_issuer_that_is_down_at_first_is_asked_again),
		TEST(keys_are_refreshed_and_a_bad_answer_keeps_the_old_ones),
		TEST(old_keys_are_served_for_a_bounded_time),
		TEST(an_unknown_kid_makes_one_fetch_for_all_who_wait),
		TEST(an_unknown_kid_fetches_but_once_in_a_while),
		TEST(who_waits_is_told_of_a_failure_too),
		TEST(a_discovery_document_needs_a_usable_address),
	};
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
