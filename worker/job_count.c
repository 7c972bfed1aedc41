#include "worker/job_count.h"

#include "lib/attr.h"
#include "lib/metrics.h"

static struct metric finished_ok = {.name = "trabajos_attempts_total",
	.labels = "blame=\"none\"",
	.help = "attempts that ended, by whose fault it was",
	.type = METRIC_COUNTER};
static struct metric finished_user = {
	.name = "trabajos_attempts_total", .labels = "blame=\"user\"", .help = "", .type = METRIC_COUNTER};
static struct metric finished_limit = {
	.name = "trabajos_attempts_total", .labels = "blame=\"limit\"", .help = "", .type = METRIC_COUNTER};
static struct metric finished_platform = {
	.name = "trabajos_attempts_total", .labels = "blame=\"platform\"", .help = "", .type = METRIC_COUNTER};
static struct metric taken_over = {.name = "trabajos_attempts_fenced_total",
	.help = "attempts that another worker had taken over; nothing was written",
	.type = METRIC_COUNTER};
static struct metric execution = {
	.name = "trabajos_execution_seconds", .help = "fetch and run of an attempt", .type = METRIC_HISTOGRAM, .scale = 1000};
static struct metric reused = {.name = "trabajos_attempts_reused_total",
	.help = "attempts that took an earlier result instead of a run",
	.type = METRIC_COUNTER};

void job_count_ended(const struct outcome *outcome, int64_t execution_ms) {
	metric_observe_ms(&execution, execution_ms);
	switch (outcome->blame) {
	case BLAME_NONE:
		metric_add(&finished_ok, 1);
		break;
	case BLAME_USER:
		metric_add(&finished_user, 1);
		break;
	case BLAME_LIMIT:
		metric_add(&finished_limit, 1);
		break;
	case BLAME_PLATFORM:
		metric_add(&finished_platform, 1);
		break;
	}
}

void job_count_fenced(void) {
	metric_add(&taken_over, 1);
}

void job_count_reused(void) {
	metric_add(&reused, 1);
}

void job_count_register(void) {
	struct metric *metrics[] = {
		&finished_ok, &finished_user, &finished_limit, &finished_platform, &taken_over, &reused, &execution};
	for (size_t i = 0; i < COUNT_OF(metrics); i++) metrics_register(metrics[i]);
}
