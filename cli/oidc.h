// Tokens from the server's Keycloak: where it is (RFC 9728, OpenID Connect Discovery), the device flow (RFC 8628), a password, a
// refresh, a revocation (RFC 7009).
#pragma once

#include "cli/session.h"

#include <stdbool.h>

#define OIDC_CLIENT "trabajos-cli"

struct oidc {
	char *issuer, *token_endpoint, *device_endpoint, *revocation_endpoint; // the last two may be NULL
};

int oidc_discover(const char *server, struct oidc *oidc, struct error *error) MUST_USE;
void oidc_clear(struct oidc *oidc);

struct oidc_device {
	char *code, *user_code, *uri, *uri_with_code; // the last may be NULL
	int64_t interval_s, expires_s;
};
int oidc_device_begin(const struct oidc *oidc, bool stay, struct oidc_device *device, struct error *error) MUST_USE;
// Asks as often as it may until somebody has let us in (or refused, or it is too late).
int oidc_device_await(
	const struct oidc *oidc, const struct oidc_device *device, struct session *session, struct error *error) MUST_USE;
void oidc_device_clear(struct oidc_device *device);

int oidc_password(const struct oidc *oidc, const char *user, const char *password, bool stay, struct session *session,
	struct error *error) MUST_USE;
// ERROR_DENIED: the session has ended.
int oidc_refresh(struct session *session, struct error *error) MUST_USE;
int oidc_revoke(const struct session *session, struct error *error) MUST_USE;
