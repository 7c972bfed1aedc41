// libgit2's failures, turned into outcomes: what the user, a limit or the platform has to answer for.
#pragma once

#include "lib/attr.h"
#include "lib/resultado.h"

// What of our own doing stopped a transfer; set by callbacks, since libgit2 reports those only as "user".
enum fault_cause { FAULT_NONE, FAULT_PACK_TOO_LARGE, FAULT_TOO_MANY_OBJECTS, FAULT_CREDENTIAL };

// After a failed remote call: `code` is what libgit2 returned. Always -1.
int fault_remote(struct outcome *outcome, int code, enum fault_cause cause);
// After a failed local call (the mirror's own files): disk full, or what names `doing`. Always -1.
int fault_local(struct outcome *outcome, const char *doing);
// errno of a system call, likewise.
int fault_errno(struct outcome *outcome, const char *doing, int number);
