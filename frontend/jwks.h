// The issuer's keys: fetched by its discovery document (OpenID Connect Discovery 1.0 section 4) or from a given address,
// single-flight, every few minutes; kept for a bounded time while the issuer is away.
#pragma once

#include "frontend/token.h"
#include "lib/client.h"

struct jwks;

struct jwks_config {
	const char *issuer;
	const char *url;    // empty: from the discovery document, whose issuer must be equal to ours
	int64_t refresh_ms; // 0: 5 min
	int64_t unknown_ms; // 0: 30 s; an unknown kid triggers at most one fetch in this time
	int64_t stale_ms;   // 0: 1 h; older keys are not used
	void (*changed)(const struct token_keys *keys, void *arg); // a set was fetched; may be NULL
	void *arg;
};

struct jwks *jwks_open(struct loop *loop, struct client *client, const struct jwks_config *config) MUST_USE;
void jwks_close(struct jwks *jwks); // after its client was freed; nobody may wait any more; NULL is fine

const struct token_keys *jwks_keys(const struct jwks *jwks); // NULL: none, or too old
const struct error *jwks_error(const struct jwks *jwks);     // why the last fetch failed; NULL: it did not

// Owned by the caller, one for each request that waits.
struct jwks_waiter {
	void (*fn)(void *arg);
	void *arg;
	struct jwks_waiter *next, **place; // place NULL: not waiting
};

// A key was not found. true: a fetch is under way, fn is called once when it has ended (well or not). false: the keys were
// fetched so short a while ago that they are not fetched again.
bool jwks_await(struct jwks *jwks, struct jwks_waiter *waiter) MUST_USE;
void jwks_forget(struct jwks_waiter *waiter);

// Pure: where the keys are, from a discovery document. *url is owned by the caller.
int jwks_discover(const char *text, size_t length, const char *issuer, char **url, struct error *error) MUST_USE;
