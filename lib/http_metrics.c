#include "lib/http_internal.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <string.h>

#define REFUSED_HELP "Connections closed at once because there were too many, in all or of one address"

static struct metric refused_in_all = {.name = "trabajos_http_connections_refused_total",
	.labels = "limit=\"all\"",
	.help = REFUSED_HELP,
	.type = METRIC_COUNTER};
static struct metric refused_by_address = {.name = "trabajos_http_connections_refused_total",
	.labels = "limit=\"address\"",
	.help = REFUSED_HELP,
	.type = METRIC_COUNTER};

struct readiness {
	int (*ready)(char **reason, void *arg);
	void *arg;
};

void http_handle_metrics(struct http_request *request, void *arg) {
	(void)arg;
	AUTO_FREE char *page = metrics_render();
	http_answer_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", page);
}

void http_handle_livez(struct http_request *request, void *arg) {
	(void)arg;
	http_answer_text(request, 200, "text/plain; charset=utf-8", "OK\n");
}

static void handle_readyz(struct http_request *request, void *arg) {
	const struct readiness *readiness = arg;
	AUTO_FREE char *reason = NULL;
	if (!readiness->ready || readiness->ready(&reason, readiness->arg))
		http_answer_text(request, 200, "text/plain; charset=utf-8", "OK\n");
	else
		http_problem(request, &(struct http_problem){.status = 503, .detail = reason ? reason : "not ready"});
}

void http_refused(bool by_address) {
	static bool registered;
	if (!registered) {
		metrics_register(&refused_in_all);
		metrics_register(&refused_by_address);
		registered = true;
	}
	metric_add(by_address ? &refused_by_address : &refused_in_all, 1);
}

int http_metrics_open(struct loop *loop, const char *listen, int (*ready)(char **reason, void *arg), void *arg,
	struct http_server **server, struct error *error) {
	static const struct http_route routes[] = {
		{.path = "/metrics", .methods = "GET", .handle = http_handle_metrics},
		{.path = "/livez", .methods = "GET", .handle = http_handle_livez},
		{.path = "/readyz", .methods = "GET", .handle = handle_readyz},
	};
	*server = NULL;
	if (!listen || !*listen) return 0;
	struct readiness *readiness = mem_zalloc(sizeof(*readiness));
	*readiness = (struct readiness){.ready = ready, .arg = arg};
	struct http_config config = {.listen = listen,
		.routes = routes,
		.route_count = COUNT_OF(routes),
		.arg = readiness,
		.header_bytes = 8192,
		.target_bytes = 2048,
		.body_bytes = 1024,
		.connections = 64,
		.deadline_ms = 5000,
		.idle_ms = 60000};
	if (http_server_open(loop, &config, server, error) != 0) {
		free(readiness);
		return error_wrap(error, "METRICS_LISTEN");
	}
	(*server)->owned = readiness;
	log_info(log_m("serving metrics"), log_s("address", listen), log_i("port", http_server_port(*server)));
	return 0;
}
