// For a file whose tests share one sandbox, of whatever level the machine has.
#pragma once

#include "tests/unit/sandbox_rig.h"

static struct rig rig;

static inline int setup(void **state UNUSED) {
	rig_open(&rig, SANDBOX_NONE);
	return 0;
}

static inline int teardown(void **state UNUSED) {
	rig_close(&rig);
	return 0;
}
