// The worker's options, as one table.
#pragma once

#include "lib/option.h"
#include "worker/worker.h"

// Fills config by environment and flags; ends the process where they are wrong. Returns 1 when --check was given.
int options_read(struct worker_config *config, int argc, char **argv);
void options_clear(void);
