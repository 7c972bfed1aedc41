#include "observer/rule_say.h"

#include "lib/mem.h"

#include <inttypes.h>

static const char *seconds(int64_t ms, char text[32]) {
	if (ms < 10000) {
		snprintf(text, 32, "%.*f s", ms < 10 ? 3 : ms < 1000 ? 2 : 1, (double)ms / 1000);
	} else {
		snprintf(text, 32, "%" PRId64 " s", (ms + 500) / 1000);
	}
	return text;
}

static const char *plural(int64_t count) {
	return count == 1 ? "" : "s";
}

static void say_queue(FILE *out, const struct rule_limits *limits, const struct sample *sample) {
	char age[32], deadline[32];
	if (sample->queued == 0) {
		fputs("nothing waits", out);
		return;
	}
	fprintf(out, "%s%" PRId64 " job%s, the oldest %s", sample->queued_more ? "about " : "", sample->queued,
		sample->queued == 1 ? " waits" : "s wait", seconds(sample->oldest_ms, age));
	if (sample->oldest_ms > limits->deadline_ms)
		fprintf(out, " and past the deadline of %s", seconds(limits->deadline_ms, deadline));
	if (sample->held > 0) fprintf(out, ", %" PRId64 " of them for a limit of their user", sample->held);
}

static void say_runs(FILE *out, const struct sample *sample, const struct rule_decision *decision) {
	char time[32];
	if (sample->queued == 0 && sample->running == 0 && sample->arrivals == 0) return;
	if (sample->runs > 0 && sample->run_p50_ms > 0) {
		fprintf(out, ", median run %s", seconds(sample->run_p50_ms, time));
	} else {
		fprintf(out, ", runs taken as %s", seconds(decision->run_ms, time));
	}
}

static void say_deadline(FILE *out, const struct rule_limits *limits, const struct rule_decision *decision) {
	char deadline[32];
	if (decision->fewer <= 0) {
		if (decision->actual == 0) fputs("; no worker is there", out);
		return;
	}
	seconds(limits->deadline_ms, deadline);
	if (decision->breaks > 0) {
		fprintf(out, "; %" PRId64 " would break the %s deadline for %" PRId64 " of them", decision->fewer, deadline,
			decision->breaks);
	} else {
		fprintf(out, "; %" PRId64 " would come too close to the %s deadline", decision->fewer, deadline);
	}
}

static void say_floor(FILE *out, const struct sample *sample, const struct rule_decision *decision) {
	double rate = (double)sample->arrivals * 1000 / (double)(sample->arrivals_ms > 0 ? sample->arrivals_ms : 1);
	char time[32];
	fprintf(out, "; %.3g jobs/s of %s on average keep %" PRId64 " worker%s", rate, seconds(decision->run_ms, time),
		decision->floor, plural(decision->floor));
}

static void say_kept(FILE *out, const struct sample *sample, const struct rule_decision *decision) {
	char time[32];
	if (decision->starting > 0)
		fprintf(out, "; %" PRId64 " of them start%s", decision->starting, decision->starting == 1 ? "s" : "");
	if (decision->wanted <= decision->needed) return;
	fprintf(out, "; %" PRId64 " would do", decision->needed);
	if (sample->idle > 0) fprintf(out, ", an idle one is kept for %s", seconds(decision->idle_ms, time));
}

static void say_bound(
	FILE *out, const struct rule_limits *limits, const struct sample *sample, const struct rule_decision *decision) {
	switch (decision->bound) {
	case RULE_NOTHING:
		break;
	case RULE_DEADLINE:
		say_deadline(out, limits, decision);
		break;
	case RULE_FLOOR:
		say_floor(out, sample, decision);
		break;
	case RULE_BUSY:
		fputs("; so many are busy", out);
		break;
	case RULE_KAFKA:
		fputs("; a record waits in Kafka", out);
		break;
	case RULE_KEPT:
		say_kept(out, sample, decision);
		break;
	case RULE_STEP:
		fprintf(out, "; SCALE_STEP_UP, %" PRId64 " would be needed", decision->needed);
		break;
	case RULE_MIN:
		fprintf(out, "; SCALE_MIN, %" PRId64 " would do", decision->needed);
		break;
	case RULE_MAX:
		fprintf(out, "; SCALE_MAX, %" PRId64 " would be needed", decision->needed);
		break;
	}
}

char *rule_say(const struct rule_limits *limits, const struct sample *sample, const struct rule_decision *decision) {
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	if (!out) mem_die("open_memstream");
	fprintf(out, "%" PRId64 " worker%s: ", decision->wanted, plural(decision->wanted));
	say_queue(out, limits, sample);
	say_runs(out, sample, decision);
	say_bound(out, limits, sample, decision);
	if (fclose(out) != 0) mem_die("open_memstream");
	return text;
}
