// The story of one fetch: judge the URL, find or make the tree, describe it.
#pragma once

#include "lib/json.h"
#include "lib/resultado.h"
#include "worker/fetch/order.h"

// answer: as in worker/fetch.h, new reference. -1: outcome is set.
int serve_fetch(const struct order *order, int root_fd, json_t **answer, struct outcome *outcome) MUST_USE;
