// A recorded period from a CSV of arrival_s,duration_s[,user]: one job a line, seconds with fractions, in any order; a first line
// of these names is fine, so are empty lines. Arrivals are counted from the first one, so that they may be seconds of any epoch.
#pragma once

#include "observer/replay.h"

#include <stdio.h>

#define REPLAY_CSV_MOST_JOBS 5000000

// ERROR_INPUT: the message has name and line. The trace is to be cleared either way.
int replay_csv_read(FILE *file, const char *name, struct replay_trace *trace, struct error *error) MUST_USE;
// The other way round; users are numbers then.
void replay_csv_write(const struct replay_trace *trace, FILE *out);
