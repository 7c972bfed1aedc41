// USER_WEIGHTS: the shares of users, as the claim wants them.
#pragma once

#include "lib/error.h"

// "name=weight,…": a name is a usuario or an owner, a weight between 0.01 and 1000. JSON for trabajos_take, owned by the caller;
// NULL where nobody is named. ERROR_INPUT names the entry.
int weights_read(const char *text, char **json, struct error *error) MUST_USE;
