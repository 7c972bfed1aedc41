// What is kept of an attempt beside its outcome (column attempts.detail): plan, commit, limits, isolation, figures, times.
#pragma once

#include "worker/fetch.h"
#include "worker/sandbox.h"

#include <stdint.h>

struct detail {
	json_t *json;
	int64_t execution_us; // fetch and run
	int64_t output_bytes, output_kept;
	int64_t fetch_us, workspace_us, start_us, run_us; // -1: did not come to that
};

void detail_init(struct detail *detail, const struct sandbox *sandbox);
void detail_clear(struct detail *detail);
void detail_fetched(struct detail *detail, const struct fetch_result *fetched, int64_t fetch_us);
void detail_limits(struct detail *detail, const struct sandbox_limits *limits, int64_t timeout_ms);
void detail_network(struct detail *detail, bool egress);
// Whose result it is, and what it has left.
void detail_reused(struct detail *detail, const char *earlier, int64_t files, int64_t bytes);
void detail_artifacts(struct detail *detail, json_t *artifacts); // takes it over; links them (sql/0013-artifacts.sql)
void detail_report(struct detail *detail, const struct sandbox_report *report);
// JSON text, owned by the caller; of an attempt that runs: what is known before its end.
char *detail_write(const struct detail *detail) MUST_USE;
char *detail_write_running(const struct detail *detail) MUST_USE;
