#include "lib/metrics.h"

#include "lib/mem.h"

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>

// Upper bounds in ms, six a decade: 1 ms to 1 h with a step of at most 1.67.
static const int64_t bounds_ms[] = {1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000,
	5000, 7000, 10000, 15000, 20000, 30000, 50000, 70000, 100000, 150000, 200000, 300000, 500000, 700000, 1000000, 1500000,
	2000000, 3000000, 3600000};
#define BOUNDS COUNT_OF(bounds_ms)

struct metric_buckets {
	pthread_mutex_t lock;
	int64_t counts[BOUNDS + 1]; // not cumulative; the last one is for what exceeds all bounds
	int64_t count, sum_ms;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *first;

// Where the metric goes: behind the last one of its name (the format wants them together), else at the end.
static struct metric **place_for(const struct metric *metric) {
	struct metric **place = &first;
	struct metric **behind_name = NULL;
	for (; *place; place = &(*place)->next) {
		if (*place == metric) return NULL;
		if (strcmp((*place)->name, metric->name) == 0) behind_name = &(*place)->next;
	}
	return behind_name ? behind_name : place;
}

void metrics_register(struct metric *metric) {
	pthread_mutex_lock(&registry_lock);
	struct metric **place = place_for(metric);
	if (place) {
		if (metric->type == METRIC_HISTOGRAM) {
			metric->data = mem_zalloc(sizeof(*metric->data));
			pthread_mutex_init(&metric->data->lock, NULL);
		}
		metric->next = *place;
		*place = metric;
	}
	pthread_mutex_unlock(&registry_lock);
}

void metric_add(struct metric *metric, int64_t amount) {
	metric->value += amount;
}

void metric_set(struct metric *metric, int64_t value) {
	metric->value = value;
}

int64_t metric_get(const struct metric *metric) {
	return metric->value;
}

void metric_observe_ms(struct metric *metric, int64_t value_ms) {
	if (!metric->data) metrics_register(metric);
	size_t bucket = 0;
	while (bucket < BOUNDS && value_ms > bounds_ms[bucket]) bucket++;
	struct metric_buckets *data = metric->data;
	if (!data) return; // no histogram
	pthread_mutex_lock(&data->lock);
	data->counts[bucket]++;
	data->count++;
	data->sum_ms += value_ms;
	pthread_mutex_unlock(&data->lock);
}

static struct metric_buckets snapshot(const struct metric *metric) {
	struct metric_buckets copy = {.count = 0};
	if (!metric->data) return copy;
	pthread_mutex_lock(&metric->data->lock);
	memcpy(copy.counts, metric->data->counts, sizeof(copy.counts));
	copy.count = metric->data->count;
	copy.sum_ms = metric->data->sum_ms;
	pthread_mutex_unlock(&metric->data->lock);
	return copy;
}

int64_t metric_count(const struct metric *metric) {
	return snapshot(metric).count;
}

// ---- exposition

static void put_number(FILE *out, int64_t value, int64_t scale) {
	if (scale <= 1) {
		fprintf(out, "%" PRId64 "\n", value);
	} else {
		fprintf(out, "%.15g\n", (double)value / (double)scale);
	}
}

static void put_name(FILE *out, const struct metric *metric, const char *suffix, const char *bound) {
	const char *labels = metric->labels ? metric->labels : "";
	fprintf(out, "%s%s", metric->name, suffix);
	if (bound) {
		fprintf(out, "{%s%sle=\"%s\"}", labels, *labels ? "," : "", bound);
	} else if (*labels) {
		fprintf(out, "{%s}", labels);
	}
	putc(' ', out);
}

static void put_histogram(FILE *out, const struct metric *metric) {
	struct metric_buckets data = snapshot(metric);
	int64_t scale = metric->scale ? metric->scale : 1000;
	int64_t below = 0;
	for (size_t i = 0; i < BOUNDS; i++) {
		below += data.counts[i];
		char bound[32];
		snprintf(bound, sizeof(bound), "%.15g", (double)bounds_ms[i] / (double)scale);
		put_name(out, metric, "_bucket", bound);
		put_number(out, below, 1);
	}
	put_name(out, metric, "_bucket", "+Inf");
	put_number(out, data.count, 1);
	put_name(out, metric, "_sum", NULL);
	put_number(out, data.sum_ms, scale);
	put_name(out, metric, "_count", NULL);
	put_number(out, data.count, 1);
}

static void put_head(FILE *out, const char *name, const char *type, const char *help) {
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_registered(FILE *out) {
	static const char *const types[] = {
		[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
	const char *previous = "";
	pthread_mutex_lock(&registry_lock);
	for (const struct metric *metric = first; metric; metric = metric->next) {
		if (strcmp(previous, metric->name) != 0) put_head(out, metric->name, types[metric->type], metric->help);
		previous = metric->name;
		if (metric->type == METRIC_HISTOGRAM) {
			put_histogram(out, metric);
		} else {
			put_name(out, metric, "", NULL);
			put_number(out, metric->value, metric->scale);
		}
	}
	pthread_mutex_unlock(&registry_lock);
}

// ---- this process; the names are those of Prometheus' client libraries

static void put_process(FILE *out, const char *name, const char *type, const char *help, double value) {
	put_head(out, name, type, help);
	fprintf(out, "%s %.15g\n", name, value);
}

// Seconds after the epoch at which the machine booted; 0 where /proc does not say.
static double boot_time_s(void) {
	AUTO_FCLOSE FILE *file = fopen("/proc/stat", "re");
	char line[256];
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "btime ", 6) == 0) return (double)strtoll(line + 6, NULL, 10);
	}
	return 0;
}

static void put_stat(FILE *out) {
	AUTO_FCLOSE FILE *file = fopen("/proc/self/stat", "re");
	char line[1024];
	if (!file || !fgets(line, sizeof(line), file)) return;
	char *at = strrchr(line, ')'); // field 2, the name, may contain anything
	if (!at) return;
	double ticks = (double)sysconf(_SC_CLK_TCK);
	double fields[25] = {0};
	at += 3; // the state, field 3, is a letter
	for (int i = 4; i < 25; i++) fields[i] = strtod(at + 1, &at);
	put_process(
		out, "process_cpu_seconds_total", "counter", "User and system time spent.", (fields[14] + fields[15]) / ticks);
	put_process(out, "process_start_time_seconds", "gauge", "Start of the process, seconds since the epoch.",
		boot_time_s() + fields[22] / ticks);
	put_process(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", fields[23]);
	put_process(
		out, "process_resident_memory_bytes", "gauge", "Resident memory.", fields[24] * (double)sysconf(_SC_PAGESIZE));
}

static void put_descriptors(FILE *out) {
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
		put_process(out, "process_max_fds", "gauge", "Most descriptors that may be open.", (double)limit.rlim_cur);
	}
	DIR *folder = opendir("/proc/self/fd");
	if (!folder) return;
	int64_t open = -3; // ".", ".." and this folder's own
	while (readdir(folder)) open++;
	closedir(folder);
	put_process(out, "process_open_fds", "gauge", "Open descriptors.", (double)open);
}

char *metrics_render(void) {
	char *page = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&page, &length);
	if (!out) mem_die("out of memory");
	put_registered(out);
	put_stat(out);
	put_descriptors(out);
	put_head(out, "trabajos_build_info", "gauge", "The version that runs; always 1.");
	fprintf(out, "trabajos_build_info{version=\"%s\"} 1\n", TRABAJOS_VERSION);
	if (fclose(out) != 0) mem_die("out of memory");
	return page;
}
