#include "observer/rule.h"

#include <inttypes.h>

const char *const rule_no_yes[] = {"no", "yes", NULL};

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
