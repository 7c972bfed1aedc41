// The whole environment of a job: what INTERFACES names, the plan's, the user's; later ones win, ours always.
#pragma once

#include "lib/json.h"

#include <stdint.h>

// plan_env: NULL-terminated "NAME=value", or NULL. spec: the job's, its member "env" counts. NULL-terminated, owned by the caller
// (environment_free). HOME and PATH are the sandbox's.
char **environment_new(
	const char *key, int64_t attempt, const char *commit, char *const *plan_env, const json_t *spec) MUST_USE;
void environment_free(char **environment); // NULL is fine
