// Lists of IP addresses and prefixes, of both families: an IPv4 address is kept in its mapped form (RFC 4291, 2.5.5.2).
#pragma once

#include "lib/attr.h"
#include "lib/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct prefixes;

// "198.51.100.0/24,2001:db8::1": commas between, spaces around them do not matter, nothing is an empty list.
int prefixes_parse(const char *text, struct prefixes **prefixes, struct error *error) MUST_USE;
void prefixes_free(struct prefixes *prefixes);
void prefixes_add(struct prefixes *prefixes, const struct sockaddr *address); // of another family: nothing is added
bool prefixes_hold(const struct prefixes *prefixes, const struct in6_addr *address);
// The same, or an IPv4 address that this one carries (giturl.h): somebody on the way unwraps it and goes there.
bool prefixes_lead_to(const struct prefixes *prefixes, const struct sockaddr *address);

bool prefix_read_address(const char *text, struct in6_addr *address) MUST_USE; // of either family
void prefix_map_v4(struct in_addr v4, struct in6_addr *address);
