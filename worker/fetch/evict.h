// Keeps WORKER_DIR's trees and mirrors within a number of bytes: least recently used trees go first, then mirrors.
#pragma once

#include "lib/error.h"
#include "lib/json.h"
#include "worker/fetch/order.h"

// Spares what in_use names, what somebody holds a lock on (a running job its tree, a fetch its mirror), and what was used in the
// last minute. What processes that died have left half written goes whatever its age. answer: {"ok":true,"removed":[…],"bytes":n}, new reference.
int evict_run(const struct order *order, int root_fd, json_t **answer, struct error *error) MUST_USE;
