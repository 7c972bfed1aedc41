#include "observer/lag.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"
#include "lib/task.h"

#define EVERY_MS   5000
#define TIMEOUT_MS 5000
#define OLD_MS     30000

struct lag {
	const struct kafka_config *config;
	struct task *task;
	_Atomic int64_t records; // -1: unknown
	_Atomic int64_t at_ms;
};

static struct metric records = {.name = "trabajos_kafka_lag_records",
	.help = "Records of topic trabajos that the workers have not committed; -1: unknown",
	.type = METRIC_GAUGE};

static void run(struct task *task, void *arg) {
	struct lag *lag = arg;
	bool failing = false;
	do {
		AUTO_ERROR struct error error = {0};
		int64_t got = kafka_lag(lag->config, "worker", KAFKA_TOPIC_TRABAJOS, TIMEOUT_MS, &error);
		if (got < 0 && !failing) log_warn(log_m("the lag of trabajos is unknown"), log_e(&error));
		failing = got < 0;
		lag->records = got;
		lag->at_ms = loop_now_ms();
		metric_set(&records, got);
	} while (task_pause(task, EVERY_MS));
}

enum lag_answer lag_read(struct lag *lag) {
	if (!lag || lag->records < 0 || loop_now_ms() - lag->at_ms > OLD_MS) return LAG_UNKNOWN;
	return lag->records > 0 ? LAG_SOME : LAG_NONE;
}

void lag_ask(struct lag *lag) {
	if (lag) task_ask(lag->task);
}

int lag_close(struct lag *lag, int64_t ms) {
	if (!lag) return 0;
	if (task_end(lag->task, ms) != 0) return -1;
	free(lag);
	return 0;
}

struct lag *lag_start(const struct kafka_config *config) {
	metrics_register(&records);
	metric_set(&records, -1);
	struct lag *lag = mem_zalloc(sizeof *lag);
	lag->config = config;
	lag->records = -1;
	lag->task = task_start("lag", run, lag);
	return lag;
}
