// Counters, gauges and histograms in the Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
//
// Metrics are static objects that register themselves at first use through metrics_register; names start with trabajos_,
// base units (seconds, bytes), counters end in _total. Labels are fixed at build time: never a user, key or URL.
// Counters and gauges are atomic; histograms take a lock.
#pragma once

#include "lib/attr.h"

#include <stddef.h>
#include <stdint.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
	const char *name;
	const char *labels; // as written between the braces, e.g. "code=\"200\""; NULL: none
	const char *help;
	enum metric_type type;
	int64_t scale; // the exposed value is value / scale (1000: milliseconds shown as seconds); 0 = 1, histograms 1000
	_Atomic int64_t value;       // counter, gauge
	struct metric_buckets *data; // histogram: made by metrics_register
	struct metric *next;
};

// Static lifetime required. Before threads start, for histograms; again is harmless. Those of one name are shown together.
void metrics_register(struct metric *metric);
void metric_add(struct metric *metric, int64_t amount);
void metric_set(struct metric *metric, int64_t value);
int64_t metric_get(const struct metric *metric);
void metric_observe_ms(struct metric *metric, int64_t value_ms); // histogram; buckets 1 ms to 1 h, exponential
int64_t metric_count(const struct metric *metric);               // of a histogram

// The whole page; owned by the caller. Also process_resident_memory_bytes, process_start_time_seconds and build info.
char *metrics_render(void) MUST_USE;
