// A decision in words.
#pragma once

#include "observer/rule.h"

// "7 workers: 41 jobs wait, the oldest 38 s, median run 12 s; 5 would break the 60 s deadline for 9 of them". Owned by the caller.
char *rule_say(const struct rule_limits *limits, const struct sample *sample, const struct rule_decision *decision) MUST_USE;
