// GET /healthcheck: can a job be accepted now; and readiness, which asks for more.
#include "frontend/answer.h"
#include "frontend/frontend.h"
#include "lib/mem.h"

#include <string.h>

// The ledger is not needed to accept a job.
void health_handle(struct http_request *request, void *arg) {
	const struct frontend *frontend = arg;
	if (!prepare_topics_done(frontend->prepare, NULL) || !intake_kafka_ready(frontend->intake))
		answer_problem(request, 503, ANSWER_RETRY_AFTER_S, "Kafka takes no jobs now.");
	else if (!auth_ready(frontend->auth, NULL))
		answer_unavailable(request, "The issuer of the tokens");
	else
		http_answer_text(request, 200, "text/plain; charset=utf-8", "OK\n");
}

static void add_reason(char **reasons, const char *service, const char *why) {
	bool named = strncmp(why, service, strlen(service)) == 0; // the message names the service by itself
	char *more = mem_format(
		"%s%s%s%s%s", *reasons ? *reasons : "", *reasons ? "; " : "", named ? "" : service, named ? "" : ": ", why);
	free(*reasons);
	*reasons = more;
}

static void kafka_reason(const struct frontend *frontend, char **reasons) {
	AUTO_FREE char *why = NULL;
	const char *trouble = intake_kafka_trouble(frontend->intake);
	if (!prepare_topics_done(frontend->prepare, &why))
		add_reason(reasons, "Kafka", why);
	else if (trouble)
		add_reason(reasons, "Kafka", trouble);
}

static void ledger_reason(const struct frontend *frontend, char **reasons) {
	AUTO_FREE char *why = NULL;
	if (!prepare_schema_done(frontend->prepare, &why)) {
		add_reason(reasons, "PostgreSQL", why);
	} else if (!frontend->reads || !db_session_ready(frontend->reads) || !intake_ledger_ready(frontend->intake)) {
		const char *error = frontend->reads ? db_session_error(frontend->reads) : NULL;
		add_reason(reasons, "PostgreSQL", error ? error : "connecting");
	}
}

int health_ready(char **reason, void *arg) {
	const struct frontend *frontend = arg;
	char *reasons = NULL;
	struct error keys AUTO_ERROR = {0};
	kafka_reason(frontend, &reasons);
	ledger_reason(frontend, &reasons);
	if (!auth_ready(frontend->auth, &keys)) add_reason(&reasons, "Keycloak", error_text(&keys));
	*reason = reasons;
	return !reasons;
}
