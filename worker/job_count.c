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

#define STEP(what, says)                                                                                                       \
	{ .name = "trabajos_attempt_" what "_seconds", .help = says, .type = METRIC_HISTOGRAM, .scale = 1000 }
static struct metric waits = STEP("wait", "from when a job might run to its claim, of those without a concurrency key");
static struct metric fetches = STEP("fetch", "from the claim to a tree and a plan, of attempts that came to it");
static struct metric starts = STEP("start", "from a tree to the job's first program");
static struct metric runs = STEP("run", "of the job's own programs");
static struct metric finishes = STEP("finish", "from the end of the run to its result in the ledger");

static void observe_step(struct metric *step, int64_t us) {
	if (us >= 0) metric_observe_ms(step, us / 1000);
}

void job_count_claimed(int64_t waited_ms) {
	metric_observe_ms(&waits, waited_ms > 0 ? waited_ms : 0);
}

void job_count_ended(const struct outcome *outcome, const struct detail *detail, int64_t finish_us) {
	metric_observe_ms(&execution, detail->execution_us / 1000);
	observe_step(&fetches, detail->fetch_us);
	observe_step(&starts, detail->start_us);
	observe_step(&runs, detail->run_us);
	observe_step(&finishes, finish_us);
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
	struct metric *metrics[] = {&finished_ok, &finished_user, &finished_limit, &finished_platform, &taken_over, &reused,
		&execution, &waits, &fetches, &starts, &runs, &finishes};
	for (size_t i = 0; i < COUNT_OF(metrics); i++) metrics_register(metrics[i]);
}
