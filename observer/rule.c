#include "observer/rule.h"

#include "lib/mem.h"

#include <inttypes.h>

const char *const rule_no_yes[] = {"no", "yes", NULL};

static int64_t most(int64_t a, int64_t b) {
	return a > b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b) {
	return a / b + (a % b > 0);
}

static int64_t run_time_ms(const struct sample *sample, struct rule_state *state) {
	if (sample->runs > 0) state->run_ms = most(1, sample->run_mean_ms);
	int64_t known_ms = state->run_ms ? state->run_ms : RULE_UNKNOWN_RUN_MS;
	return sample->running > 0 ? most(known_ms, sample->running_age_ms) : known_ms;
}

static int64_t running_to_share(const struct sample *sample) {
	return most(0, sample->running - sample->draining_running);
}

static int64_t slots_for_deadline(const struct rule_limits *limits, const struct sample *sample, int64_t run_ms) {
	int64_t slots = 0;
	for (int i = 0; i < sample->rank_count; i++) {
		const struct sample_rank *rank = &sample->ranks[i];
		int64_t rounds = 1 + most(0, limits->deadline_ms - rank->age_ms) / run_ms;
		slots = most(slots, divide_up(rank->place + running_to_share(sample), rounds));
	}
	return slots;
}

static int64_t slots_for_rate(const struct sample *sample, int64_t run_ms) {
	if (sample->arrivals <= 0) return 0;
	double busy = (double)sample->arrivals / (double)sample->arrivals_ms * (double)run_ms;
	int64_t whole = (int64_t)busy;
	return whole + (busy > (double)whole);
}

// Workers with that many slots, sized like those there are, or like the last one seen.
static int64_t workers_with(const struct sample *sample, int64_t slots) {
	if (sample->slots > 0) return divide_up(slots * sample_claiming(sample), sample->slots);
	return divide_up(slots, most(1, sample->last_slots));
}

static void need_at_least(struct rule_decision *decision, int64_t workers, enum rule_bound bound) {
	if (workers <= decision->needed) return;
	decision->needed = workers;
	decision->bound = bound;
}

// ---- the sentence

static const char *seconds(int64_t ms, char text[32]) {
	if (ms < 10000) {
		snprintf(text, 32, "%.*f s", ms < 10 ? 3 : ms < 1000 ? 2 : 1, (double)ms / 1000);
	} else {
		snprintf(text, 32, "%" PRId64 " s", (ms + 500) / 1000);
	}
	return text;
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
}

static void say_runs(FILE *out, const struct sample *sample, const struct rule_state *state, int64_t run_ms) {
	char time[32];
	seconds(run_ms, time);
	if (sample->queued == 0 && sample->running == 0 && sample->arrivals == 0) return;
	if (run_ms == state->run_ms) {
		fprintf(out, ", mean run %s", time);
	} else if (sample->running > 0 && run_ms == sample->running_age_ms) {
		fprintf(out, ", the running ones have taken %s", time);
	} else {
		fprintf(out, ", run time not known yet and taken as %s", time);
	}
}

static void say_deadline(FILE *out, const struct rule_limits *limits, const struct rule_decision *decision) {
	char deadline[32];
	seconds(limits->deadline_ms, deadline);
	int64_t fewer = decision->actual < decision->needed ? decision->actual : decision->needed - 1;
	if (fewer > 0) {
		fprintf(out, "; %" PRId64 " would break the %s deadline", fewer, deadline);
	} else {
		fputs(decision->actual == 0 ? "; no worker is there" : "", out);
	}
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
		fprintf(out, "; %.3g jobs/s keep %" PRId64 " slot%s busy",
			(double)sample->arrivals * 1000 / (double)sample->arrivals_ms, slots_for_rate(sample, decision->run_ms),
			slots_for_rate(sample, decision->run_ms) == 1 ? "" : "s");
		break;
	case RULE_BUSY:
		fprintf(out, "; so many are busy");
		break;
	case RULE_KEPT:
	case RULE_STEP:
		break;
	case RULE_KAFKA:
		fputs("; a record waits in Kafka", out);
		break;
	case RULE_MIN:
		fprintf(out, "; SCALE_MIN, %" PRId64 " would do", decision->needed);
		break;
	case RULE_MAX:
		fprintf(out, "; SCALE_MAX, %" PRId64 " would be needed", decision->needed);
		break;
	}
}

static char *sentence(const struct rule_limits *limits, const struct sample *sample, const struct rule_state *state,
	const struct rule_decision *decision) {
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	if (!out) abort();
	fprintf(out, "%" PRId64 " worker%s: ", decision->wanted, decision->wanted == 1 ? "" : "s");
	say_queue(out, limits, sample);
	say_runs(out, sample, state, decision->run_ms);
	say_bound(out, limits, sample, decision);
	if (fclose(out) != 0) abort();
	return text;
}

static void apply_limits(const struct rule_limits *limits, struct rule_decision *decision) {
	decision->wanted = decision->needed;
	if (decision->wanted < limits->min) {
		decision->wanted = limits->min;
		decision->bound = RULE_MIN;
	}
	if (decision->wanted > limits->max) {
		decision->wanted = limits->max;
		decision->bound = RULE_MAX;
	}
}

const char *rule_bound_name(enum rule_bound bound) {
	static const char *const names[] = {"nothing", "deadline", "floor", "busy", "kafka", "kept", "step", "min", "max"};
	return names[bound];
}

int rule_limits_of(const struct rule_options *options, struct rule_limits *limits, struct error *error) {
	if (options->min > options->max)
		return error_set(error, ERROR_INPUT, "SCALE_MIN: %" PRId64 " is more than SCALE_MAX, %" PRId64, options->min,
			options->max);
	*limits = (struct rule_limits){.deadline_ms = options->deadline_s * 1000,
		.min = options->min,
		.max = options->max,
		.step_up = options->step_up,
		.step_down = options->step_down,
		.idle_ms = options->idle_s * 1000,
		.start_ms = options->start_s * 1000,
		.dry = options->dry};
	return 0;
}

void rule_decision_clear(struct rule_decision *decision) {
	free(decision->reason);
	*decision = (struct rule_decision){0};
}

void rule_decide(const struct rule_limits *limits, const struct sample *sample, struct rule_state *state,
	struct rule_decision *decision) {
	*decision = (struct rule_decision){.actual = sample_claiming(sample), .run_ms = run_time_ms(sample, state)};
	need_at_least(decision, workers_with(sample, slots_for_deadline(limits, sample, decision->run_ms)), RULE_DEADLINE);
	need_at_least(decision, workers_with(sample, slots_for_rate(sample, decision->run_ms)), RULE_FLOOR);
	need_at_least(decision, sample->busy, RULE_BUSY);
	need_at_least(decision, sample->kafka_waits == LAG_SOME ? 1 : 0, RULE_KAFKA);
	apply_limits(limits, decision);
	decision->reason = sentence(limits, sample, state, decision);
}
