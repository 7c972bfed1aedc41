// What the worker asks of this program: one line of JSON (worker/fetch.h), read strictly.
#pragma once

#include "lib/error.h"
#include "lib/json.h"

#include <stddef.h>
#include <stdint.h>

#define ORDER_BYTES_MAX 1048576

enum order_op { ORDER_FETCH, ORDER_EVICT };

struct order {
	enum order_op op;
	const char *dir; // WORKER_DIR; all texts live as long as json does
	const char *url, *ref, *git_allow, *git_deny;
	const char *credential_id, *username, *password; // NULL: none
	int64_t pack_bytes, tree_bytes, files, connect_timeout_ms;
	int64_t keep_bytes;
	const json_t *in_use; // array of texts
	json_t *json;
};

int order_read(const char *text, size_t length, struct order *order, struct error *error) MUST_USE;
void order_clear(struct order *order);
