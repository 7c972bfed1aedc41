// Who is logged in where: one file a server in $XDG_CONFIG_HOME/trabajos (else ~/.config/trabajos), for its owner alone. It is replaced
// as a whole; who changes it holds the session's lock, so that of many commands one renews the token and the others read it.
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

struct session {
	char *server, *usuario;
	char *issuer, *client, *token_endpoint, *revocation_endpoint; // the last may be NULL
	char *access_token, *refresh_token;                           // the last may be NULL
	int64_t expires_ms;                                           // the access token, since the epoch
};

void session_clear(struct session *session);
// 1: nobody is logged in there; session is empty.
int session_load(const char *server, struct session *session, struct error *error) MUST_USE;
int session_store(const struct session *session, struct error *error) MUST_USE;
int session_remove(const char *server, struct error *error) MUST_USE;
// Waits for the lock; its descriptor, to be closed, or -1.
int session_lock(const char *server, struct error *error) MUST_USE;
// Another server where somebody is logged in, or NULL; owned by the caller.
char *session_elsewhere(const char *server) MUST_USE;
