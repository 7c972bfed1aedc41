#include "cli/call.h"

#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/words.h"
#include "lib/client.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"
#include "lib/uuid.h"

#include <string.h>

#define TIMEOUT_MS   60000
#define TRIES        6
#define ENGLISH      "Accept-Language: en" // and what programs read
#define PAUSE_MS     250
#define PAUSE_CAP_MS 8000
#define LONGEST_S    30 // that a Retry-After is followed

// One call to the server and what is kept from one to the next.
static int send_once(const struct call *call, const char *token, struct client_reply *reply, struct error *error) {
	static struct client_caller *ours;
	struct client_caller *caller = call->tick || call->sink ? client_caller_new()
				       : ours                   ? ours
								: (ours = client_caller_new());
	AUTO_FREE char *url = mem_format("%s%s", cli.server, call->path), *body = call->body ? json_write(call->body) : NULL;
	AUTO_FREE char *bearer = mem_format("Authorization: Bearer %s", token);
	AUTO_FREE char *agent = mem_format("User-Agent: trabajos/%s", lifecycle_version());
	const char *headers[10] = {bearer, agent, "Accept-Encoding: identity", cli.json ? ENGLISH : _(ENGLISH)};
	size_t count = 4;
	if (body) headers[count++] = "Content-Type: application/json";
	for (size_t i = 0; i < COUNT_OF(call->headers) && call->headers[i]; i++) headers[count++] = call->headers[i];
	const char *method = call->method ? call->method : body ? "POST" : "GET";
	int result = client_call(caller,
		&(struct client_call){.url = url,
			.headers = headers,
			.method = method,
			.body = body                          ? body
				: strcmp(method, "POST") == 0 ? ""
							      : NULL,
			.ca_file = cli.ca_file,
			.most_bytes = call->most_bytes ? call->most_bytes : CALL_MOST,
			.timeout_ms = call->stream || call->sink ? 0 : TIMEOUT_MS,
			.silence_s = call->stream || call->sink ? CALL_SILENCE_S : 0,
			.stop_fd = cli.stop_fd,
			.sink = call->sink,
			.tick = call->tick,
			.tick_ms = call->tick_ms,
			.arg = call->arg},
		reply, error);
	explicit_bzero(bearer, strlen(bearer));
	if (caller != ours) client_caller_free(caller);
	return result;
}

// ---- refusals

static enum error_kind kind_of(int status) {
	if (status == 401 || status == 403) return ERROR_DENIED;
	if (status == 429 || status == 503 || status == 502 || status == 504) return ERROR_UNAVAILABLE;
	return status == 409 ? ERROR_CONFLICT : status >= 500 ? ERROR_INTERNAL : ERROR_INPUT;
}

static int refusal(const struct client_reply *reply, struct error *error) {
	AUTO_JSON json_t *json = NULL;
	if (json_read(reply->body, reply->length, CALL_MOST, &json, NULL)) json = NULL;
	const char *detail = json_text(json, "detail"), *title = json_text(json, "title");
	const char *said = detail ? detail : title;
	if (!said) return error_set(error, kind_of(reply->status), _("%s answered with %d"), cli.server, reply->status);
	if (reply->status < 500) return error_set(error, kind_of(reply->status), "%s", said);
	const char *id = json_text(json, "request_id");
	return error_set(error, kind_of(reply->status), _("%s (request %s)"), said, id ? id : "-");
}

// How long to wait before the next try; -1: there is none. After 429 nothing has happened; otherwise what changes something is
// repeated only where that does no harm.
static int64_t pause_of(const struct call *call, const struct client_reply *reply, unsigned tries) {
	bool reads = !call->body && (!call->method || strcmp(call->method, "GET") == 0);
	int64_t pause_ms = lifecycle_backoff_ms(tries, PAUSE_MS, PAUSE_CAP_MS);
	if (tries + 1 >= TRIES || (call->sink && reply->status == 0)) return -1;
	if (reply->status == 0 || reply->status == 502 || reply->status == 504) return call->patient ? pause_ms : -1;
	if (reply->status != 429 && !(reply->status == 503 && (reads || call->patient))) return -1;
	AUTO_FREE char *after = client_reply_header(reply, "Retry-After");
	int64_t wait_s = after ? strtoll(after, NULL, 10) : 0;
	if (wait_s < 0 || wait_s > LONGEST_S) return -1;
	return wait_s * 1000 > pause_ms ? wait_s * 1000 : pause_ms;
}

int call_send(const struct call *call, struct client_reply *reply, struct error *error) {
	AUTO_FREE char *refused = NULL;
	AUTO_ERROR struct error unheard = {0};
	struct error *problem = error ? error : &unheard; // its kind decides here, too
	*reply = (struct client_reply){0};
	for (unsigned tries = 0;; tries++) {
		AUTO_FREE char *token = mem_strdup(auth_token(refused, problem)); // a tick may change it meanwhile
		if (!token) return -1;
		int result = send_once(call, token, reply, problem);
		if (result == 0 && ((reply->status >= 200 && reply->status < 300) || reply->status == 304)) return 0;
		if (result && problem->kind != ERROR_UNAVAILABLE) return -1;
		if (result == 0) refusal(reply, problem);
		bool another = reply->status == 401 && !refused;
		int64_t pause_ms = another ? 0 : pause_of(call, reply, tries);
		if (pause_ms < 0) return -1;
		if (another) refused = STEAL(token);
		if (pause_ms > 0 && cli_pause(pause_ms)) return error_set(problem, ERROR_CONFLICT, _("interrupted"));
		client_reply_clear(reply);
		error_clear(problem);
	}
}

int call_json(const struct call *call, json_t **json, struct error *error) {
	struct client_reply reply;
	*json = NULL;
	int result = call_send(call, &reply, error);
	if (result == 0) result = json_read(reply.body, reply.length, CALL_MOST, json, error);
	client_reply_clear(&reply);
	return result;
}

int call_get(json_t **json, struct error *error, const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	AUTO_FREE char *path = mem_format_list(format, arguments);
	va_end(arguments);
	return call_json(&(struct call){.path = path}, json, error);
}

void call_query(char **path, const char *name, const char *value) {
	if (!value) return;
	AUTO_FREE char *escaped = client_escape(value);
	char *longer = mem_format("%s%c%s=%s", *path, strchr(*path, '?') ? '&' : '?', name, escaped);
	free(*path);
	*path = longer;
}

char *call_key(size_t count, const char *const *operands, struct error *error) {
	char key[UUID_TEXT];
	if (count) {
		if (uuid_parse_text(operands[0], key) == 0) return mem_strdup(key);
		error_set(error, ERROR_USAGE, _("\"%s\" is no key, which looks like 01980f2e-7b1c-7c7e-9d43-0d6f0c1b2a55"),
			operands[0]);
		return NULL;
	}
	AUTO_JSON json_t *jobs = NULL;
	if (call_get(&jobs, error, "/api/v1/trabajos?order=desc&limit=1")) return NULL;
	const char *newest = json_text(json_array_get(jobs, 0), "key");
	if (newest && uuid_parse_text(newest, key) == 0) return mem_strdup(key);
	error_set(error, ERROR_INPUT, _("you have no jobs yet: run trabajos add URL"));
	return NULL;
}

char *call_next(const struct client_reply *reply) {
	AUTO_FREE char *link = client_reply_header(reply, "Link");
	const char *begin = link ? strchr(link, '<') : NULL, *end = begin ? strchr(begin, '>') : NULL;
	if (!end || !strstr(end, "rel=\"next\"")) return NULL;
	const char *path = strstr(begin, "/api/v1/");
	return path && path < end ? mem_strndup(path, (size_t)(end - path)) : NULL;
}
