#include "worker/job_limits.h"

static int64_t least(int64_t asked, int64_t most) {
	return asked > 0 && asked < most ? asked : most;
}

void job_limits(const struct worker_config *config, const struct plan *plan, int64_t timeout_s, struct sandbox_limits *limits,
	int64_t *timeout_ms) {
	*timeout_ms = least(timeout_s > 0 ? timeout_s : plan->timeout_s, config->job_timeout_s) * 1000;
	*limits = (struct sandbox_limits){.memory_bytes = least(plan->memory_mb, config->job_memory_mb) << 20,
		.processes = config->job_processes,
		.disk_bytes = config->job_disk_mb << 20,
		.file_bytes = config->job_disk_mb << 20,
		.open_files = config->job_files,
		.cpu_s = config->job_cpu_s};
}
