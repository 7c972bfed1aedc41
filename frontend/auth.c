#include "frontend/auth.h"

#include "frontend/answer.h"
#include "frontend/discovery.h"
#include "frontend/lru.h"
#include "frontend/meters.h"
#include "lib/mem.h"

#include <string.h>
#include <strings.h>

#define CACHE_MOST 10000
#define REALM      "trabajos"
#define HOW_TO_GET                                                                                                             \
	"Send \"Authorization: Bearer <access token>\"; `trabajos login` and `trabajos token` print one, "                     \
	"`dev/stack token USER` one of the local stack, "                                                                      \
	"`docker-compose/token USER` one of the compose sample."

struct auth {
	struct loop *loop;
	struct token_rules rules;
	struct jwks *jwks;
	struct lru cache; // of struct cached
};

struct cached {
	struct lru_node node; // first
	struct token_claims *claims;
};

// A request whose key is being fetched.
struct waiting {
	struct jwks_waiter waiter;
	struct auth *auth;
	struct http_request *request;
	auth_done *done;
	void *arg;
};

// ---- cache

static void cached_drop(struct lru_node *node, void *arg) {
	(void)arg;
	struct cached *cached = (struct cached *)node;
	token_claims_drop(cached->claims);
	free(cached);
}

static void cache_add(struct auth *auth, const unsigned char *digest, struct token_claims *claims) {
	struct cached *cached = mem_zalloc(sizeof *cached);
	memcpy(cached->node.digest, digest, DIGEST_BYTES);
	cached->claims = token_claims_hold(claims);
	lru_add(&auth->cache, &cached->node);
}

static struct token_claims *cache_find(struct auth *auth, const unsigned char *digest) {
	struct cached *cached = (struct cached *)lru_find(&auth->cache, digest);
	if (!cached) return NULL;
	if (!token_claims_expired(cached->claims, loop_wall_ms() / 1000)) return cached->claims;
	lru_remove(&auth->cache, &cached->node);
	return NULL;
}

// A key that was withdrawn takes the tokens that it signed with it.
static void keys_changed(const struct token_keys *keys, void *arg) {
	struct auth *auth = arg;
	for (struct lru_node *node = auth->cache.oldest, *next; node; node = next) {
		next = node->newer;
		if (!token_keys_hold(keys, ((struct cached *)node)->claims->key_id)) lru_remove(&auth->cache, node);
	}
}

// ---- refusals

// The characters that RFC 6750 section 3 allows in an error_description; parts of it come from the token.
static void description_clean(char *text) {
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e || *text == '"' || *text == '\\') *text = '?';
}

static void challenge(struct http_request *request, const char *code, const char *description) {
	AUTO_FREE char *text = description ? mem_strdup(description) : NULL;
	if (text) description_clean(text);
	AUTO_FREE char *where = discovery_metadata(request);
	AUTO_FREE char *error = text ? mem_format(", error=\"%s\", error_description=\"%s\"", code, text) : mem_strdup("");
	AUTO_FREE char *metadata = where ? mem_format(", resource_metadata=\"%s\"", where) : mem_strdup("");
	AUTO_FREE char *value = mem_format("Bearer realm=\"" REALM "\"%s%s", error, metadata);
	http_answer_header(request, "WWW-Authenticate", value);
}

// No error attribute for who sent no token (RFC 6750 section 3.1).
static void refuse_without_token(struct http_request *request) {
	metric_add(&meter_token_refused, 1);
	challenge(request, NULL, NULL);
	answer_problem(request, 401, 0, "An access token is needed. " HOW_TO_GET);
}

static void refuse_token(struct http_request *request, const char *why) {
	metric_add(&meter_token_refused, 1);
	challenge(request, "invalid_token", why);
	answer_problem(request, 401, 0, "The access token was refused: %s. " HOW_TO_GET, why);
}

static void refuse_request(struct http_request *request, const char *why) {
	metric_add(&meter_token_refused, 1);
	challenge(request, "invalid_request", why);
	answer_problem(request, 400, 0, "%s", why);
}

static void refuse_right(struct http_request *request, const char *why) {
	metric_add(&meter_token_refused, 1);
	challenge(request, "insufficient_scope", why);
	answer_problem(request, 403, 0, "%s", why);
}

static void refuse_for_now(struct http_request *request) {
	answer_unavailable(request, "The issuer of the tokens");
}

// ---- the way of a token

static void grant(struct http_request *request, struct token_claims *claims, auth_done *done, void *arg) {
	if (!(claims->roles & (TOKEN_ROLE_USER | TOKEN_ROLE_ADMIN)))
		refuse_right(request, "The token has neither the realm role user nor admin; one of them is needed.");
	else
		done(request, claims, arg);
}

// The token of the request, checked; TOKEN_FINE: *claims is to be dropped.
static enum token_verdict verify(
	struct auth *auth, const char *token, size_t length, struct token_claims **claims, struct error *error) {
	unsigned char digest[DIGEST_BYTES];
	digest_sha256(token, length, digest);
	struct token_claims *cached = cache_find(auth, digest);
	if (cached) {
		metric_add(&meter_token_cached, 1);
		*claims = token_claims_hold(cached);
		return TOKEN_FINE;
	}
	enum token_verdict verdict =
		token_verify(token, length, jwks_keys(auth->jwks), &auth->rules, loop_wall_ms() / 1000, claims, error);
	if (verdict != TOKEN_FINE) return verdict;
	metric_add(&meter_token_verified, 1);
	cache_add(auth, digest, *claims);
	return TOKEN_FINE;
}

static const char *bearer_token(struct http_request *request) {
	const char *value = http_header(request, "Authorization");
	if (!value || strncasecmp(value, "Bearer ", 7) != 0) return NULL;
	value += 7;
	while (*value == ' ') value++;
	return *value ? value : NULL;
}

static void request_gone(void *arg) {
	struct waiting *waiting = arg;
	jwks_forget(&waiting->waiter);
	free(waiting);
}

static void judge(struct auth *auth, struct http_request *request, bool may_wait, auth_done *done, void *arg);

static void keys_fetched(void *arg) {
	struct waiting *waiting = arg;
	http_on_gone(waiting->request, NULL, NULL);
	judge(waiting->auth, waiting->request, false, waiting->done, waiting->arg);
	free(waiting);
}

static bool await_keys(struct auth *auth, struct http_request *request, auth_done *done, void *arg) {
	struct waiting *waiting = mem_zalloc(sizeof *waiting);
	*waiting = (struct waiting){{.fn = keys_fetched, .arg = waiting}, auth, request, done, arg};
	if (!jwks_await(auth->jwks, &waiting->waiter)) {
		free(waiting);
		return false;
	}
	http_on_gone(request, request_gone, waiting);
	return true;
}

// An unknown key is the token's fault only if the issuer could be asked.
static void judge(struct auth *auth, struct http_request *request, bool may_wait, auth_done *done, void *arg) {
	if (!jwks_keys(auth->jwks)) {
		refuse_for_now(request);
		return;
	}
	const char *token = bearer_token(request);
	struct token_claims *claims = NULL;
	struct error why AUTO_ERROR = {0};
	switch (verify(auth, token, strlen(token), &claims, &why)) {
	case TOKEN_FINE:
		grant(request, claims, done, arg);
		token_claims_drop(claims);
		return;
	case TOKEN_RESERVED:
		refuse_right(request, error_text(&why));
		return;
	case TOKEN_KEY_UNKNOWN:
		if (may_wait && await_keys(auth, request, done, arg)) return;
		if (jwks_error(auth->jwks))
			refuse_for_now(request);
		else
			refuse_token(request, error_text(&why));
		return;
	case TOKEN_BAD:
		refuse_token(request, error_text(&why));
		return;
	}
}

struct auth *auth_open(struct loop *loop, struct client *client, const struct auth_config *config) {
	struct auth *auth = mem_zalloc(sizeof *auth);
	auth->loop = loop;
	auth->rules = (struct token_rules){.issuer = config->issuer, .audience = config->audience};
	lru_init(&auth->cache, CACHE_MOST, cached_drop, NULL);
	const struct jwks_config jwks = {
		.issuer = config->issuer, .url = config->jwks_url, .changed = keys_changed, .arg = auth};
	auth->jwks = jwks_open(loop, client, &jwks);
	return auth;
}

void auth_close(struct auth *auth) {
	if (!auth) return;
	jwks_close(auth->jwks);
	lru_clear(&auth->cache);
	free(auth);
}

bool auth_ready(const struct auth *auth, struct error *error) {
	if (jwks_keys(auth->jwks)) return true;
	const struct error *why = jwks_error(auth->jwks);
	error_set(error, why ? why->kind : ERROR_UNAVAILABLE, "%s", why ? error_text(why) : "the keys are not there yet");
	return false;
}

bool auth_failed(const struct auth *auth) {
	return jwks_error(auth->jwks) != NULL;
}

void auth_request(struct auth *auth, struct http_request *request, auth_done *done, void *arg) {
	if (http_header_count(request, "Authorization") > 1)
		refuse_request(request, "More than one Authorization header was sent.");
	else if (!bearer_token(request))
		refuse_without_token(request);
	else
		judge(auth, request, true, done, arg);
}
