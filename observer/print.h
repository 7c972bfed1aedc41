// Writing lines to somebody who may be slow, may have made the descriptor non-blocking, or may go.
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>

// All of it, waiting for room as long as go_on says so (asked once a second). 0: written; 1: told not to go on; -1:
// ERROR_UNAVAILABLE, nobody takes it any more. Does not block in write(2), whatever the descriptor's mode. SIGPIPE is ignored.
int print_all(int fd, const char *text, size_t length, bool (*go_on)(void *arg), void *arg, struct error *error) MUST_USE;
