#include "lib/webhook.h"

#include "lib/digest.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#define SECRET_PREFIX "whsec_"
#define SECRET_LEAST  24
#define SECRET_MOST   64

static unsigned char *read_secret(const char *secret, size_t *length) {
	size_t prefix = strlen(SECRET_PREFIX);
	if (strncmp(secret, SECRET_PREFIX, prefix) != 0) return NULL;
	unsigned char *key = digest_base64_read(secret + prefix, length);
	if (key && *length >= SECRET_LEAST && *length <= SECRET_MOST) return key;
	free(key);
	return NULL;
}

static const char *url_of(const json_t *on_done) {
	return json_is_string(on_done) ? json_string_value(on_done) : json_text(on_done, "url");
}

static int check_secret(const json_t *secret, struct error *error) {
	size_t length = 0;
	AUTO_FREE unsigned char *key = json_is_string(secret) ? read_secret(json_string_value(secret), &length) : NULL;
	if (key || !secret || json_is_null(secret)) return 0;
	return error_set(error, ERROR_INPUT, "on_done: secret must be \"" SECRET_PREFIX "\" and %d to %d bytes in base64",
		SECRET_LEAST, SECRET_MOST);
}

int webhook_check(const json_t *on_done, struct error *error) {
	const char *url = url_of(on_done), *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)on_done, name,
		value) if (strcmp(name, "url") != 0 && strcmp(name, "secret") != 0) url = NULL;
	if (!url) return error_set(error, ERROR_INPUT, "on_done must be a URL, or an object of url and secret");
	size_t length = strlen(url);
	if (length > WEBHOOK_URL_MAX)
		return error_set(error, ERROR_INPUT, "on_done: the URL has more than %d bytes", WEBHOOK_URL_MAX);
	for (const char *at = url; *at; at++)
		if (*at <= ' ' || *at > '~' || strchr("\"<>\\^`{|}#", *at))
			return error_set(error, ERROR_INPUT, "on_done: the URL has a character that must be percent-encoded");
	if (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0)
		return error_set(error, ERROR_INPUT, "on_done: the URL must begin with https://");
	return check_secret(json_object_get(on_done, "secret"), error);
}

// A query is none of a repository's URL, and plays no part in where it goes.
int webhook_url(const char *text, const struct giturl_rules *rules, char **url, bool *listed, struct error *error) {
	AUTO_FREE char *place = mem_strndup(text, strcspn(text, "?"));
	const char *query = text + strlen(place);
	struct giturl checked = {0};
	if (giturl_check(place, rules, &checked, error) < 0) {
		if (error && error->kind == ERROR_DENIED)
			return error_set(error, ERROR_DENIED,
				"on_done: only public https URLs are allowed, and what WEBHOOK_ALLOW lists");
		return error_wrap(error, "on_done");
	}
	*url = mem_format("%s%s", checked.text, query);
	*listed = checked.allowed;
	giturl_clear(&checked);
	return 0;
}

int webhook_allowed(const json_t *spec, const struct giturl_rules *rules, struct error *error) {
	const json_t *on_done = json_object_get(spec, "on_done");
	if (!on_done || json_is_null(on_done)) return 0;
	AUTO_FREE char *url = NULL;
	bool listed;
	return webhook_url(url_of(on_done), rules, &url, &listed, error);
}

json_t *webhook_shown(const json_t *on_done) {
	json_t *copy = json_deep_copy(on_done);
	if (json_object_get(copy, "secret")) json_object_set_new(copy, "secret", json_null());
	return copy;
}

char *webhook_sign(const char *secret, const char *id, int64_t at_s, const char *body) {
	size_t length = 0;
	AUTO_FREE unsigned char *key = read_secret(secret, &length);
	if (!key) return NULL;
	unsigned char mac[DIGEST_BYTES];
	AUTO_FREE char *text = mem_format("%s.%" PRId64 ".%s", id, at_s, body);
	digest_hmac_sha256(key, length, text, strlen(text), mac);
	AUTO_FREE char *base64 = digest_base64(mac, sizeof(mac));
	return mem_format("v1,%s", base64);
}
