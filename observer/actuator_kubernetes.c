// Workers as pods of a Deployment (or StatefulSet), by the API server and the service account of the observer's own pod: replicas are
// set through the scale subresource (kubernetes.io/docs/reference/using-api, autoscaling/v1 Scale). Which pods go with fewer
// replicas is the cluster's choice: the retired ones get the lowest pod-deletion-cost before, and since pods that are not ready
// go before any cost counts, replicas are lowered only while all that stay are ready. With a StatefulSet the last ordinals go,
// whatever they cost: there only those are ended.
//
// A worker is known by its host name, which is its pod's name.
#include "lib/client.h"
#include "lib/json.h"
#include "lib/mem.h"
#include "observer/fleet.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>

#define ANSWER_BYTES (32 << 20)
#define TIMEOUT_MS   10000
#define SECRET_BYTES 65536
#define COST         "controller.kubernetes.io/pod-deletion-cost"
#define COST_GOES    "-1000"

struct pod {
	char name[FLEET_NAME];
	bool gone, ready;
};

struct kubernetes {
	const struct fleet_options *options;
	struct fleet *fleet;
	struct client *client;
	LIST_HEAD(, call) calls; // under way
	char *url, *namespace, *ca_file;
	char *version; // of the scale that was looked at: nobody else's change is overwritten
	int64_t replicas;
	struct pod *pods;
	size_t pod_count;

	// the change under way
	struct error failure;
	size_t pending;
	int64_t to_set; // replicas; -1: as they are
};

struct call {
	LIST_ENTRY(call) entry;
	struct kubernetes *kubernetes;
	const char *what;
	void (*done)(struct kubernetes *kubernetes, json_t *json); // NULL: it failed, and that was noted
};

// ---- asking

static char *read_text(const char *folder, const char *name, struct error *error) {
	AUTO_FREE char *path = mem_format("%s/%s", folder, name);
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	AUTO_FREE char *text = mem_zalloc(SECRET_BYTES);
	size_t length = file ? fread(text, 1, SECRET_BYTES - 1, file) : 0;
	while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' ')) text[--length] = '\0';
	if (length > 0) return STEAL(text);
	error_set(error, ERROR_INPUT, "SCALE_KUBERNETES_ACCOUNT: %s cannot be read or is empty", path);
	return NULL;
}

static void came(int status, const char *body, size_t length, const struct error *error, void *arg) {
	AUTO_FREE struct call *call = arg;
	LIST_REMOVE(call, entry);
	AUTO_JSON json_t *json = NULL;
	struct kubernetes *kubernetes = call->kubernetes;
	if (json_read(body, length, ANSWER_BYTES, &json, NULL) != 0) json = NULL;
	bool fine = status >= 200 && status < 300 && json;
	if (!fine && kubernetes->failure.kind == ERROR_NONE) {
		const char *message = json ? json_text(json, "message") : NULL;
		if (status == 0)
			error_set(&kubernetes->failure, ERROR_UNAVAILABLE, "%s", error_text(error));
		else
			error_set(&kubernetes->failure, ERROR_UNAVAILABLE, "Kubernetes: %s: %d %s", call->what, status,
				message ? message : "");
	}
	call->done(kubernetes, fine ? json : NULL);
}

static int ask(struct kubernetes *kubernetes, const char *what, const char *method, const char *path, const char *body,
	void (*done)(struct kubernetes *kubernetes, json_t *json)) {
	// Read anew each time: the cluster renews it.
	AUTO_FREE char *token = read_text(kubernetes->options->kubernetes_account, "token", &kubernetes->failure);
	if (!token) return -1;
	AUTO_FREE char *authorization = mem_format("Authorization: Bearer %s", token);
	const char *const headers[] = {
		authorization, "Accept: application/json", body ? "Content-Type: application/merge-patch+json" : NULL, NULL};
	AUTO_FREE char *url = mem_format("%s%s", kubernetes->url, path);
	struct call *call = mem_zalloc(sizeof *call);
	*call = (struct call){.kubernetes = kubernetes, .what = what, .done = done};
	const struct client_request request = {.url = url,
		.headers = headers,
		.ca_file = kubernetes->ca_file,
		.method = method,
		.body = body,
		.most_bytes = ANSWER_BYTES,
		.timeout_ms = TIMEOUT_MS};
	LIST_INSERT_HEAD(&kubernetes->calls, call, entry);
	client_send(kubernetes->client, &request, came, call);
	explicit_bzero(token, strlen(token));
	explicit_bzero(authorization, strlen(authorization));
	return 0;
}

static void give_up(struct kubernetes *kubernetes) {
	AUTO_ERROR struct error error = kubernetes->failure;
	kubernetes->failure = (struct error){0};
	fleet_failed(kubernetes->fleet, &error);
}

static char *scale_path(const struct kubernetes *kubernetes) {
	return mem_format(
		"/apis/apps/v1/namespaces/%s/%s/scale", kubernetes->namespace, kubernetes->options->kubernetes_target);
}

// ---- looking

static bool is_ready(json_t *status) {
	json_t *conditions = json_object_get(status, "conditions");
	for (size_t i = 0; i < json_array_size(conditions); i++) {
		json_t *condition = json_array_get(conditions, i);
		const char *type = json_text(condition, "type"), *value = json_text(condition, "status");
		if (type && value && strcmp(type, "Ready") == 0) return strcmp(value, "True") == 0;
	}
	return false;
}

static void read_pod(struct kubernetes *kubernetes, json_t *json) {
	json_t *metadata = json_object_get(json, "metadata"), *status = json_object_get(json, "status");
	const char *name = json_text(metadata, "name"), *phase = json_text(status, "phase");
	if (!name) return;
	kubernetes->pods = mem_resize(kubernetes->pods, kubernetes->pod_count + 1, sizeof *kubernetes->pods);
	struct pod *pod = &kubernetes->pods[kubernetes->pod_count++];
	*pod = (struct pod){.ready = is_ready(status),
		.gone = json_text(metadata, "deletionTimestamp") ||
			(phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0))};
	snprintf(pod->name, sizeof pod->name, "%s", name);
}

// Replicas that have no pod yet are units without a name: they are coming.
static void pods_listed(struct kubernetes *kubernetes, json_t *json) {
	json_t *items = json_object_get(json, "items");
	if (!json) {
		give_up(kubernetes);
		return;
	}
	free(STEAL(kubernetes->pods));
	kubernetes->pod_count = 0;
	for (size_t i = 0; i < json_array_size(items); i++) read_pod(kubernetes, json_array_get(items, i));
	int64_t alive = 0;
	for (size_t i = 0; i < kubernetes->pod_count; i++) alive += !kubernetes->pods[i].gone;
	size_t coming = kubernetes->replicas > alive ? (size_t)(kubernetes->replicas - alive) : 0;
	struct fleet_unit *units = mem_zalloc_array(kubernetes->pod_count + coming + 1, sizeof *units);
	for (size_t i = 0; i < kubernetes->pod_count; i++) {
		units[i].gone = kubernetes->pods[i].gone;
		snprintf(units[i].name, FLEET_NAME, "%s", kubernetes->pods[i].name);
		snprintf(units[i].host, FLEET_NAME, "%s", kubernetes->pods[i].name);
	}
	fleet_seen(kubernetes->fleet, units, kubernetes->pod_count + coming);
	free(units);
}

static void scale_read(struct kubernetes *kubernetes, json_t *json) {
	const char *selector = json_text(json_object_get(json, "status"), "selector");
	const char *version = json_text(json_object_get(json, "metadata"), "resourceVersion");
	if (json && !selector)
		error_set(&kubernetes->failure, ERROR_INPUT, "Kubernetes: %s has no selector",
			kubernetes->options->kubernetes_target);
	if (!json || !selector) {
		give_up(kubernetes);
		return;
	}
	free(kubernetes->version);
	kubernetes->version = mem_strdup(version ? version : "");
	kubernetes->replicas = json_integer_value(json_object_get(json_object_get(json, "spec"), "replicas"));
	AUTO_FREE char *escaped = client_escape(selector);
	AUTO_FREE char *path = mem_format("/api/v1/namespaces/%s/pods?labelSelector=%s", kubernetes->namespace, escaped);
	if (ask(kubernetes, "the list of pods", "GET", path, NULL, pods_listed) != 0) give_up(kubernetes);
}

static void kubernetes_look(void *self) {
	struct kubernetes *kubernetes = self;
	AUTO_FREE char *path = scale_path(kubernetes);
	if (ask(kubernetes, kubernetes->options->kubernetes_target, "GET", path, NULL, scale_read) != 0) give_up(kubernetes);
}

// ---- changing

static void scaled(struct kubernetes *kubernetes, json_t *json) {
	if (json)
		fleet_changed(kubernetes->fleet);
	else
		give_up(kubernetes);
}

static void set_replicas(struct kubernetes *kubernetes) {
	if (kubernetes->failure.kind != ERROR_NONE) {
		give_up(kubernetes);
		return;
	}
	if (kubernetes->to_set < 0 || kubernetes->to_set == kubernetes->replicas) {
		fleet_changed(kubernetes->fleet);
		return;
	}
	AUTO_JSON json_t *body = json_pack("{s:{s:s}, s:{s:I}}", "metadata", "resourceVersion", kubernetes->version, "spec",
		"replicas", (json_int_t)kubernetes->to_set);
	AUTO_FREE char *text = json_write(body);
	AUTO_FREE char *path = scale_path(kubernetes);
	if (ask(kubernetes, "setting the replicas", "PATCH", path, text, scaled) != 0) give_up(kubernetes);
}

static void annotated(struct kubernetes *kubernetes, json_t *json) {
	(void)json; // a failure was noted
	if (--kubernetes->pending == 0) set_replicas(kubernetes);
}

static void annotate(struct kubernetes *kubernetes, const char *pod, const char *cost) {
	AUTO_JSON json_t *body = json_pack("{s:{s:{s:s}}}", "metadata", "annotations", COST, cost);
	AUTO_FREE char *text = json_write(body);
	AUTO_FREE char *path = mem_format("/api/v1/namespaces/%s/pods/%s", kubernetes->namespace, pod);
	kubernetes->pending++;
	if (ask(kubernetes, "marking a pod", "PATCH", path, text, annotated) != 0) kubernetes->pending--;
}

static bool is_among(const char *name, const struct fleet_unit *const *end, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(end[i]->name, name) == 0) return true;
	return false;
}

static bool others_are_ready(const struct kubernetes *kubernetes, const struct fleet_unit *const *end, size_t count) {
	int64_t alive = 0;
	for (size_t i = 0; i < kubernetes->pod_count; i++) {
		const struct pod *pod = &kubernetes->pods[i];
		alive += !pod->gone;
		if (!pod->gone && !pod->ready && !is_among(pod->name, end, count)) return false;
	}
	return alive >= kubernetes->replicas;
}

// How many of the last ordinals are among those that may end.
static size_t ends_in_order(const struct kubernetes *kubernetes, const struct fleet_unit *const *end, size_t count) {
	const char *set = strchr(kubernetes->options->kubernetes_target, '/');
	size_t last = 0;
	for (int64_t ordinal = kubernetes->replicas - 1; set && ordinal >= 0; ordinal--, last++) {
		AUTO_FREE char *name = mem_format("%s-%" PRId64, set + 1, ordinal);
		if (!is_among(name, end, count)) break;
	}
	return last;
}

static void kubernetes_change(
	void *self, int64_t start, const struct fleet_unit *const *end, size_t count, const struct fleet_plan *plan) {
	struct kubernetes *kubernetes = self;
	bool ordered = strncmp(kubernetes->options->kubernetes_target, "statefulsets/", 13) == 0;
	kubernetes->pending = 1;
	kubernetes->to_set = -1;
	if (start > 0) {
		kubernetes->to_set = kubernetes->replicas + start;
	} else if (ordered) {
		kubernetes->to_set = kubernetes->replicas - (int64_t)ends_in_order(kubernetes, end, count);
	} else if (count > 0 && others_are_ready(kubernetes, end, count)) {
		kubernetes->to_set = kubernetes->replicas > (int64_t)count ? kubernetes->replicas - (int64_t)count : 0;
	}
	for (size_t i = 0; i < count && !ordered; i++) annotate(kubernetes, end[i]->name, COST_GOES);
	for (size_t i = 0; i < plan->keep_count && !ordered; i++) annotate(kubernetes, plan->keep[i].unit->name, "0");
	if (--kubernetes->pending == 0) set_replicas(kubernetes);
}

// ---- opening

static char *server_url(const struct fleet_options *options) {
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	if (*options->kubernetes_url) return mem_strdup(options->kubernetes_url);
	if (!host || !*host) return NULL;
	return mem_format(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port && *port ? port : "443");
}

static bool is_target(const char *target) {
	const char *slash = strchr(target, '/');
	if (!slash || !slash[1] || strspn(slash + 1, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(slash + 1))
		return false;
	return strncmp(target, "deployments/", 12) == 0 || strncmp(target, "statefulsets/", 13) == 0;
}

static void kubernetes_close(void *self) {
	struct kubernetes *kubernetes = self;
	client_free(kubernetes->client); // which calls nobody back
	for (struct call *call = LIST_FIRST(&kubernetes->calls), *next; call; call = next) {
		next = LIST_NEXT(call, entry);
		free(call);
	}
	error_clear(&kubernetes->failure);
	free(kubernetes->url);
	free(kubernetes->namespace);
	free(kubernetes->ca_file);
	free(kubernetes->version);
	free(kubernetes->pods);
	free(kubernetes);
}

static int set_up(struct kubernetes *kubernetes, const struct fleet_options *options, struct error *error) {
	if (!is_target(options->kubernetes_target))
		return error_set(error, ERROR_INPUT, "SCALE_KUBERNETES_TARGET=%s: is not deployments/NAME or statefulsets/NAME",
			options->kubernetes_target);
	kubernetes->url = server_url(options);
	if (!kubernetes->url)
		return error_set(error, ERROR_INPUT,
			"SCALE_KUBERNETES_URL: not set, and this is no pod (KUBERNETES_SERVICE_HOST is not set)");
	if (strncmp(kubernetes->url, "https://", 8) != 0)
		return error_set(
			error, ERROR_INPUT, "SCALE_KUBERNETES_URL=%s: must be https, a token goes there", kubernetes->url);
	kubernetes->namespace = read_text(options->kubernetes_account, "namespace", error);
	if (!kubernetes->namespace) return -1;
	kubernetes->ca_file = mem_format("%s/ca.crt", options->kubernetes_account);
	return 0;
}

static int kubernetes_open(
	const struct fleet_options *options, struct loop *loop, struct fleet *fleet, void **self, struct error *error) {
	struct kubernetes *kubernetes = mem_zalloc(sizeof *kubernetes);
	kubernetes->options = options;
	kubernetes->fleet = fleet;
	kubernetes->client = client_new(loop);
	LIST_INIT(&kubernetes->calls);
	if (set_up(kubernetes, options, error) != 0) {
		kubernetes_close(kubernetes);
		return -1;
	}
	*self = kubernetes;
	return 0;
}

const struct fleet_driver fleet_kubernetes = {
	.name = "kubernetes",
	.open = kubernetes_open,
	.look = kubernetes_look,
	.change = kubernetes_change,
	.close = kubernetes_close,
};
