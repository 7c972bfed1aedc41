// Completion webhooks (https://www.standardwebhooks.com): what `on_done` of a job may be, and the deliverer, a chore of the house.
//
// Each event is leased in the ledger (sql/0014-webhooks.sql), posted by libcurl, and what came of it written back. Where it is
// allowed to go is decided like a fetch: https and public addresses, each judged when it is dialled; only what WEBHOOK_ALLOW
// lists may be anything else. No redirects, no proxies; of an answer only the status counts.
#pragma once

#include "lib/db.h"
#include "lib/giturl.h"
#include "lib/json.h"
#include "lib/loop.h"
#include "lib/option.h"

#define OPTION_WEBHOOK(place)                                                                                                  \
	{                                                                                                                      \
		.name = "WEBHOOK_ALLOW", .type = OPTION_STRING, .value = &(place), .fallback = "",                             \
		.help = "URLs, comma-separated, below which webhooks may go elsewhere than to public https"                    \
	}

#define WEBHOOK_URL_MAX 2000

// Whether a member on_done can be one: "https://…" or {"url","secret"}, secret "whsec_" and 24 to 64 bytes in base64. ERROR_INPUT.
int webhook_check(const json_t *on_done, struct error *error) MUST_USE;
// Whether it may go there: ERROR_INPUT, ERROR_DENIED. spec NULL, or without on_done: fine.
int webhook_allowed(const json_t *spec, const struct giturl_rules *rules, struct error *error) MUST_USE;
// As it is dialled, in its normal form; listed: by WEBHOOK_ALLOW, so that any address will do. Owned.
int webhook_url(const char *text, const struct giturl_rules *rules, char **url, bool *listed, struct error *error) MUST_USE;
// A copy of on_done that may be shown: a secret is null.
json_t *webhook_shown(const json_t *on_done) MUST_USE;

// Of id, seconds since the epoch and body: "v1,BASE64". NULL: the secret is none. Owned.
char *webhook_sign(const char *secret, const char *id, int64_t at_s, const char *body) MUST_USE;

struct webhooks;
// The rules must outlive it.
struct webhooks *webhooks_start(struct loop *loop, struct db_session *session, const struct giturl_rules *rules) MUST_USE;
void webhooks_stop(struct webhooks *webhooks); // NULL is fine; what is under way comes again, from whoever keeps the house then
