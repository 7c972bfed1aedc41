// Which repositories may be fetched: public https, plus what GIT_ALLOW lists.
#pragma once

#include "lib/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct giturl_rules; // GIT_ALLOW: comma-separated URLs: scheme, host and port equal, path a prefix that ends at a "/"

int giturl_rules_parse(const char *text, struct giturl_rules **rules, struct error *error) MUST_USE;
void giturl_rules_free(struct giturl_rules *rules);

struct giturl {
	char *text; // normalised: lower-case scheme and host, no default port, no dot segments, http upgraded to https; owned
	char *scheme, *host; // host without brackets; owned
	uint16_t port;
	char *path;
	bool allowed; // GIT_ALLOW names it: it may be non-public
};

void giturl_clear(struct giturl *url);

// Parses, normalises, decides. ERROR_INPUT: no URL we can use (empty, too long, control characters, no host, unknown
// scheme syntax, query or fragment, credentials in it); ERROR_DENIED: a URL, but not allowed (scheme, non-public literal
// address in any notation, localhost names). Does not resolve names.
int giturl_check(const char *text, const struct giturl_rules *rules, struct giturl *url, struct error *error) MUST_USE;

// Whether the address is globally reachable: not in IANA's special-purpose registries (IPv4 and IPv6; RFC 6890), IPv4-mapped,
// -compatible, 6to4, Teredo and NAT64 forms judged by what they carry.
bool address_is_public(const struct sockaddr *address);
// The IPv4 addresses that an IPv6 one of those forms (or ISATAP's) carries; how many.
#define ADDRESS_CARRIED_MAX 2
size_t address_carried_v4(const struct sockaddr *address, struct in_addr carried[ADDRESS_CARRIED_MAX]);
// The i-th IPv4 prefix that is not; false: there are no more.
bool address_special_v4(size_t i, struct in_addr *base, unsigned *bits);
// A literal in any notation that inet_aton or getaddrinfo would take (dotted, decimal, octal, hex, short, v6, v6 with zone).
bool address_literal(const char *host, struct sockaddr_storage *address);
