// The deliverer. A round takes what is due and posts it; the next one is soon where there was more, else in a second. Each event is
// a request of its own, and so many at a time that slow receivers leave room for others (of which the ledger sees to it that
// they are other users').
#include "lib/client.h"
#include "lib/failpoint.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/webhook.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>

#define EVERY_MS    1000
#define MORE_MS     20
#define MOST        64 // at the same time
#define POST_MS     15000
#define ANSWER_MOST 16384
#define TIMEOUT_MS  15000

#ifdef FAULTY_redelivery // the fault suite must notice
#define LEASE_S 86400
#else
#define LEASE_S (failpoint_sooner(60000) / 1000)
#endif

struct delivery {
	LIST_ENTRY(delivery) entry;
	struct webhooks *webhooks;
	char *id;
	int64_t nth, retry_after_s;
};
LIST_HEAD(deliveries, delivery);

struct webhooks {
	struct loop *loop;
	struct db_session *session;
	const struct giturl_rules *rules;
	struct client *client;
	struct loop_timer *timer;
	struct deliveries deliveries; // being posted
	unsigned posting;
	unsigned asking; // statements under way
	bool taking, stopped;
	char *owner, *origin; // where the last round came to
};

static struct metric delivered_count = {.name = "trabajos_webhooks_total",
	.labels = "outcome=\"delivered\"",
	.help = "tries to deliver a completion webhook",
	.type = METRIC_COUNTER};
static struct metric failed_count = {.name = "trabajos_webhooks_total",
	.labels = "outcome=\"failed\"",
	.help = "tries to deliver a completion webhook",
	.type = METRIC_COUNTER};
static struct metric given_up_count = {.name = "trabajos_webhooks_given_up_total",
	.help = "completion webhooks that are tried no more",
	.type = METRIC_COUNTER};

// $1 most, $2 lease in seconds, $3 and $4 the lane behind which to begin → (id, try, url, secret, body, owner, origin)
static const struct db_statement take_statement = {
	"webhooks_take", "SELECT id, try, url, secret, body, owner, origin FROM webhooks_take($1::int, $2::int, $3, $4)"};
// $1 id, $2 try, $3 status or NULL, $4 error or NULL, $5 verdict, $6 seconds that the receiver asks to wait → what became of the event
static const struct db_statement done_statement = {
	"webhooks_done", "SELECT webhooks_done($1, $2::int, $3::int, $4, $5, $6::bigint)"};

static void webhooks_free(struct webhooks *webhooks) {
	free(webhooks->owner);
	free(webhooks->origin);
	free(webhooks);
}

static void rest(struct webhooks *webhooks, int64_t delay_ms) {
	if (webhooks->timer && !webhooks->taking) loop_timer_set(webhooks->timer, delay_ms);
}

// ---- what came of it

static bool answered(struct webhooks *webhooks) {
	webhooks->asking--;
	if (webhooks->stopped && webhooks->asking == 0) {
		webhooks_free(webhooks);
		return false;
	}
	return !webhooks->stopped;
}

static void noted(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct webhooks *webhooks = arg;
	if (!answered(webhooks)) return;
	// Where the ledger did not hear of it, the lease runs out and it is delivered once more.
	if (status != DB_OK) {
		if (status != DB_UNAVAILABLE && status != DB_RETRY)
			log_warn(log_m("cannot note a webhook's delivery"), log_e(error));
		return;
	}
	if (strcmp(db_get(result, 0, 0), "given_up") == 0) metric_add(&given_up_count, 1);
}

static void note(struct webhooks *webhooks, const char *id, int64_t nth, int status, const char *error, const char *verdict,
	int64_t retry_after_s) {
	struct db_params *params = db_params_new();
	metric_add(strcmp(verdict, "delivered") == 0 ? &delivered_count : &failed_count, 1);
	db_text(params, id);
	db_int(params, nth);
	if (status > 0)
		db_int(params, status);
	else
		db_text(params, NULL);
	db_text(params, error);
	db_text(params, verdict);
	db_int(params, retry_after_s);
	webhooks->asking++;
	db_run(webhooks->session, &done_statement, params, TIMEOUT_MS, TIMEOUT_MS, noted, webhooks);
}

static void delivery_free(struct delivery *delivery) {
	LIST_REMOVE(delivery, entry);
	free(delivery->id);
	free(delivery);
}

// 410: the receiver wants no more of it. Where a name leads is the operator's and the user's affair, and no weather.
static void posted(int status, const char *body, size_t length, const struct error *error, void *arg) {
	struct delivery *delivery = arg;
	struct webhooks *webhooks = delivery->webhooks;
	(void)body, (void)length;
	bool fine = status >= 200 && status <= 299;
	bool no_more = status == 410 || (status == 0 && (error->kind == ERROR_DENIED || error->kind == ERROR_INPUT));
	const char *why = status > 0                    ? NULL
			  : error->kind == ERROR_DENIED ? "denied: the host leads to an address that is not public"
							: error_text(error);
	failpoint("webhook.posted");
	note(webhooks, delivery->id, delivery->nth, status, why,
		fine      ? "delivered"
		: no_more ? "given_up"
			  : "again",
		delivery->retry_after_s);
	delivery_free(delivery);
	webhooks->posting--;
}

// ---- a round

static void post(struct webhooks *webhooks, const char *id, int64_t nth, const char *url, bool listed, const char *secret,
	const char *body) {
	struct delivery *delivery = mem_zalloc(sizeof(*delivery));
	*delivery = (struct delivery){.webhooks = webhooks, .id = mem_strdup(id), .nth = nth};
	LIST_INSERT_HEAD(&webhooks->deliveries, delivery, entry);
	webhooks->posting++;
	int64_t at_s = loop_wall_ms() / 1000;
	AUTO_FREE char *signature = secret ? webhook_sign(secret, id, at_s, body) : NULL;
	AUTO_FREE char *header_id = mem_format("webhook-id: %s", id);
	AUTO_FREE char *header_at = mem_format("webhook-timestamp: %" PRId64, at_s);
	AUTO_FREE char *header_signature = signature ? mem_format("webhook-signature: %s", signature) : NULL;
	const char *const headers[] = {"Content-Type: application/json", ("User-Agent: Trabajos/" TRABAJOS_VERSION),
		"Expect:", header_id, header_at, header_signature, NULL};
	const struct client_request request = {.url = url,
		.headers = headers,
		.body = body,
		.most_bytes = ANSWER_MOST,
		.only_status = true,
		.may_dial = listed ? NULL : address_is_public,
		.timeout_ms = POST_MS,
		.retry_after_s = &delivery->retry_after_s};
	client_send(webhooks->client, &request, posted, delivery);
}

static void deliver(struct webhooks *webhooks, const struct db_result *result, size_t row) {
	const char *id = db_get(result, row, 0), *text = db_get(result, row, 2);
	int64_t nth = db_get_int(result, row, 1);
	AUTO_ERROR struct error error = {0};
	AUTO_FREE char *url = NULL;
	bool listed = false;
	// The rules may have changed since it was taken, or it came by Kafka.
	if (webhook_url(text, webhooks->rules, &url, &listed, &error) < 0)
		note(webhooks, id, nth, 0, error_text(&error), "given_up", 0);
	else
		post(webhooks, id, nth, url, listed, db_get(result, row, 3), db_get(result, row, 4));
}

static void taken(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct webhooks *webhooks = arg;
	webhooks->taking = false;
	if (!answered(webhooks)) return;
	if (status != DB_OK || db_rows(result) == 0) {
		if (status != DB_OK && status != DB_UNAVAILABLE && status != DB_RETRY)
			log_warn(log_m("cannot look for webhooks to deliver"), log_e(error));
		rest(webhooks, lifecycle_jitter_ms(EVERY_MS));
		return;
	}
	size_t last = db_rows(result) - 1;
	free(webhooks->owner);
	free(webhooks->origin);
	webhooks->owner = mem_strdup(db_get(result, last, 5));
	webhooks->origin = mem_strdup(db_get(result, last, 6));
	if (last > 0) failpoint("webhook.taken");
	for (size_t row = 0; row < last; row++) deliver(webhooks, result, row);
	rest(webhooks, last > 0 ? MORE_MS : lifecycle_jitter_ms(EVERY_MS));
}

static void due(void *arg) {
	struct webhooks *webhooks = arg;
	if (!db_session_ready(webhooks->session) || webhooks->posting >= MOST) {
		rest(webhooks, lifecycle_jitter_ms(EVERY_MS));
		return;
	}
	struct db_params *params = db_params_new();
	db_int(params, MOST - webhooks->posting);
	db_int(params, LEASE_S);
	db_text(params, webhooks->owner ? webhooks->owner : "");
	db_text(params, webhooks->origin ? webhooks->origin : "");
	webhooks->taking = true;
	webhooks->asking++;
	db_run(webhooks->session, &take_statement, params, 0, TIMEOUT_MS, taken, webhooks);
}

void webhooks_stop(struct webhooks *webhooks) {
	if (!webhooks) return;
	loop_timer_free(webhooks->timer);
	webhooks->timer = NULL;
	webhooks->stopped = true;
	client_free(webhooks->client);
	for (struct delivery *each = LIST_FIRST(&webhooks->deliveries), *next; each; each = next) {
		next = LIST_NEXT(each, entry);
		delivery_free(each);
	}
	if (webhooks->asking == 0) webhooks_free(webhooks);
}

struct webhooks *webhooks_start(struct loop *loop, struct db_session *session, const struct giturl_rules *rules) {
	metrics_register(&delivered_count);
	metrics_register(&failed_count);
	metrics_register(&given_up_count);
	struct webhooks *webhooks = mem_zalloc(sizeof(*webhooks));
	webhooks->loop = loop;
	webhooks->session = session;
	webhooks->rules = rules;
	webhooks->client = client_new(loop);
	LIST_INIT(&webhooks->deliveries);
	webhooks->timer = loop_timer_new(loop, due, webhooks);
	rest(webhooks, lifecycle_jitter_ms(EVERY_MS));
	return webhooks;
}
