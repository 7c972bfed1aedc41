// The observer: reads results, measures the ledger, and says how many workers there should be.

#include "lib/check.h"
#include "lib/db.h"
#include "lib/housekeeping.h"
#include "lib/http.h"
#include "lib/kafka.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/prepare.h"
#include "lib/publish.h"
#include "lib/webhook.h"
#include "lib/weights.h"
#include "lib/working_set.h"
#include "observer/actuator.h"
#include "observer/forecaster.h"
#include "observer/history.h"
#include "observer/lag.h"
#include "observer/lead.h"
#include "observer/review.h"
#include "observer/rule.h"
#include "observer/sample.h"
#include "observer/serve.h"
#include "observer/startup.h"
#include "observer/wait.h"

#include <unistd.h>

#define FLUSH_MS  1000
#define ASK_MS    1000  // for the threads to end that only ask, and may hang in a service that is away
#define REVIEW_MS 3000  // it may be playing
#define END_MS    10000 // for the one that reads: its offsets are kept; who has stopped reading our stdout must not hold us up

static struct db_config db = {.application = "trabajos-observer", .steady_plans = true};
static struct kafka_config kafka;
static char *listen_address, *metrics_address, *actuator_choice;
static struct rule_options scale;
static struct fleet_options fleet;
static struct blobs_config store;
static char *webhook_allow;
static struct giturl_rules *webhook_rules;
static struct housekeeping_config house = {.store = &store};
static int64_t user_running;
static char *user_weights, *weights_json;

static const struct option options[] = {
	OPTIONS_KAFKA(kafka),
	OPTIONS_DB(db),
	{.name = "OBSERVER_LISTEN",
		.type = OPTION_LISTEN,
		.value = &listen_address,
		.fallback = "127.0.0.1:3001",
		.help = "where GET /escala is served"},
	OPTION_METRICS(metrics_address),
	OPTIONS_RULE(scale),
	{.name = "SCALE_ACTUATOR",
		.type = OPTION_STRING,
		.value = &actuator_choice,
		.fallback = "advise",
		.help = "who carries the number out: advise (it is only said), local, compose, kubernetes"},
	OPTIONS_FLEET(fleet),
	{.name = "USER_RUNNING",
		.type = OPTION_INT,
		.value = &user_running,
		.fallback = "0",
		.max = 1 << 20,
		.help = "most running jobs of a user, as the workers have it: more of a user's jobs need no more workers"},
	{.name = "USER_WEIGHTS",
		.type = OPTION_STRING,
		.value = &user_weights,
		.fallback = "",
		.help = "shares of users, as the workers have them: for the places in line"},
	OPTIONS_HOUSEKEEPING(house),
	OPTIONS_BLOBS(store),
	OPTION_WEBHOOK(webhook_allow),
	OPTIONS_LOG,
};

static struct metric wanted = {
	.name = "trabajos_scale_wanted_workers", .help = "Workers that the rule wants", .type = METRIC_GAUGE};
static struct metric deadline = {.name = "trabajos_scale_deadline_seconds",
	.help = "SCALE_DEADLINE_S: within which a queued job should start",
	.type = METRIC_GAUGE,
	.scale = 1000};
static struct metric actual = {
	.name = "trabajos_scale_actual_workers", .help = "Workers alive that claim jobs", .type = METRIC_GAUGE};

struct observer {
	struct loop *loop;
	struct loop_signal *signals[2];
	struct prepare *prepare;
	struct sampler *sampler;
	struct lag *lag;
	struct wait *wait;
	struct lead *lead;
	struct history *history;
	struct actuator *actuator;
	struct startup startup;
	struct forecaster *forecaster;
	struct review *review;
	struct http_server *metrics;
	struct serve *serve;

	struct db_session *house_session;
	struct publisher *publisher;
	struct housekeeping *housekeeping;

	struct rule_limits limits;
	struct rule_state rule;
	struct serve_state shown;
	int exit_code;
};

static void stop(int signal, void *arg) {
	struct observer *observer = arg;
	log_info(log_m("ending"), log_i("signal", signal));
	loop_stop(observer->loop);
}

static void give_up(struct observer *observer, const struct error *error) {
	log_error(log_m("cannot go on"), log_e(error));
	observer->exit_code = lifecycle_exit_code(error->kind);
	loop_stop(observer->loop);
}

// ---- from figures to a number

static void led(bool leads, void *arg) {
	struct observer *observer = arg;
	observer->shown.leads = leads;
	if (!leads) actuator_stand_by(observer->actuator);
	review_lead(observer->review, leads);
	if (prepare_schema_done(observer->prepare, NULL)) forecaster_lead(observer->forecaster, leads);
}

static void observed(enum actuator_state state, int64_t wanted_workers, int64_t actual_workers, const char *detail, void *arg) {
	struct observer *observer = arg;
	history_action(observer->history, actuator_name(observer->actuator), actuator_states[state], wanted_workers,
		actual_workers, detail);
}

// Only who leads keeps the decision and carries it out; the others go on deciding, for whoever reads their /escala.
static void act(struct observer *observer) {
	const struct serve_state *shown = &observer->shown;
	if (!lead_held(observer->lead)) return;
	AUTO_JSON json_t *figures = serve_figures(shown);
	history_decision(observer->history, &shown->decision, figures, shown->actuator);
	actuator_ask(observer->actuator, &shown->decision);
}

static void decide(struct sample *sample, void *arg) {
	struct observer *observer = arg;
	struct serve_state *shown = &observer->shown;
	startup_actual(&observer->startup, sample->at_ms, sample_claiming(sample));
	sample->start_ms = startup_ms(&observer->startup);
	sample->starting = actuator_starting(observer->actuator);
	sample->held = forecaster_held(observer->forecaster);
	rule_decision_clear(&shown->decision);
	rule_decide(&observer->limits, sample, &observer->rule, &shown->decision);
	startup_wanted(&observer->startup, sample->at_ms, shown->decision.wanted);
	forecaster_see(observer->forecaster, sample, &shown->decision, actuator_acts(observer->actuator));
	shown->sample = *sample;
	shown->any = true;
	metric_set(&wanted, shown->decision.wanted);
	metric_set(&actual, shown->decision.actual);
	act(observer);
}

// ---- what can begin as soon as the schema and the topics are there

static void cannot_go_on(const struct error *error, void *arg) {
	give_up(arg, error);
}

// In the observer too, so that leases are reaped and results are sent while there is no worker.
static void start_housekeeping(struct observer *observer) {
	AUTO_ERROR struct error error = {0};
	if (!prepare_schema_done(observer->prepare, NULL) || !prepare_topics_done(observer->prepare, NULL)) return;
	observer->house_session = db_session_open(observer->loop, &db);
	if (publisher_open(observer->loop, &kafka, observer->house_session, &observer->publisher, &error) != 0) {
		give_up(observer, &error);
		return;
	}
	observer->housekeeping = housekeeping_start(observer->loop, &house, observer->house_session, observer->publisher);
}

static void schema_done(void *arg) {
	struct observer *observer = arg;
	sampler_start(observer->sampler);
	forecaster_lead(observer->forecaster, lead_held(observer->lead));
	const struct review_config past = {.db = &db, .start_ms = observer->limits.start_ms, .user_running = user_running};
	observer->review = review_start(&past);
	review_lead(observer->review, lead_held(observer->lead));
	start_housekeeping(observer);
}

static void topics_done(void *arg) {
	struct observer *observer = arg;
	AUTO_ERROR struct error error = {0};
	const struct wait_config results = {.kafka = &kafka, .failed = cannot_go_on, .arg = observer};
	if (wait_open(observer->loop, &results, &observer->wait, &error) != 0) {
		give_up(observer, &error);
		return;
	}
	observer->lag = lag_start(&kafka);
	sampler_lag(observer->sampler, observer->lag);
	start_housekeeping(observer);
}

static bool is_prepared(struct observer *observer, char **reason) {
	AUTO_FREE char *schema = NULL, *topics = NULL;
	bool has_schema = prepare_schema_done(observer->prepare, &schema);
	bool has_topics = prepare_topics_done(observer->prepare, &topics);
	if (has_schema && has_topics) return true;
	*reason = mem_format("%s%s%s%s%s", has_schema ? "" : "database schema: ", has_schema ? "" : schema,
		has_schema || has_topics ? "" : "; ", has_topics ? "" : "Kafka topics: ", has_topics ? "" : topics);
	return false;
}

static int ready(char **reason, void *arg) {
	struct observer *observer = arg;
	if (!is_prepared(observer, reason)) return 0;
	const char *trouble = sampler_trouble(observer->sampler);
	if (trouble) {
		*reason = mem_format("ledger: %s", trouble);
		return 0;
	}
	AUTO_FREE char *unread = NULL;
	if (observer->wait && wait_ready(observer->wait, &unread)) return 1;
	*reason = mem_format("resultados: %s", unread ? unread : "not opened yet");
	return 0;
}

// ---- start and end

static int check(void) {
	int code = check_postgres(&db, check_kafka(&kafka, EXIT_FINE));
	return fflush(stdout) == 0 ? code : EXIT_FAILED;
}

static const char *actuator_named(const struct observer *observer) {
	return observer->limits.dry ? "advise" : actuator_choice;
}

static int check_options(struct observer *observer, struct error *error) {
	if (housekeeping_retention_check(house.retention_days, &kafka, error) != 0) return -1;
	if (blobs_check(&store, error) != 0) return -1;
	if (giturl_rules_parse(webhook_allow, &webhook_rules, error) != 0) return error_wrap(error, "WEBHOOK_ALLOW");
	house.webhook_rules = webhook_rules;
	if (rule_limits_of(&scale, &observer->limits, error) != 0) return -1;
	if (weights_read(user_weights, &weights_json, error) != 0) return -1;
	return actuator_check(actuator_choice, error);
}

static int open_actuator(struct observer *observer, struct error *error) {
	observer->lead = lead_open(observer->loop, &db, led, observer);
	observer->history = history_new(lead_session(observer->lead));
	const struct actuator_config config = {.name = actuator_named(observer),
		.fleet = {.options = &fleet,
			.loop = observer->loop,
			.session = lead_session(observer->lead),
			.lease_ms = house.lease_s * 1000},
		.observed = observed,
		.arg = observer};
	if (actuator_open(&config, &observer->actuator, error) != 0) return -1;
	observer->shown.actuator = actuator_name(observer->actuator);
	return 0;
}

static int open_all(struct observer *observer, struct error *error) {
	metrics_register(&wanted);
	metrics_register(&actual);
	metrics_register(&deadline);
	metric_set(&deadline, observer->limits.deadline_ms);
	observer->loop = loop_new();
	observer->signals[0] = loop_signal_add(observer->loop, SIGTERM, stop, observer);
	observer->signals[1] = loop_signal_add(observer->loop, SIGINT, stop, observer);
	if (open_actuator(observer, error) != 0) return -1;
	const struct forecaster_config foretold = {
		.lease_ms = house.lease_s * 1000, .user_running = user_running, .weights = weights_json};
	observer->forecaster = forecaster_open(observer->loop, &db, &foretold);
	observer->shown.forecaster = observer->forecaster;
	observer->sampler = sampler_open(observer->loop, &db, house.lease_s * 1000, decide, observer);
	const struct prepare_config config = {.db = &db,
		.kafka = &kafka,
		.schema_done = schema_done,
		.topics_done = topics_done,
		.failed = cannot_go_on,
		.arg = observer};
	observer->prepare = prepare_start(observer->loop, &config);
	observer->shown.limits = &observer->limits;
	observer->shown.sampler = observer->sampler;
	if (serve_open(observer->loop, listen_address, &observer->shown, &observer->serve, error) != 0) return -1;
	return http_metrics_open(observer->loop, metrics_address, ready, observer, &observer->metrics, error);
}

static void end_housekeeping(struct observer *observer) {
	housekeeping_stop(observer->housekeeping);
	if (observer->house_session) db_session_close(observer->house_session);
	if (observer->publisher) publisher_close(observer->publisher, FLUSH_MS);
}

// -1: a thread did not end in time.
static int end_threads(struct observer *observer) {
	wait_ask(observer->wait);
	lag_ask(observer->lag);
	review_ask(observer->review);
	int prepare = prepare_close(observer->prepare, ASK_MS);
	int lag = lag_close(observer->lag, ASK_MS);
	int review = review_close(observer->review, REVIEW_MS);
	int wait = wait_close(observer->wait, END_MS);
	return prepare || lag || review || wait ? -1 : 0;
}

static void close_all(struct observer *observer) {
	serve_close(observer->serve);
	if (observer->metrics) http_server_close(observer->metrics);
	sampler_close(observer->sampler);
	forecaster_close(observer->forecaster);
	lead_close(observer->lead);
	end_housekeeping(observer);
	if (end_threads(observer) != 0) {
		log_warn(log_m("a thread did not end in time; leaving without it"));
		_exit(observer->exit_code);
	}
	actuator_close(observer->actuator);
	history_free(observer->history);
	rule_decision_clear(&observer->shown.decision);
	for (size_t i = 0; i < COUNT_OF(observer->signals); i++) loop_signal_remove(observer->signals[i]);
	loop_free(observer->loop);
	free(weights_json);
	giturl_rules_free(webhook_rules);
	option_clear(options, COUNT_OF(options));
}

int main(int argc, char **argv) {
	bool only_check = lifecycle_start("observer", "Reads the results and says how many workers there should be.", options,
		COUNT_OF(options), argc, argv);
	AUTO_ERROR struct error error = {0};
	struct observer observer = {0};
	if (check_options(&observer, &error) != 0) return lifecycle_bad_start(&error);
	if (only_check) return check();
	option_export(options, COUNT_OF(options)); // for workers that it starts
	log_info(log_m("starting"), log_s("version", lifecycle_version()), log_s("actuator", actuator_named(&observer)));
	if (open_all(&observer, &error) == 0) {
		working_set_run(observer.loop);
	} else {
		observer.exit_code = lifecycle_bad_start(&error);
	}
	close_all(&observer);
	return observer.exit_code;
}
