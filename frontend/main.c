#include "frontend/auth_try.h"
#include "frontend/follow.h"
#include "frontend/frontend.h"
#include "frontend/meters.h"
#include "frontend/options.h"
#include "frontend/text.h"
#include "lib/check.h"
#include "lib/lifecycle.h"
#include "lib/log.h"
#include "lib/working_set.h"

#include <sys/resource.h>

#define HEADER_BYTES_MAX 16384
#define TARGET_BYTES_MAX 8192
#define BODY_BYTES_MAX   65536
#define DEADLINE_MS      10000
#define IDLE_MS          60000
#define LEAST_BYTES_S    1024  // that a client takes of an answer: far below any link in use
#define DRAIN_MS         12000 // longer than any request's deadline
#define DRAIN_LOOK_MS    10
#define FLUSH_MS         5000
#define PREPARE_WAIT_MS  1000
#define WATCH_MS         1000
#define FILES_BESIDE     256 // descriptors that are not clients' connections

// What only the start and the stop need.
struct run {
	struct frontend frontend;
	struct client *client;
	struct http_server *server, *metrics;
	struct loop_signal *signals[2];
	struct loop_timer *watch, *drain;
	int64_t drain_until_ms; // 0: not stopping
	bool kafka_was_ready;
	int exit_code;
};

// ---- steps of the start that wait for a service

static void topics_done(void *arg) {
	(void)arg;
	log_info(log_m("Kafka's topics are there"));
}

static void ledger_changed(int connected, const char *why, void *arg) {
	(void)arg;
	if (connected)
		log_info(log_m("connected to PostgreSQL"));
	else
		log_warn(log_m("PostgreSQL is away; jobs are accepted still, and reach the ledger by the workers"),
			log_s("error", why));
}

static void schema_done(void *arg) {
	struct frontend *frontend = &((struct run *)arg)->frontend;
	frontend->reads = db_session_open(frontend->loop, &frontend_options.db);
	struct db_config steady = frontend_options.db;
	steady.steady_plans = true;
	frontend->writes = db_session_open(frontend->loop, &steady);
	db_session_watch(frontend->reads, ledger_changed, NULL);
	const struct follow_config follow = {.db = &frontend_options.db,
		.most = frontend_options.followers,
		.most_per_user = frontend_options.followers_per_user};
	frontend->follow = follow_open(frontend->loop, &follow);
	intake_ledger(frontend->intake, &steady);
	told_ledger(frontend->told, frontend->writes);
}

static void cannot_prepare(const struct error *error, void *arg) {
	struct run *run = arg;
	log_error(log_m("cannot go on"), log_e(error));
	run->exit_code = lifecycle_exit_code(error->kind);
	loop_stop(run->frontend.loop);
}

static void start_preparing(struct run *run) {
	const struct prepare_config config = {.db = &frontend_options.db,
		.kafka = &frontend_options.kafka,
		.schema_done = schema_done,
		.topics_done = topics_done,
		.failed = cannot_prepare,
		.arg = run};
	run->frontend.prepare = prepare_start(run->frontend.loop, &config);
}

// ---- while it runs

static void request_finished(const struct http_request *request, int status, int64_t took_us, void *arg) {
	(void)arg;
	meters_request(status, api_log_followed(request) ? -1 : took_us);
	// An outage is told once, where it begins, not for each request that it fails.
	if (status == 500)
		log_error(log_m("request failed"), log_s("path", http_path(request)), log_s("request_id", http_id(request)));
	log_debug(log_m("request"), log_i("status", status), log_s("method", http_method(request)),
		log_s("path", http_path(request)), log_s("client", http_client(request)), log_s("request_id", http_id(request)),
		log_i("took_us", took_us));
}

static void watch(void *arg) {
	struct run *run = arg;
	const char *trouble = intake_kafka_trouble(run->frontend.intake);
	if (!trouble && !run->kafka_was_ready) log_info(log_m("connected to Kafka"));
	if (trouble && run->kafka_was_ready) log_warn(log_m("Kafka takes no jobs"), log_s("error", trouble));
	run->kafka_was_ready = !trouble;
	metric_set(&meter_connections, http_server_connections(run->server));
	loop_timer_set(run->watch, WATCH_MS);
}

// ---- the orderly stop: no new connections, what is under way comes to its end

static void drain(void *arg) {
	struct run *run = arg;
	size_t under_way = submit_under_way(intake_submit(run->frontend.intake));
	unsigned pending = http_server_pending(run->server);
	if (!pending && !under_way && told_idle(run->frontend.told)) {
		loop_stop(run->frontend.loop);
	} else if (loop_now_ms() >= run->drain_until_ms) {
		log_warn(log_m("stopping with work under way"), log_i("requests", pending),
			log_i("submissions", (int64_t)under_way));
		loop_stop(run->frontend.loop);
	} else {
		loop_timer_set(run->drain, DRAIN_LOOK_MS);
	}
}

static void stop(int signal, void *arg) {
	struct run *run = arg;
	if (run->drain_until_ms) {
		loop_stop(run->frontend.loop);
		return;
	}
	log_info(log_m("stopping"), log_s("signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"));
	http_server_quiesce(run->server);
	follow_quiesce(run->frontend.follow);
	run->drain_until_ms = loop_now_ms() + DRAIN_MS;
	drain(run);
}

// ---- opening and closing

static struct auth_config auth_config(void) {
	return (struct auth_config){.issuer = frontend_options.issuer,
		.audience = frontend_options.audience,
		.jwks_url = frontend_options.jwks_url};
}

// A client that finds no descriptor left waits in the kernel's queue without an answer.
static void raise_file_limit(int64_t connections) {
	struct rlimit limit;
	rlim_t wanted = (rlim_t)connections + FILES_BESIDE;
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted) return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < wanted)
		log_warn(log_m("the limit of open files is too low for FRONTEND_CONNECTIONS"),
			log_i("limit", (int64_t)limit.rlim_cur), log_i("wanted", (int64_t)wanted));
}

static int open_server(struct run *run, struct error *error) {
	const struct frontend_options *options = &frontend_options;
	const struct http_config config = {
		.listen = options->listen,
		.routes = frontend_routes,
		.route_count = frontend_route_count,
		.arg = &run->frontend,
		.header_bytes = HEADER_BYTES_MAX,
		.target_bytes = TARGET_BYTES_MAX,
		.body_bytes = BODY_BYTES_MAX,
		.connections = (unsigned)options->connections,
		.connections_per_address = (unsigned)options->connections_per_address,
		.deadline_ms = DEADLINE_MS,
		.idle_ms = IDLE_MS,
		.least_bytes_per_s = LEAST_BYTES_S,
		.trusted_proxies = *options->trusted_proxies ? options->trusted_proxies : NULL,
		.cors_origins = options->cors_origins,
		.languages = text_languages,
		.translate = text_translate,
		.finished = request_finished,
	};
	if (http_server_open(run->frontend.loop, &config, &run->server, error)) return error_wrap(error, "FRONTEND_LISTEN");
	return http_metrics_open(
		run->frontend.loop, options->metrics_listen, health_ready, &run->frontend, &run->metrics, error);
}

static int open_all(struct run *run, struct error *error) {
	const struct frontend_options *options = &frontend_options;
	struct frontend *frontend = &run->frontend;
	meters_register();
	raise_file_limit(options->connections);
	frontend->loop = loop_new();
	run->signals[0] = loop_signal_add(frontend->loop, SIGTERM, stop, run);
	run->signals[1] = loop_signal_add(frontend->loop, SIGINT, stop, run);
	run->watch = loop_timer_new(frontend->loop, watch, run);
	run->drain = loop_timer_new(frontend->loop, drain, run);
	run->client = client_new(frontend->loop);
	const struct auth_config auth = auth_config();
	frontend->auth = auth_open(frontend->loop, run->client, &auth);
	frontend->told = told_open(frontend->loop);
	frontend->store = &options->store;
	frontend->client = run->client;
	frontend->rate = rate_new(options->rate_burst ? options->rate_per_s : 0, options->rate_burst);
	if (intake_open(frontend->loop, &options->kafka, &frontend->intake, error)) return -1;
	if (open_server(run, error)) return -1;
	start_preparing(run);
	loop_timer_set(run->watch, 0);
	return 0;
}

// The other way round; requests first, so that nobody waits for what is closed after them.
static void close_all(struct run *run) {
	struct frontend *frontend = &run->frontend;
	http_server_close(run->server);
	http_server_close(run->metrics);
	int threads = prepare_close(frontend->prepare, PREPARE_WAIT_MS);
	intake_close(frontend->intake, FLUSH_MS);
	follow_close(frontend->follow);
	db_session_close(frontend->reads);
	db_session_close(frontend->writes);
	told_close(frontend->told);
	// A thread that hangs in a service would touch what is freed below.
	if (threads) {
		log_warn(log_m("a thread did not end in time; leaving without it"));
		_exit(run->exit_code);
	}
	client_free(run->client);
	auth_close(frontend->auth);
	rate_free(frontend->rate);
	giturl_rules_free(frontend->git_allow);
	giturl_rules_free(frontend->webhook_allow);
	loop_timer_free(run->watch);
	loop_timer_free(run->drain);
	for (size_t i = 0; i < COUNT_OF(run->signals); i++) loop_signal_remove(run->signals[i]);
	loop_free(frontend->loop);
	option_clear(frontend_option_table, frontend_option_count);
}

static int check(struct run *run) {
	struct error error AUTO_ERROR = {0};
	const struct auth_config auth = auth_config();
	int code = check_kafka(&frontend_options.kafka, EXIT_FINE);
	code = check_postgres(&frontend_options.db, code);
	code = check_report("Keycloak", auth_try(&auth, &error) == 0, &error, code);
	giturl_rules_free(run->frontend.git_allow);
	giturl_rules_free(run->frontend.webhook_allow);
	option_clear(frontend_option_table, frontend_option_count);
	return fflush(stdout) ? EXIT_FAILED : code;
}

int main(int argc, char **argv) {
	bool only_check = lifecycle_start("frontend", "Accepts jobs over HTTP: Kafka first, then the ledger.",
		frontend_option_table, frontend_option_count, argc, argv);
	struct error error AUTO_ERROR = {0};
	struct run run = {0};
	if (frontend_options_check(&error)) return lifecycle_bad_start(&error);
	if (giturl_rules_parse(frontend_options.git_allow, &run.frontend.git_allow, &error)) {
		error_wrap(&error, "GIT_ALLOW");
		return lifecycle_bad_start(&error);
	}
	if (giturl_rules_parse(frontend_options.webhook_allow, &run.frontend.webhook_allow, &error)) {
		error_wrap(&error, "WEBHOOK_ALLOW");
		return lifecycle_bad_start(&error);
	}
	if (only_check) return check(&run);

	if (open_all(&run, &error) == 0) {
		log_info(log_m("listening"), log_s("address", frontend_options.listen),
			log_i("port", http_server_port(run.server)), log_s("version", lifecycle_version()));
		working_set_run(run.frontend.loop);
	} else {
		run.exit_code = lifecycle_bad_start(&error);
	}
	close_all(&run);
	log_info(log_m("stopped"));
	return run.exit_code;
}
