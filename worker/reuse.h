// Reuse of results: a job that was submitted with `reuse` takes the result of an earlier one of the same owner, also with `reuse`, that
// ran the same commit of the same repository by the same plan in the same environment and ended well.
#pragma once

#include "lib/json.h"
#include "worker/plan.h"

#include <stdbool.h>

struct reuse_facts {
	const char *mirror, *commit; // the mirror stands for URL and credential
	const struct plan *plan;
	const json_t *env; // as submitted; NULL: none
	bool egress;
};

bool reuse_wanted(const json_t *spec);
// SHA-256 over all of them; text: 65 bytes. Values of env are in it, and cannot be had from it.
void reuse_print(const struct reuse_facts *facts, char text[65]);
