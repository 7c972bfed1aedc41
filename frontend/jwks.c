#include "frontend/jwks.h"

#include "frontend/meters.h"
#include "lib/json.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"

#include <string.h>

#define DOCUMENT_BYTES_MAX 262144
#define FETCH_TIMEOUT_MS   3000
#define RETRY_FIRST_MS     500
#define RETRY_CAP_MS       5000
#define DISCOVERY_PATH     "/.well-known/openid-configuration"

struct jwks {
	struct loop *loop;
	struct client *client;
	struct jwks_config config;
	struct loop_timer *timer;
	char *discovered; // NULL: not known, or given by the configuration
	struct token_keys *keys;
	int64_t fetched_ms; // when the keys came
	int64_t asked_ms;   // when an unknown kid last made us fetch
	bool asked, fetching;
	unsigned failures;
	struct error error;
	struct jwks_waiter *waiters;
};

static void fetch_start(struct jwks *jwks);

// Who begins to wait meanwhile waits for the next fetch.
static void waiters_call(struct jwks *jwks) {
	struct jwks_waiter *list = jwks->waiters;
	jwks->waiters = NULL;
	if (list) list->place = &list;
	while (list) {
		struct jwks_waiter *waiter = list;
		jwks_forget(waiter);
		waiter->fn(waiter->arg);
	}
}

// The address is discovered anew after a failure: it may have moved.
static void fetch_failed(struct jwks *jwks, const struct error *why, const char *what) {
	struct error error AUTO_ERROR = {0};
	error_set(&error, why->kind, "%s: %s", what, error_text(why));
	if (!jwks->error.message || strcmp(jwks->error.message, error.message) != 0)
		log_warn(log_m("the issuer's keys cannot be fetched, trying again"), log_s("issuer", jwks->config.issuer),
			log_e(&error));
	error_set(&jwks->error, error.kind, "%s", error_text(&error));
	metric_add(&meter_jwks_failed, 1);
	free(STEAL(jwks->discovered));
	jwks->fetching = false;
	loop_timer_set(jwks->timer, lifecycle_backoff_ms(jwks->failures++, RETRY_FIRST_MS, RETRY_CAP_MS));
	waiters_call(jwks);
}

static void fetch_succeeded(struct jwks *jwks, struct token_keys *keys) {
	if (!jwks->keys || jwks->error.kind)
		log_info(log_m("the issuer's keys are here"), log_s("issuer", jwks->config.issuer),
			log_i("keys", (int64_t)token_keys_count(keys)));
	token_keys_free(jwks->keys);
	jwks->keys = keys;
	jwks->fetched_ms = loop_now_ms();
	jwks->failures = 0;
	jwks->fetching = false;
	error_clear(&jwks->error);
	metric_add(&meter_jwks_fetched, 1);
	loop_timer_set(jwks->timer, jwks->config.refresh_ms);
	if (jwks->config.changed) jwks->config.changed(keys, jwks->config.arg);
	waiters_call(jwks);
}

static int answer_check(int status, const struct error *error, struct error *why) {
	if (!status) return error_set(why, ERROR_UNAVAILABLE, "%s", error_text(error));
	if (status != 200) return error_set(why, ERROR_UNAVAILABLE, "HTTP status %d", status);
	return 0;
}

static void get(struct jwks *jwks, const char *url, client_done *done) {
	static const char *const headers[] = {"Accept: application/json", NULL};
	const struct client_request request = {
		.url = url, .headers = headers, .most_bytes = DOCUMENT_BYTES_MAX, .timeout_ms = FETCH_TIMEOUT_MS};
	client_send(jwks->client, &request, done, jwks);
}

static void keys_came(int status, const char *body, size_t length, const struct error *error, void *arg) {
	struct jwks *jwks = arg;
	struct error why AUTO_ERROR = {0};
	struct token_keys *keys = NULL;
	if (answer_check(status, error, &why) || token_keys_read(body, length, &keys, &why))
		fetch_failed(jwks, &why, jwks->discovered ? jwks->discovered : jwks->config.url);
	else
		fetch_succeeded(jwks, keys);
}

static void discovery_came(int status, const char *body, size_t length, const struct error *error, void *arg) {
	struct jwks *jwks = arg;
	struct error why AUTO_ERROR = {0};
	if (answer_check(status, error, &why) || jwks_discover(body, length, jwks->config.issuer, &jwks->discovered, &why))
		fetch_failed(jwks, &why, "discovery document");
	else
		get(jwks, jwks->discovered, keys_came);
}

static void fetch_start(struct jwks *jwks) {
	if (jwks->fetching) return;
	jwks->fetching = true;
	loop_timer_stop(jwks->timer);
	if (*jwks->config.url || jwks->discovered) {
		get(jwks, jwks->discovered ? jwks->discovered : jwks->config.url, keys_came);
		return;
	}
	size_t length = strlen(jwks->config.issuer);
	while (length && jwks->config.issuer[length - 1] == '/') length--;
	AUTO_FREE char *url = mem_format("%.*s" DISCOVERY_PATH, (int)length, jwks->config.issuer);
	get(jwks, url, discovery_came);
}

static void time_to_fetch(void *arg) {
	fetch_start(arg);
}

struct jwks *jwks_open(struct loop *loop, struct client *client, const struct jwks_config *config) {
	struct jwks *jwks = mem_zalloc(sizeof *jwks);
	jwks->loop = loop;
	jwks->client = client;
	jwks->config = *config;
	if (!config->refresh_ms) jwks->config.refresh_ms = 300000;
	if (!config->unknown_ms) jwks->config.unknown_ms = 30000;
	if (!config->stale_ms) jwks->config.stale_ms = 3600000;
	jwks->timer = loop_timer_new(loop, time_to_fetch, jwks);
	fetch_start(jwks);
	return jwks;
}

void jwks_close(struct jwks *jwks) {
	if (!jwks) return;
	loop_timer_free(jwks->timer);
	token_keys_free(jwks->keys);
	free(jwks->discovered);
	error_clear(&jwks->error);
	free(jwks);
}

const struct token_keys *jwks_keys(const struct jwks *jwks) {
	if (!jwks->keys || loop_now_ms() - jwks->fetched_ms > jwks->config.stale_ms) return NULL;
	return jwks->keys;
}

const struct error *jwks_error(const struct jwks *jwks) {
	return jwks->error.kind ? &jwks->error : NULL;
}

// Whoever sends made-up kids must not be able to make us ask the issuer each time; who comes while a fetch is under way
// waits for that one.
bool jwks_await(struct jwks *jwks, struct jwks_waiter *waiter) {
	int64_t now_ms = loop_now_ms();
	if (!jwks->fetching) {
		if (jwks->asked && now_ms - jwks->asked_ms < jwks->config.unknown_ms) return false;
		jwks->asked = true;
		jwks->asked_ms = now_ms;
		fetch_start(jwks);
	}
	waiter->next = jwks->waiters;
	waiter->place = &jwks->waiters;
	if (waiter->next) waiter->next->place = &waiter->next;
	jwks->waiters = waiter;
	return true;
}

void jwks_forget(struct jwks_waiter *waiter) {
	if (!waiter->place) return;
	*waiter->place = waiter->next;
	if (waiter->next) waiter->next->place = waiter->place;
	waiter->place = NULL;
}

int jwks_discover(const char *text, size_t length, const char *issuer, char **url, struct error *error) {
	AUTO_JSON json_t *json = NULL;
	if (json_read(text, length, DOCUMENT_BYTES_MAX, &json, error)) return -1;
	const char *theirs = json_text(json, "issuer"), *keys = json_text(json, "jwks_uri");
	if (!theirs || strcmp(theirs, issuer) != 0)
		return error_set(error, ERROR_INPUT, "it names the issuer %s, KEYCLOAK_ISSUER is %s",
			theirs ? theirs : "(none)", issuer);
	if (!keys || (strncmp(keys, "https://", 8) != 0 && strncmp(keys, "http://", 7) != 0))
		return error_set(error, ERROR_INPUT, "it has no usable jwks_uri");
	*url = mem_strdup(keys);
	return 0;
}
