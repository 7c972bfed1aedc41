// The network policy `egress`: who gets it, and the rules of the packet filter that keep what is not public out of reach.
#pragma once

#include "lib/error.h"
#include "lib/json.h"

#include <stdbool.h>

// JOB_EGRESS_FOR: entries separated by commas, each of terms joined by "+" that must all hold: a `usuario` or an owner,
// `label:NAME=VALUE`, or `*` for everybody.
int egress_for_check(const char *who, struct error *error) MUST_USE;
bool egress_allows(const char *who, const char *usuario, const char *owner, const json_t *labels);

// JOB_EGRESS_DENY: IPv4 addresses or prefixes, separated by commas.
int egress_deny_check(const char *deny, struct error *error) MUST_USE;
// The rules for nft(8): out goes what is TCP or UDP over IPv4 to an address that is neither special (IANA's registry) nor denied nor
// one of this machine's own as they are now; and to the box's own name server, its port only. *text is the caller's.
int egress_rules(const char *deny, char **text, struct error *error) MUST_USE;
