#include "cli/oidc.h"

#include "cli/base64.h"
#include "cli/cli.h"
#include "cli/url.h"
#include "cli/words.h"
#include "lib/client.h"
#include "lib/client_call.h"
#include "lib/json.h"
#include "lib/loop.h"
#include "lib/mem.h"

#include <string.h>

#define MOST_BYTES   262144
#define TIMEOUT_MS   30000
#define INTERVAL_S   5 // RFC 8628 section 3.2 and 3.5
#define SLOW_DOWN_S  5
#define INTERVAL_MAX 60

// ---- asking

static int ask(const char *url, const char *form, int *status, json_t **json, struct error *error) {
	static const char *const headers[] = {"Accept: application/json", NULL};
	struct client_caller *caller = client_caller_new();
	struct client_reply reply;
	const struct client_call call = {.url = url,
		.headers = headers,
		.body = form,
		.ca_file = cli.ca_file,
		.most_bytes = MOST_BYTES,
		.timeout_ms = TIMEOUT_MS,
		.stop_fd = cli.stop_fd};
	*json = NULL;
	int result = client_call(caller, &call, &reply, error);
	if (result == 0) {
		*status = reply.status;
		if (json_read(reply.body, reply.length, MOST_BYTES, json, NULL) && reply.status == 200 && reply.length)
			result = error_set(error, ERROR_UNAVAILABLE, _("%s: the answer is no JSON"), url);
	}
	if (reply.body) explicit_bzero(reply.body, reply.length);
	client_reply_clear(&reply);
	client_caller_free(caller);
	return result;
}

static int get_document(const char *url, json_t **json, struct error *error) {
	int status = 0;
	if (ask(url, NULL, &status, json, error)) return -1;
	if (status == 200 && json_is_object(*json)) return 0;
	return error_set(error, ERROR_UNAVAILABLE, _("%s: answered with %d; is this a server of Trabajos?"), url, status);
}

// A form of name, value, …, NULL; a value that is NULL is left out with its name.
static char *form_of(const char *const *pairs) {
	char *form = mem_strdup("");
	for (; pairs[0]; pairs += 2) {
		if (!pairs[1]) continue;
		AUTO_FREE char *value = client_escape(pairs[1]);
		char *longer = mem_format("%s%s%s=%s", form, *form ? "&" : "", pairs[0], value);
		explicit_bzero(value, strlen(value));
		explicit_bzero(form, strlen(form));
		free(form);
		form = longer;
	}
	return form;
}

// 0: *json is what was asked for; 1: refused, *json may say why (RFC 6749 section 5.2).
static int post(const char *url, const char *const *pairs, json_t **json, struct error *error) {
	AUTO_FREE char *form = form_of(pairs);
	int status = 0, result = ask(url, form, &status, json, error);
	explicit_bzero(form, strlen(form));
	if (result) return -1;
	if (status >= 500) return error_set(error, ERROR_UNAVAILABLE, _("%s: answered with %d"), url, status);
	return status == 200 ? 0 : 1;
}

static const char *why_of(const json_t *json) {
	const char *description = json_text(json, "error_description"), *code = json_text(json, "error");
	return description ? description : code ? code : _("no reason was given");
}

// ---- discovery

static int find_issuer(const char *server, char **issuer, struct error *error) {
	AUTO_FREE char *url = mem_format("%s/.well-known/oauth-protected-resource", server);
	AUTO_JSON json_t *json = NULL;
	if (get_document(url, &json, error)) return -1;
	const char *resource = json_text(json, "resource");
	const char *found = json_string_value(json_array_get(json_object_get(json, "authorization_servers"), 0));
	if (!resource || !found)
		return error_set(error, ERROR_UNAVAILABLE, _("%s: it does not say who issues its tokens"), url);
	// RFC 9728 section 3.3: else somebody may stand between
	if (!url_same_origin(resource, server))
		return error_set(error, ERROR_INPUT, _("%s says that it is %s: use --server=%s"), server, resource, resource);
	*issuer = mem_strdup(found);
	return 0;
}

// An endpoint, which must be as safe as the issuer; NULL where there is none.
static int take_endpoint(const json_t *json, const char *name, char **endpoint, struct error *error) {
	const char *text = json_text(json, name);
	if (text && url_check(text, cli.allow_http, error)) return error_wrap(error, "%s", name);
	*endpoint = mem_strdup(text);
	return 0;
}

int oidc_discover(const char *server, struct oidc *oidc, struct error *error) {
	*oidc = (struct oidc){0};
	AUTO_JSON json_t *json = NULL;
	if (find_issuer(server, &oidc->issuer, error) || url_check(oidc->issuer, cli.allow_http, error)) return -1;
	AUTO_FREE char *url = mem_format("%s/.well-known/openid-configuration", oidc->issuer);
	if (get_document(url, &json, error)) return -1;
	const char *issuer = json_text(json, "issuer");
	if (!issuer || strcmp(issuer, oidc->issuer) != 0)
		return error_set(error, ERROR_UNAVAILABLE, _("%s: it is of another issuer"), url);
	if (take_endpoint(json, "token_endpoint", &oidc->token_endpoint, error) ||
		take_endpoint(json, "device_authorization_endpoint", &oidc->device_endpoint, error) ||
		take_endpoint(json, "revocation_endpoint", &oidc->revocation_endpoint, error))
		return -1;
	return oidc->token_endpoint ? 0 : error_set(error, ERROR_UNAVAILABLE, _("%s: it names no token_endpoint"), url);
}

void oidc_clear(struct oidc *oidc) {
	free(oidc->issuer);
	free(oidc->token_endpoint);
	free(oidc->device_endpoint);
	free(oidc->revocation_endpoint);
	*oidc = (struct oidc){0};
}

// ---- tokens

// Whom a token is of, for people; the server alone judges it.
static char *name_in(const char *token) {
	const char *begin = strchr(token, '.'), *end = begin ? strchr(begin + 1, '.') : NULL;
	size_t length;
	AUTO_FREE char *payload = end ? base64_decode(begin + 1, (size_t)(end - begin - 1), &length) : NULL;
	AUTO_JSON json_t *json = NULL;
	if (payload && json_read(payload, length, MOST_BYTES, &json, NULL)) json = NULL;
	const char *name = json_text(json, "preferred_username");
	return mem_strdup(name ? name : "?");
}

static void replace(char **place, char *owned) {
	free(*place);
	*place = owned;
}

static int take_tokens(const json_t *json, struct session *session, struct error *error) {
	const char *access = json_text(json, "access_token"), *refresh = json_text(json, "refresh_token");
	int64_t expires_s;
	if (!access) return error_set(error, ERROR_UNAVAILABLE, _("%s: it gave no access_token"), session->token_endpoint);
	if (json_int(json, "expires_in", 1, 31536000, 60, &expires_s, error)) return -1;
	replace(&session->access_token, mem_strdup(access));
	if (refresh) replace(&session->refresh_token, mem_strdup(refresh));
	replace(&session->usuario, name_in(access));
	session->expires_ms = loop_wall_ms() + expires_s * 1000;
	return 0;
}

static int take_first_tokens(const struct oidc *oidc, const json_t *json, struct session *session, struct error *error) {
	*session = (struct session){.server = mem_strdup(cli.server),
		.issuer = mem_strdup(oidc->issuer),
		.client = mem_strdup(OIDC_CLIENT),
		.token_endpoint = mem_strdup(oidc->token_endpoint),
		.revocation_endpoint = mem_strdup(oidc->revocation_endpoint)};
	return take_tokens(json, session, error);
}

static const char *scope_of(bool stay) {
	return stay ? "openid offline_access" : "openid";
}

int oidc_password(const struct oidc *oidc, const char *user, const char *password, bool stay, struct session *session,
	struct error *error) {
	AUTO_JSON json_t *json = NULL;
	const char *const pairs[] = {"grant_type", "password", "client_id", OIDC_CLIENT, "scope", scope_of(stay), "username",
		user, "password", password, NULL};
	int result = post(oidc->token_endpoint, pairs, &json, error);
	if (result == 0) return take_first_tokens(oidc, json, session, error);
	return result < 0 ? -1 : error_set(error, ERROR_DENIED, _("no token for %s: %s"), user, why_of(json));
}

int oidc_refresh(struct session *session, struct error *error) {
	AUTO_JSON json_t *json = NULL;
	if (!session->refresh_token) return error_set(error, ERROR_DENIED, _("the session cannot be renewed"));
	const char *const pairs[] = {
		"grant_type", "refresh_token", "client_id", session->client, "refresh_token", session->refresh_token, NULL};
	int result = post(session->token_endpoint, pairs, &json, error);
	if (result == 0) return take_tokens(json, session, error);
	return result < 0 ? -1 : error_set(error, ERROR_DENIED, "%s", why_of(json));
}

int oidc_revoke(const struct session *session, struct error *error) {
	AUTO_JSON json_t *json = NULL;
	if (!session->revocation_endpoint || !session->refresh_token) return 0;
	const char *const pairs[] = {"client_id", session->client, "token", session->refresh_token, NULL};
	int result = post(session->revocation_endpoint, pairs, &json, error);
	return result <= 0 ? result : error_set(error, ERROR_UNAVAILABLE, "%s", why_of(json));
}

// ---- the device flow

int oidc_device_begin(const struct oidc *oidc, bool stay, struct oidc_device *device, struct error *error) {
	*device = (struct oidc_device){0};
	AUTO_JSON json_t *json = NULL;
	if (!oidc->device_endpoint)
		return error_set(error, ERROR_UNAVAILABLE, _("%s has no device flow; log in with --password"), oidc->issuer);
	const char *const pairs[] = {"client_id", OIDC_CLIENT, "scope", scope_of(stay), NULL};
	int result = post(oidc->device_endpoint, pairs, &json, error);
	if (result) return result < 0 ? -1 : error_set(error, ERROR_DENIED, _("the log-in was refused: %s"), why_of(json));
	*device = (struct oidc_device){.code = mem_strdup(json_text(json, "device_code")),
		.user_code = mem_strdup(json_text(json, "user_code")),
		.uri = mem_strdup(json_text(json, "verification_uri")),
		.uri_with_code = mem_strdup(json_text(json, "verification_uri_complete"))};
	if (json_int(json, "interval", 1, INTERVAL_MAX, INTERVAL_S, &device->interval_s, error) ||
		json_int(json, "expires_in", 1, 86400, 600, &device->expires_s, error))
		return -1;
	if (!device->code || !device->user_code || !device->uri)
		return error_set(error, ERROR_UNAVAILABLE, _("%s: the answer lacks a code"), oidc->device_endpoint);
	return 0;
}

// One question. 0: *json holds the tokens; 1: not yet; -1: never. *interval_s is how long to wait before the next.
static int device_ask(const struct oidc *oidc, const char *code, int64_t *interval_s, json_t **json, struct error *error) {
	const char *const pairs[] = {"grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", OIDC_CLIENT,
		"device_code", code, NULL};
	AUTO_ERROR struct error trouble = {0};
	int result = post(oidc->token_endpoint, pairs, json, &trouble);
	if (result == 0) return 0;
	if (result < 0) {
		// section 3.5: not reached, asked less often
		*interval_s = *interval_s * 2 > INTERVAL_MAX ? INTERVAL_MAX : *interval_s * 2;
		return trouble.kind == ERROR_UNAVAILABLE ? 1 : error_set(error, trouble.kind, "%s", error_text(&trouble));
	}
	const char *answer = json_text(*json, "error");
	if (answer && strcmp(answer, "authorization_pending") == 0) return 1;
	if (answer && strcmp(answer, "slow_down") == 0) {
		*interval_s += SLOW_DOWN_S;
		return 1;
	}
	if (answer && strcmp(answer, "expired_token") == 0)
		return error_set(error, ERROR_DENIED, _("the code has expired: run trabajos login again"));
	if (answer && strcmp(answer, "access_denied") == 0)
		return error_set(error, ERROR_DENIED, _("the log-in was refused in the browser"));
	return error_set(error, ERROR_DENIED, _("the log-in was refused: %s"), why_of(*json));
}

int oidc_device_await(const struct oidc *oidc, const struct oidc_device *device, struct session *session, struct error *error) {
	int64_t end_ms = loop_now_ms() + device->expires_s * 1000, interval_s = device->interval_s;
	while (!cli_pause(interval_s * 1000)) {
		AUTO_JSON json_t *json = NULL;
		int result = device_ask(oidc, device->code, &interval_s, &json, error);
		if (result == 0) return take_first_tokens(oidc, json, session, error);
		if (result < 0) return -1;
		if (loop_now_ms() >= end_ms)
			return error_set(error, ERROR_DENIED, _("the code has expired: run trabajos login again"));
	}
	return error_set(error, ERROR_CONFLICT, _("interrupted"));
}

void oidc_device_clear(struct oidc_device *device) {
	free(device->code);
	free(device->user_code);
	free(device->uri);
	free(device->uri_with_code);
	*device = (struct oidc_device){0};
}
