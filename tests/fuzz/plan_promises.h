// What a plan promises, whoever made it.
#pragma once

#include "worker/plan.h"

void plan_promises(const struct plan *plan);
