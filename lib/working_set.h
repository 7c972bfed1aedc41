// What a daemon holds of memory at rest.
#pragma once

#include "lib/loop.h"

// Gives back what only the start has used: pages of the program and its libraries that the dynamic linker read (they are read again
// from the file where they are needed after all), and free memory of the heap. Costs a few page faults. In any thread.
void working_set_trim(void);

// loop_run, and that once, when it has run for a few seconds and the start is over.
void working_set_run(struct loop *loop);
