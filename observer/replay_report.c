#include "observer/replay_report.h"

#include <inttypes.h>
#include <math.h>

#define HOUR_MS 3600000.0

const char *replay_policy_name(const struct replay_policy *policy, char name[32]) {
	static const char *const kinds[] = {"rule", "keda", "fixed", "from"};
	if (policy->kind == REPLAY_RULE) return kinds[0];
	snprintf(name, 32, "%s %" PRId64, kinds[policy->kind], policy->number);
	return name;
}

static double seconds(int64_t ms) {
	return (double)ms / 1000;
}

static double percent(size_t part, size_t whole) {
	return 100 * (double)part / (double)whole;
}

// ---- tables

void replay_report_text(const struct replay_trace *trace, const struct replay_config *config,
	const struct replay_outcome *outcomes, size_t count, FILE *out) {
	char name[32];
	fprintf(out,
		"%zu jobs in %.1f hours, %.1f hours of work; deadline %.0f s, a worker starts in %.1f s and has %" PRId64
		" slot%s\n\n",
		trace->count, (double)trace->span_ms / HOUR_MS, (double)outcomes[0].work_ms / HOUR_MS,
		seconds(config->limits.deadline_ms), seconds(config->limits.start_ms), config->slots,
		config->slots == 1 ? "" : "s");
	fprintf(out, "%-10s %8s %8s %8s %8s %8s %8s %8s %7s %6s %6s %6s\n", "policy", "P50 s", "P95 s", "P99 s", "max s",
		"in T %", "in 2T %", "hours", "started", "up", "down", "killed");
	for (size_t i = 0; i < count; i++) {
		const struct replay_outcome *of = &outcomes[i];
		fprintf(out,
			"%-10s %8.1f %8.1f %8.1f %8.1f %8.2f %8.2f %8.2f %7" PRId64 " %6" PRId64 " %6" PRId64 " %6" PRId64 "\n",
			replay_policy_name(&of->policy, name), seconds(of->p50_ms), seconds(of->p95_ms), seconds(of->p99_ms),
			seconds(of->most_ms), percent(of->in_time, of->jobs), percent(of->in_twice, of->jobs),
			(double)of->worker_ms / HOUR_MS, of->started, of->ups, of->downs, of->killed);
	}
}

void replay_report_csv(const struct replay_outcome *outcomes, size_t count, FILE *out) {
	static const char *const kinds[] = {"rule", "keda", "fixed", "from"};
	fputs("policy,number,jobs,wait_p50_s,wait_p95_s,wait_p99_s,wait_max_s,in_deadline,in_twice,worker_hours,work_hours,"
	      "workers_started,most_workers,ups,downs,killed\n",
		out);
	for (size_t i = 0; i < count; i++) {
		const struct replay_outcome *of = &outcomes[i];
		fprintf(out,
			"%s,%" PRId64 ",%zu,%.3f,%.3f,%.3f,%.3f,%.6f,%.6f,%.4f,%.4f,%" PRId64 ",%" PRId64 ",%" PRId64
			",%" PRId64 ",%" PRId64 "\n",
			kinds[of->policy.kind], of->policy.number, of->jobs, seconds(of->p50_ms), seconds(of->p95_ms),
			seconds(of->p99_ms), seconds(of->most_ms), percent(of->in_time, of->jobs) / 100,
			percent(of->in_twice, of->jobs) / 100, (double)of->worker_ms / HOUR_MS, (double)of->work_ms / HOUR_MS,
			of->started, of->most_workers, of->ups, of->downs, of->killed);
	}
}

// ---- the plot

#define LEFT   60
#define WIDTH  (REPLAY_BINS * 2)
#define HEIGHT 220
#define GAP    40
#define TOP    40
#define COLOURS                                                                                                                \
	{ "#d1495b", "#00798c", "#edae49", "#30638e", "#66a182", "#8d5a97" }

struct panel {
	const char *title;
	int top;
	double most;
};

static double value_of(const struct replay_outcome *outcome, int bin, bool workers) {
	return workers ? outcome->workers[bin] : (double)outcome->queued[bin];
}

static double most_of(const struct replay_outcome *outcomes, size_t count, bool workers) {
	double most = 1;
	for (size_t i = 0; i < count; i++) {
		for (int bin = 0; bin < REPLAY_BINS; bin++) most = fmax(most, value_of(&outcomes[i], bin, workers));
	}
	return most;
}

static void draw_axes(const struct panel *panel, double hours, FILE *out) {
	int bottom = panel->top + HEIGHT;
	fprintf(out, "<text x=\"%d\" y=\"%d\">%s</text>\n", LEFT, panel->top - 6, panel->title);
	fprintf(out, "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#888\"/>\n", LEFT, panel->top, bottom, LEFT + WIDTH);
	for (int i = 0; i <= 4; i++) {
		fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.4g</text>\n", LEFT - 6, bottom - HEIGHT * i / 4 + 4,
			panel->most * i / 4);
		fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%.3g h</text>\n", LEFT + WIDTH * i / 4,
			bottom + 16, hours * i / 4);
	}
}

static void draw_line(
	const struct panel *panel, const struct replay_outcome *outcome, bool workers, const char *colour, FILE *out) {
	fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.2\" points=\"", colour);
	for (int bin = 0; bin < REPLAY_BINS; bin++) {
		double height = HEIGHT * value_of(outcome, bin, workers) / panel->most;
		fprintf(out, "%d,%.1f ", LEFT + bin * 2, panel->top + HEIGHT - height);
	}
	fputs("\"/>\n", out);
}

void replay_report_svg(const struct replay_trace *trace, const struct replay_outcome *outcomes, size_t count, FILE *out) {
	static const char *const colours[REPLAY_PLOTTED] = COLOURS;
	char name[32];
	if (count > REPLAY_PLOTTED) count = REPLAY_PLOTTED;
	struct panel panels[] = {{"workers, those that start included", TOP, most_of(outcomes, count, true)},
		{"jobs that wait, the most of each moment", TOP + HEIGHT + GAP, most_of(outcomes, count, false)}};
	int height = TOP + 2 * (HEIGHT + GAP);
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n",
		LEFT + WIDTH + 20, height);
	fprintf(out, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", LEFT + WIDTH + 20, height);
	for (int i = 0; i < 2; i++) {
		draw_axes(&panels[i], (double)trace->span_ms / HOUR_MS, out);
		for (size_t j = count; j-- > 0;) draw_line(&panels[i], &outcomes[j], i == 0, colours[j], out);
	}
	for (size_t j = 0; j < count; j++)
		fprintf(out, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%s: %.1f worker hours, %.1f %% in time</text>\n",
			LEFT + (int)(j % 3) * WIDTH / 3, 16 + (int)(j / 3) * 16, colours[j],
			replay_policy_name(&outcomes[j].policy, name), (double)outcomes[j].worker_ms / HOUR_MS,
			percent(outcomes[j].in_time, outcomes[j].jobs));
	fputs("</svg>\n", out);
}
