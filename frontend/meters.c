#include "frontend/meters.h"

#include <stdio.h>

#define COUNTER(variable, metric_name, metric_labels, text)                                                                    \
	struct metric variable = {.name = metric_name, .labels = metric_labels, .help = text, .type = METRIC_COUNTER}
#define GAUGE(variable, metric_name, text) struct metric variable = {.name = metric_name, .help = text, .type = METRIC_GAUGE}

#define TOKENS "Tokens looked at, by what came of it"
COUNTER(meter_token_cached, "trabajos_tokens_total", "result=\"cached\"", TOKENS);
COUNTER(meter_token_verified, "trabajos_tokens_total", "result=\"verified\"", TOKENS);
COUNTER(meter_token_refused, "trabajos_tokens_total", "result=\"refused\"", TOKENS);
#define FETCHES "Fetches of the issuer's keys, by result"
COUNTER(meter_jwks_fetched, "trabajos_jwks_fetches_total", "result=\"ok\"", FETCHES);
COUNTER(meter_jwks_failed, "trabajos_jwks_fetches_total", "result=\"failed\"", FETCHES);
#define SUBMISSIONS "Submissions, by what became of them"
COUNTER(meter_submit_accepted, "trabajos_submissions_total", "outcome=\"accepted\"", SUBMISSIONS);
COUNTER(meter_submit_pending, "trabajos_submissions_total", "outcome=\"pending\"", SUBMISSIONS);
COUNTER(meter_submit_repeated, "trabajos_submissions_total", "outcome=\"repeated\"", SUBMISSIONS);
COUNTER(meter_submit_differs, "trabajos_submissions_total", "outcome=\"differs\"", SUBMISSIONS);
COUNTER(meter_submit_refused, "trabajos_submissions_total", "outcome=\"refused\"", SUBMISSIONS);
COUNTER(meter_submit_uncertain, "trabajos_submissions_total", "outcome=\"uncertain\"", SUBMISSIONS);
COUNTER(meter_submit_limited, "trabajos_submissions_total", "outcome=\"rate_limited\"", SUBMISSIONS);
GAUGE(meter_submit_under_way, "trabajos_submissions_under_way", "Submissions between request and last step");
struct metric meter_ledger_batch = {.name = "trabajos_ledger_batch_rows",
	.help = "Rows of an insert into the ledger",
	.type = METRIC_HISTOGRAM,
	.scale = 1};
COUNTER(meter_ledger_differing, "trabajos_ledger_differing_total", NULL,
	"Records whose key was known to the ledger with another body; the first one counts");
COUNTER(meter_ledger_bad, "trabajos_ledger_bad_total", NULL, "Rows that the ledger refused");
GAUGE(meter_ledger_waiting, "trabajos_ledger_waiting", "Acknowledged jobs on their way into the ledger");
GAUGE(meter_followers, "trabajos_followers", "Clients that follow the log of a job");
GAUGE(meter_followed, "trabajos_followed_jobs", "Jobs whose log is followed");
#define FOLLOW_READS                                                                                                           \
	"Reads of followed logs: live ones, each for all followed jobs; and pages for who came later or was too slow"
COUNTER(meter_follow_live, "trabajos_follow_reads_total", "kind=\"live\"", FOLLOW_READS);
COUNTER(meter_follow_behind, "trabajos_follow_reads_total", "kind=\"page\"", FOLLOW_READS);
GAUGE(meter_connections, "trabajos_http_connections", "Open connections of clients");

#define RANGES "Ranges told to clients for when a job will start, and kept to be scored; lost: the ledger took them too slowly"
COUNTER(meter_told_kept, "trabajos_ranges_told_total", "state=\"kept\"", RANGES);
COUNTER(meter_told_lost, "trabajos_ranges_told_total", "state=\"lost\"", RANGES);

static struct metric duration = {.name = "trabajos_http_request_duration_seconds",
	.help = "From a request's first byte to the end of its answer",
	.type = METRIC_HISTOGRAM,
	.scale = 1000};

#define CODE(code)                                                                                                             \
	{                                                                                                                      \
		code, {                                                                                                        \
			.name = "trabajos_http_requests_total", .labels = "code=\"" #code "\"",                                \
			.help = "Requests by status; 0: the client had gone", .type = METRIC_COUNTER                           \
		}                                                                                                              \
	}
static struct {
	int status;
	struct metric metric;
} codes[] = {CODE(0), CODE(200), CODE(206), CODE(304), CODE(400), CODE(401), CODE(403), CODE(404), CODE(405), CODE(413),
	CODE(414), CODE(416), CODE(422), CODE(429), CODE(431), CODE(500), CODE(503)};
static struct metric code_other = {
	.name = "trabajos_http_requests_total", .labels = "code=\"other\"", .help = "", .type = METRIC_COUNTER};

void meters_register(void) {
	struct metric *const all[] = {&meter_token_cached, &meter_token_verified, &meter_token_refused, &meter_jwks_fetched,
		&meter_jwks_failed, &meter_submit_accepted, &meter_submit_pending, &meter_submit_repeated,
		&meter_submit_differs, &meter_submit_refused, &meter_submit_uncertain, &meter_submit_limited,
		&meter_submit_under_way, &meter_ledger_batch, &meter_ledger_differing, &meter_ledger_bad, &meter_ledger_waiting,
		&meter_connections, &meter_told_kept, &meter_told_lost, &meter_followers, &meter_followed, &meter_follow_live,
		&meter_follow_behind, &duration};
	for (size_t i = 0; i < COUNT_OF(all); i++) metrics_register(all[i]);
	for (size_t i = 0; i < COUNT_OF(codes); i++) metrics_register(&codes[i].metric);
	metrics_register(&code_other);
}

void meters_request(int status, int64_t took_us) {
	struct metric *metric = &code_other;
	for (size_t i = 0; i < COUNT_OF(codes); i++)
		if (codes[i].status == status) metric = &codes[i].metric;
	metric_add(metric, 1);
	if (took_us >= 0) metric_observe_ms(&duration, took_us / 1000);
}
