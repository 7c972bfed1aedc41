// Workers as containers of a compose project's service, by the Docker Engine's API (1.41 and newer) over its socket, as
// `docker compose up --scale` would make them: a new one is a copy of one that is there, with the next number. So there must have been
// one, and the last one is not removed when it ends but only stopped; stopped ones are started again before new ones are made.
//
// A worker is known by its host name, which Docker makes the first 12 digits of the container's id.
#include "lib/client.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "observer/fleet.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/utsname.h>

#define API          "http://docker/v1.41"
#define HOST_DIGITS  12
#define ANSWER_BYTES (16 << 20)
#define TIMEOUT_MS   10000
#define STOP_S       30 // for a worker on which nothing runs
#define LABEL        "com.docker.compose."

struct container {
	char id[80], host[HOST_DIGITS + 1], name[128];
	int64_t number;
	bool up;
};

struct compose {
	const struct fleet_options *options;
	struct fleet *fleet;
	struct client *client;
	LIST_HEAD(, call) calls; // under way
	char *project;
	struct container *all;
	size_t count;

	// the change under way
	size_t pending;
	struct error failure;
	int64_t to_create, next_number;
	bool keep_one; // all end: the first stays, stopped, to be copied
};

// ---- asking

struct call;
typedef void call_done(struct compose *compose, const struct call *call, int status, json_t *json, const char *text);
struct call {
	LIST_ENTRY(call) entry;
	struct compose *compose;
	call_done *done;
	char id[80]; // of the container that it is about
};

static void note(struct compose *compose, const char *what, int status, const char *text) {
	if (compose->failure.kind != ERROR_NONE) return;
	AUTO_JSON json_t *json = NULL;
	if (json_read(text, strlen(text), ANSWER_BYTES, &json, NULL) != 0) json = NULL;
	const char *message = json ? json_text(json, "message") : NULL;
	error_set(&compose->failure, ERROR_UNAVAILABLE, "Docker: %s: %d %s", what, status, message ? message : "");
}

static void give_up(struct compose *compose) {
	AUTO_ERROR struct error error = {0};
	error = compose->failure;
	compose->failure = (struct error){0};
	fleet_failed(compose->fleet, &error);
}

static void came(int status, const char *body, size_t length, const struct error *error, void *arg) {
	AUTO_FREE struct call *call = arg;
	LIST_REMOVE(call, entry);
	AUTO_JSON json_t *json = NULL;
	struct compose *compose = call->compose;
	if (status == 0) {
		if (compose->failure.kind == ERROR_NONE)
			error_set(&compose->failure, ERROR_UNAVAILABLE, "SCALE_DOCKER_SOCKET=%s: %s",
				compose->options->docker_socket, error_text(error));
		body = "";
	} else if (json_read(body, length, ANSWER_BYTES, &json, NULL) != 0) {
		json = NULL;
	}
	call->done(compose, call, status, json, body);
}

static void ask(struct compose *compose, const char *id, const char *method, const char *path, const char *body,
	int64_t timeout_ms, call_done *done) {
	static const char *const headers[] = {"Content-Type: application/json", NULL};
	AUTO_FREE char *url = mem_format(API "%s", path);
	struct call *call = mem_zalloc(sizeof *call);
	*call = (struct call){.compose = compose, .done = done};
	snprintf(call->id, sizeof call->id, "%s", id);
	const struct client_request request = {.url = url,
		.headers = headers,
		.unix_socket = compose->options->docker_socket,
		.method = method,
		.body = body,
		.most_bytes = ANSWER_BYTES,
		.timeout_ms = timeout_ms};
	LIST_INSERT_HEAD(&compose->calls, call, entry);
	client_send(compose->client, &request, came, call);
}

// ---- looking

static const char *label(json_t *labels, const char *name) {
	AUTO_FREE char *whole = mem_format(LABEL "%s", name);
	const char *text = json_text(labels, whole);
	return text ? text : "";
}

static void read_container(struct compose *compose, json_t *json) {
	const char *id = json_text(json, "Id"), *state = json_text(json, "State");
	json_t *labels = json_object_get(json, "Labels");
	const char *name = json_string_value(json_array_get(json_object_get(json, "Names"), 0));
	if (!id || !state || strlen(id) < HOST_DIGITS || strcmp(label(labels, "oneoff"), "True") == 0) return;
	compose->all = mem_resize(compose->all, compose->count + 1, sizeof *compose->all);
	struct container *container = &compose->all[compose->count++];
	*container = (struct container){.number = strtoll(label(labels, "container-number"), NULL, 10),
		.up = strcmp(state, "running") == 0 || strcmp(state, "restarting") == 0 || strcmp(state, "paused") == 0};
	snprintf(container->id, sizeof container->id, "%s", id);
	snprintf(container->host, sizeof container->host, "%.12s", id);
	snprintf(container->name, sizeof container->name, "%s", name ? name : id);
}

static void listed(struct compose *compose, const struct call *call, int status, json_t *json, const char *text) {
	(void)call;
	if (status != 200 || !json_is_array(json)) {
		note(compose, "the list of containers", status, text);
		give_up(compose);
		return;
	}
	free(STEAL(compose->all));
	compose->count = 0;
	for (size_t i = 0; i < json_array_size(json); i++) read_container(compose, json_array_get(json, i));
	struct fleet_unit *units = mem_zalloc_array(compose->count + 1, sizeof *units);
	for (size_t i = 0; i < compose->count; i++) {
		const struct container *container = &compose->all[i];
		units[i].gone = !container->up;
		snprintf(units[i].name, FLEET_NAME, "%s", container->id);
		snprintf(units[i].host, FLEET_NAME, "%s", container->host);
	}
	fleet_seen(compose->fleet, units, compose->count);
	free(units);
}

static void list(struct compose *compose) {
	AUTO_JSON json_t *filters = json_object();
	json_t *labels = json_array();
	AUTO_FREE char *project = mem_format(LABEL "project=%s", compose->project);
	AUTO_FREE char *service = mem_format(LABEL "service=%s", compose->options->compose_service);
	json_array_append_new(labels, json_string(project));
	json_array_append_new(labels, json_string(service));
	json_object_set_new(filters, "label", labels);
	AUTO_FREE char *text = json_write(filters);
	AUTO_FREE char *escaped = client_escape(text);
	AUTO_FREE char *path = mem_format("/containers/json?all=1&filters=%s", escaped);
	ask(compose, "", "GET", path, NULL, TIMEOUT_MS, listed);
}

static void inspected_self(struct compose *compose, const struct call *call, int status, json_t *json, const char *text) {
	(void)call;
	const char *project = label(json_object_get(json_object_get(json, "Config"), "Labels"), "project");
	if (status == 200 && *project) {
		compose->project = mem_strdup(project);
		list(compose);
		return;
	}
	if (status == 0)
		(void)text;
	else if (compose->failure.kind == ERROR_NONE)
		error_set(&compose->failure, ERROR_INPUT,
			"SCALE_COMPOSE_PROJECT: this observer is no container of a compose project; name the project");
	give_up(compose);
}

static void compose_look(void *self) {
	struct compose *compose = self;
	struct utsname host = {0};
	if (compose->project) {
		list(compose);
		return;
	}
	(void)uname(&host);
	AUTO_FREE char *path = mem_format("/containers/%s/json", host.nodename);
	ask(compose, "", "GET", path, NULL, TIMEOUT_MS, inspected_self);
}

// ---- changing

static void one_done(struct compose *compose) {
	if (--compose->pending > 0) return;
	if (compose->failure.kind != ERROR_NONE)
		give_up(compose);
	else
		fleet_changed(compose->fleet);
}

static void started(struct compose *compose, const struct call *call, int status, json_t *json, const char *text) {
	(void)call;
	(void)json;
	if (status != 204 && status != 304 && status != 0) note(compose, "starting a container", status, text); // 304: it runs
	one_done(compose);
}

static void removed(struct compose *compose, const struct call *call, int status, json_t *json, const char *text) {
	(void)call;
	(void)json;
	if (status != 204 && status != 404 && status != 409 && status != 0) note(compose, "removing a container", status, text);
	one_done(compose);
}

static void stopped(struct compose *compose, const struct call *call, int status, json_t *json, const char *text) {
	(void)json;
	bool fine = status == 204 || status == 304 || status == 404;
	if (!fine && status != 0) note(compose, "stopping a container", status, text);
	if (!fine || (compose->keep_one && strcmp(call->id, compose->all[0].id) == 0)) {
		one_done(compose);
		return;
	}
	AUTO_FREE char *path = mem_format("/containers/%s?v=1", call->id);
	ask(compose, call->id, "DELETE", path, NULL, TIMEOUT_MS, removed);
}

static void start(struct compose *compose, const char *id) {
	AUTO_FREE char *path = mem_format("/containers/%s/start", id);
	ask(compose, id, "POST", path, "", TIMEOUT_MS, started);
}

static void created(struct compose *compose, const struct call *call, int status, json_t *json, const char *text) {
	(void)call;
	const char *id = json ? json_text(json, "Id") : NULL;
	if (status == 201 && id) {
		log_info(log_m("a container is made"), log_s("id", id));
		start(compose, id);
		return;
	}
	if (status != 0) note(compose, "making a container", status, text);
	one_done(compose);
}

// The networks with their names for it, but without the addresses that were the other's.
static json_t *networks_of(json_t *inspected, const char *host) {
	json_t *networks = json_object(), *one;
	const char *name;
	json_object_foreach(json_object_get(json_object_get(inspected, "NetworkSettings"), "Networks"), name, one) {
		json_t *aliases = json_array();
		json_t *given = json_object_get(one, "Aliases");
		for (size_t i = 0; i < json_array_size(given); i++) {
			json_t *alias = json_array_get(given, i);
			if (strcmp(json_string_value(alias) ? json_string_value(alias) : host, host) != 0)
				json_array_append(aliases, alias);
		}
		json_t *endpoint = json_object();
		json_object_set_new(endpoint, "Aliases", aliases);
		json_object_set_new(networks, name, endpoint);
	}
	json_t *config = json_object();
	json_object_set_new(config, "EndpointsConfig", networks);
	return config;
}

static void create(struct compose *compose, json_t *inspected, const char *host) {
	int64_t number = compose->next_number++;
	AUTO_JSON json_t *body = json_deep_copy(json_object_get(inspected, "Config"));
	json_t *labels = json_object_get(body, "Labels");
	AUTO_FREE char *digits = mem_format("%" PRId64, number);
	json_object_set_new(labels, LABEL "container-number", json_string(digits));
	json_object_del(body, "Hostname");
	json_object_del(body, "MacAddress");
	json_object_set(body, "HostConfig", json_object_get(inspected, "HostConfig"));
	json_object_set_new(body, "NetworkingConfig", networks_of(inspected, host));
	AUTO_FREE char *text = json_write(body);
	AUTO_FREE char *name = mem_format("%s-%s-%" PRId64, compose->project, compose->options->compose_service, number);
	AUTO_FREE char *escaped = client_escape(name);
	AUTO_FREE char *path = mem_format("/containers/create?name=%s", escaped);
	ask(compose, "", "POST", path, text, TIMEOUT_MS, created);
}

static void inspected(struct compose *compose, const struct call *call, int status, json_t *json, const char *text) {
	(void)call;
	const char *id = json ? json_text(json, "Id") : NULL;
	const char *host = json ? json_text(json_object_get(json, "Config"), "Hostname") : NULL;
	int64_t wanted = compose->to_create;
	if (status != 200 || !id) {
		if (status != 0) note(compose, "a container to copy", status, text);
		one_done(compose);
	} else if (!host || strncmp(host, id, HOST_DIGITS) != 0) {
		error_set(&compose->failure, ERROR_INPUT,
			"the service %s has a host name of its own, by which its containers cannot be told apart: remove hostname",
			compose->options->compose_service);
		one_done(compose);
	} else {
		compose->pending += (size_t)wanted;
		for (int64_t i = 0; i < wanted; i++) create(compose, json, host);
		one_done(compose);
	}
}

static void copy_one(struct compose *compose, int64_t wanted) {
	compose->to_create = wanted;
	if (compose->count == 0) {
		error_set(&compose->failure, ERROR_INPUT,
			"there is no container of the service %s in the project %s to copy: docker compose up --no-start %s",
			compose->options->compose_service, compose->project, compose->options->compose_service);
		one_done(compose);
		return;
	}
	AUTO_FREE char *path = mem_format("/containers/%s/json", compose->all[0].id);
	ask(compose, "", "GET", path, NULL, TIMEOUT_MS, inspected);
}

static bool is_among(const char *id, const struct fleet_unit *const *end, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(end[i]->name, id) == 0) return true;
	return false;
}

static void compose_change(
	void *self, int64_t wanted, const struct fleet_unit *const *end, size_t count, const struct fleet_plan *plan) {
	struct compose *compose = self;
	(void)plan;
	compose->pending = 1; // ours, until all are sent
	compose->next_number = 1;
	compose->keep_one = count == compose->count;
	for (size_t i = 0; i < compose->count; i++) {
		struct container *container = &compose->all[i];
		if (container->number >= compose->next_number) compose->next_number = container->number + 1;
		if (container->up && is_among(container->id, end, count)) {
			AUTO_FREE char *path = mem_format("/containers/%s/stop?t=%d", container->id, STOP_S);
			compose->pending++;
			ask(compose, container->id, "POST", path, "", STOP_S * 1000 + TIMEOUT_MS, stopped);
		} else if (!container->up && wanted > 0) {
			wanted--;
			compose->pending++;
			start(compose, container->id);
		}
	}
	if (wanted > 0)
		copy_one(compose, wanted);
	else
		one_done(compose);
}

static void compose_close(void *self) {
	struct compose *compose = self;
	client_free(compose->client); // which calls nobody back
	for (struct call *call = LIST_FIRST(&compose->calls), *next; call; call = next) {
		next = LIST_NEXT(call, entry);
		free(call);
	}
	error_clear(&compose->failure);
	free(compose->project);
	free(compose->all);
	free(compose);
}

static int compose_open(
	const struct fleet_options *options, struct loop *loop, struct fleet *fleet, void **self, struct error *error) {
	if (!*options->docker_socket || !*options->compose_service)
		return error_set(
			error, ERROR_INPUT, "SCALE_ACTUATOR=compose needs SCALE_DOCKER_SOCKET and SCALE_COMPOSE_SERVICE");
	struct compose *compose = mem_zalloc(sizeof *compose);
	compose->options = options;
	compose->fleet = fleet;
	compose->client = client_new(loop);
	LIST_INIT(&compose->calls);
	compose->project = *options->compose_project ? mem_strdup(options->compose_project) : NULL;
	*self = compose;
	return 0;
}

const struct fleet_driver fleet_compose = {
	.name = "compose",
	.open = compose_open,
	.look = compose_look,
	.change = compose_change,
	.close = compose_close,
};
