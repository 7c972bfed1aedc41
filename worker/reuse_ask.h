// Asks the ledger for an earlier result of the same owner, whose artifacts become this attempt's too.
#pragma once

#include "worker/job.h"
#include "worker/reuse.h"

struct reuse_asker {
	struct worker *worker;
	int slot;
	const char *key, *owner;
	int64_t attempt;
};
struct reuse_found {
	const char *earlier;  // whose result; NULL: there is none, or the ledger has not answered in time
	int64_t files, bytes; // artifacts
};
// found is called unless the job has left its slot meanwhile.
void reuse_ask(const struct reuse_asker *asker, const struct reuse_facts *facts,
	void (*found)(struct job *job, const struct reuse_found *found));
