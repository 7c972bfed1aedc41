// The house's chore for artifacts: what an attempt that was taken over has written, and the content that no job names any more,
// in the ledger and, where this daemon reaches it, in the store outside of it.
#pragma once

#include "lib/blobs.h"
#include "lib/db.h"
#include "lib/loop.h"

struct housekeeping_artifacts;

// store NULL: none is reached from here.
struct housekeeping_artifacts *housekeeping_artifacts_start(
	struct loop *loop, struct db_session *session, const struct blobs_config *store) MUST_USE;
void housekeeping_artifacts_stop(struct housekeeping_artifacts *chore); // NULL is fine; an answer under way is ignored
