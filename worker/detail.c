#include "worker/detail.h"

#include <string.h>

void detail_init(struct detail *detail, const struct sandbox *sandbox) {
	*detail = (struct detail){.json = json_object(), .fetch_us = -1, .workspace_us = -1, .start_us = -1, .run_us = -1};
	json_object_set_new(detail->json, "isolation", sandbox_describe(sandbox));
}

void detail_clear(struct detail *detail) {
	json_decref(detail->json);
	detail->json = NULL;
}

static void set_figure(json_t *object, const char *name, int64_t figure) {
	if (figure >= 0) json_object_set_new(object, name, json_integer(figure));
}

void detail_fetched(struct detail *detail, const struct fetch_result *fetched, int64_t fetch_us) {
	detail->fetch_us = fetch_us;
	json_object_set_new(detail->json, "commit", json_string(fetched->commit));
	json_object_set_new(detail->json, "remote_asked", json_boolean(fetched->remote));
	set_figure(detail->json, "tree_bytes", fetched->bytes);
	set_figure(detail->json, "tree_files", fetched->files);
	if (!fetched->plan.kind) return;
	json_object_set_new(
		detail->json, "plan", json_pack("{s:s, s:s}", "kind", fetched->plan.kind, "command", fetched->plan.command));
}

void detail_limits(struct detail *detail, const struct sandbox_limits *limits, int64_t timeout_ms) {
	json_t *json = json_object();
	set_figure(json, "timeout_s", timeout_ms / 1000);
	if (limits->cpu_s > 0) set_figure(json, "cpu_s", limits->cpu_s);
	set_figure(json, "memory_bytes", limits->memory_bytes);
	set_figure(json, "processes", limits->processes);
	set_figure(json, "open_files", limits->open_files);
	set_figure(json, "disk_bytes", limits->disk_bytes);
	json_object_set_new(detail->json, "limits", json);
}

void detail_network(struct detail *detail, bool egress) {
	json_t *isolation = json_object_get(detail->json, "isolation");
	const char *machine = json_text(isolation, "network");
	if (machine && strcmp(machine, "host") != 0)
		json_object_set_new(isolation, "network", json_string(egress ? "egress" : "none"));
}

void detail_artifacts(struct detail *detail, json_t *artifacts) {
	json_object_set_new(detail->json, "artifacts", artifacts);
}

void detail_reused(struct detail *detail, const char *earlier, int64_t files, int64_t bytes) {
	json_object_set_new(detail->json, "reused_from", json_string(earlier));
	if (files > 0)
		detail_artifacts(detail,
			json_pack("{s:I, s:I, s:i}", "files", (json_int_t)files, "bytes", (json_int_t)bytes, "left_out", 0));
}

void detail_report(struct detail *detail, const struct sandbox_report *report) {
	detail->workspace_us = report->workspace_us;
	detail->start_us = report->start_us;
	detail->run_us = report->run_us;
	// Of this very box; where the machine shows trees, one box may still have had to copy its own.
	if (report->workspace_us >= 0)
		json_object_set_new(json_object_get(detail->json, "isolation"), "workspace",
			json_string(report->shared ? "overlay" : "copy"));
	set_figure(detail->json, "peak_memory_bytes", report->peak_memory_bytes);
	set_figure(detail->json, "cpu_us", report->cpu_us);
}

char *detail_write_running(const struct detail *detail) {
	AUTO_JSON json_t *whole = json_copy(detail->json);
	json_t *times = json_object();
	set_figure(times, "fetch", detail->fetch_us);
	json_object_set_new(whole, "times_us", times);
	return json_write(whole);
}

char *detail_write(const struct detail *detail) {
	AUTO_JSON json_t *whole = json_copy(detail->json);
	json_t *times = json_object();
	set_figure(times, "fetch", detail->fetch_us);
	set_figure(times, "workspace", detail->workspace_us);
	set_figure(times, "start", detail->start_us);
	set_figure(times, "run", detail->run_us);
	set_figure(times, "execution", detail->execution_us);
	json_object_set_new(whole, "times_us", times);
	json_object_set_new(whole, "output",
		json_pack("{s:I, s:I, s:b}", "bytes", (json_int_t)detail->output_bytes, "kept", (json_int_t)detail->output_kept,
			"truncated", detail->output_bytes > detail->output_kept));
	return json_write(whole);
}
