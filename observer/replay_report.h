// What simulations came to: a table for people, one for programs, and a plot.
#pragma once

#include "observer/replay.h"

#include <stdio.h>

void replay_report_text(const struct replay_trace *trace, const struct replay_config *config,
	const struct replay_outcome *outcomes, size_t count, FILE *out);
void replay_report_csv(const struct replay_outcome *outcomes, size_t count, FILE *out);
// Workers and waiting jobs over time; the first REPLAY_PLOTTED outcomes.
#define REPLAY_PLOTTED 6
void replay_report_svg(const struct replay_trace *trace, const struct replay_outcome *outcomes, size_t count, FILE *out);
// "rule", "keda 5", "fixed 3"
const char *replay_policy_name(const struct replay_policy *policy, char name[32]);
