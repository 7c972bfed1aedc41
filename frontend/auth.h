// Who asks: from the Authorization header to verified claims (RFC 6750), with a cache of verified tokens.
#pragma once

#include "frontend/jwks.h"
#include "frontend/token.h"
#include "lib/client.h"
#include "lib/http.h"

struct auth;

struct auth_config {
	const char *issuer, *audience;
	const char *jwks_url; // empty: from the issuer's discovery document
};

struct auth *auth_open(struct loop *loop, struct client *client, const struct auth_config *config) MUST_USE;
void auth_close(struct auth *auth); // after the server and the client; NULL is fine

// Whether tokens can be checked now; error (may be NULL) says why not.
bool auth_ready(const struct auth *auth, struct error *error);
bool auth_failed(const struct auth *auth); // whether the last fetch of the keys failed

// claims live during the call; who keeps them holds them.
typedef void auth_done(struct http_request *request, struct token_claims *claims, void *arg);
// Calls done, now or later, for a token with role user or admin. Everybody else is answered here: 400, 401, 403, or 503
// while the issuer's keys are not known.
void auth_request(struct auth *auth, struct http_request *request, auth_done *done, void *arg);
