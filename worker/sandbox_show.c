#include "worker/sandbox_show.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/metrics.h"

#include <stdio.h>

static const struct {
	const char *name, *text;
} missing[] = {
	{"missing", "isolation is not full"},
	{"missing_landlock", "no Landlock behind it"},
	{"missing_limits", "no control groups for all limits"},
	{"missing_workspace", "trees are copied for each job"},
};

static struct metric level = {.name = "trabajos_worker_isolation_level",
	.help = "isolation of jobs: 0 full, 1 reduced, 2 none",
	.type = METRIC_GAUGE};
static struct metric box = {
	.name = "trabajos_worker_box_info", .help = "what the jobs' boxes are made of here", .type = METRIC_GAUGE};

void sandbox_show_check(const struct sandbox *sandbox) {
	AUTO_JSON json_t *description = sandbox_describe(sandbox);
	AUTO_FREE char *whole = json_write(description);
	printf("sandbox: %s\n", whole);
	for (size_t i = 0; i < COUNT_OF(missing); i++) {
		const char *why = json_text(description, missing[i].name);
		if (why) printf("%s: %s\n", missing[i].text, why);
	}
}

void sandbox_show_log(const struct sandbox *sandbox) {
	AUTO_JSON json_t *description = sandbox_describe(sandbox);
	const char *why = json_text(description, missing[0].name);
	if (why) log_warn(log_m(missing[0].text), log_s("missing", why));
	for (size_t i = 1; i < COUNT_OF(missing); i++) {
		why = json_text(description, missing[i].name);
		if (why) log_info(log_m(missing[i].text), log_s("missing", why));
	}
}

void sandbox_show_metrics(const struct sandbox *sandbox) {
	AUTO_JSON json_t *description = sandbox_describe(sandbox);
	const char *cgroup = json_text(description, "cgroup");
	int64_t landlock = 0;
	(void)!json_int(description, "landlock", 0, INT16_MAX, 0, &landlock, NULL);
	box.labels = mem_format("level=\"%s\",cgroup=\"%s\",landlock=\"%lld\",workspace=\"%s\",network=\"%s\",disk=\"%s\"",
		json_text(description, "level"), cgroup ? cgroup : "none", (long long)landlock,
		json_text(description, "workspace"), json_text(description, "network"), json_text(description, "disk"));
	metrics_register(&level);
	metrics_register(&box);
	metric_set(&level, sandbox_level(sandbox));
	metric_set(&box, 1);
}
