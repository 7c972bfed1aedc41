// What the boxes of this machine are, for people: in --check, in the log and in /metrics.
#pragma once

#include "worker/sandbox.h"

// One line of JSON, then one for each thing that is missing, with how to get it.
void sandbox_show_check(const struct sandbox *sandbox);
void sandbox_show_log(const struct sandbox *sandbox); // what is missing
// The level as a number, and all of it as labels. Once a process.
void sandbox_show_metrics(const struct sandbox *sandbox);
