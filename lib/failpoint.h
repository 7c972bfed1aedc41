// Points at which a build for the fault suite (`make FAILPOINTS=1`) dies, freezes or fails; in every other build they are nothing.
//
//     FAILPOINTS=name=kill@3,other=stop%2   at the 3rd pass; in 2 of 100 passes, drawn from FAILPOINT_SEED
//     FAILPOINT_LOG=file                    gets a line "name action pid" for each hit, before it takes effect
//
// Actions: kill (SIGKILL), stop (SIGSTOP), fail (what failpoint_fails guards goes wrong). Any thread.
#pragma once

#include <stdbool.h>

#ifdef FAILPOINTS
bool failpoint_passed(const char *name); // true: to fail
#define failpoint(name)       ((void)failpoint_passed(name))
#define failpoint_fails(name) failpoint_passed(name)
#define failpoint_sooner(ms)  ((ms) / 20) // what a run of minutes would not come to see
#else
#define failpoint(name)       ((void)0)
#define failpoint_fails(name) false
#define failpoint_sooner(ms)  (ms)
#endif
