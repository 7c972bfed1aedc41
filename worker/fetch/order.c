#include "worker/fetch/order.h"

#include <string.h>

static int need_text(const json_t *json, const char *name, const char **text, struct error *error) {
	*text = json_text(json, name);
	return *text ? 0 : error_set(error, ERROR_INPUT, "%s is missing", name);
}

static int need_amount(const json_t *json, const char *name, int64_t *amount, struct error *error) {
	if (json_int(json, name, 0, INT64_MAX / 4, -1, amount, error) < 0) return -1;
	return *amount < 0 ? error_set(error, ERROR_INPUT, "%s is missing", name) : 0;
}

static int read_credential(struct order *order, struct error *error) {
	const json_t *json = json_object_get(order->json, "credential");
	if (!json || json_is_null(json)) return 0;
	if (need_text(json, "id", &order->credential_id, error) < 0 ||
		need_text(json, "username", &order->username, error) < 0 ||
		need_text(json, "password", &order->password, error) < 0)
		return error_wrap(error, "credential");
	return 0;
}

static int read_fetch(struct order *order, struct error *error) {
	const json_t *json = order->json;
	order->op = ORDER_FETCH;
	order->ref = json_text(json, "ref");
	order->git_allow = json_text(json, "git_allow");
	order->git_deny = json_text(json, "git_deny");
	if (need_text(json, "url", &order->url, error) < 0 || need_amount(json, "pack_bytes", &order->pack_bytes, error) < 0 ||
		need_amount(json, "tree_bytes", &order->tree_bytes, error) < 0 ||
		need_amount(json, "files", &order->files, error) < 0 ||
		need_amount(json, "connect_timeout_ms", &order->connect_timeout_ms, error) < 0)
		return -1;
	return read_credential(order, error);
}

static int read_evict(struct order *order, struct error *error) {
	order->op = ORDER_EVICT;
	order->in_use = json_object_get(order->json, "in_use");
	return need_amount(order->json, "keep_bytes", &order->keep_bytes, error);
}

void order_clear(struct order *order) {
	json_decref(order->json);
	*order = (struct order){0};
}

int order_read(const char *text, size_t length, struct order *order, struct error *error) {
	const char *op = NULL;
	*order = (struct order){0};
	if (json_read(text, length, ORDER_BYTES_MAX, &order->json, error) < 0) return -1;
	int done = need_text(order->json, "op", &op, error) < 0 ? -1 : need_text(order->json, "dir", &order->dir, error);
	if (done == 0 && strcmp(op, "fetch") == 0)
		done = read_fetch(order, error);
	else if (done == 0 && strcmp(op, "evict") == 0)
		done = read_evict(order, error);
	else if (done == 0)
		done = error_set(error, ERROR_INPUT, "unknown op");
	if (done < 0) order_clear(order);
	return done;
}
