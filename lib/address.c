#include "lib/attr.h"
#include "lib/giturl.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define V4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

struct v4_block {
	uint32_t base;
	unsigned bits;
};

// https://www.iana.org/assignments/iana-ipv4-special-registry, its few globally reachable entries included (no repository
// lives on an anycast service address), and multicast (RFC 5771).
static const struct v4_block v4_special[] = {
	{V4(0, 0, 0, 0), 8},       // this network (RFC 791)
	{V4(10, 0, 0, 0), 8},      // private use (RFC 1918)
	{V4(100, 64, 0, 0), 10},   // shared address space (RFC 6598)
	{V4(127, 0, 0, 0), 8},     // loopback (RFC 1122)
	{V4(169, 254, 0, 0), 16},  // link-local (RFC 3927), where clouds keep their metadata
	{V4(172, 16, 0, 0), 12},   // private use
	{V4(192, 0, 0, 0), 24},    // IETF protocol assignments (RFC 6890)
	{V4(192, 0, 2, 0), 24},    // documentation (RFC 5737)
	{V4(192, 31, 196, 0), 24}, // AS112 (RFC 7535)
	{V4(192, 52, 193, 0), 24}, // AMT (RFC 7450)
	{V4(192, 88, 99, 0), 24},  // 6to4 relay anycast, deprecated (RFC 7526)
	{V4(192, 168, 0, 0), 16},  // private use
	{V4(192, 175, 48, 0), 24}, // direct delegation AS112 (RFC 7534)
	{V4(198, 18, 0, 0), 15},   // benchmarking (RFC 2544)
	{V4(198, 51, 100, 0), 24}, // documentation
	{V4(203, 0, 113, 0), 24},  // documentation
	{V4(224, 0, 0, 0), 4},     // multicast
	{V4(240, 0, 0, 0), 4},     // reserved, and the limited broadcast (RFC 1112, RFC 919)
};

struct v6_block {
	uint8_t base[16];
	unsigned bits;
};

// https://www.iana.org/assignments/iana-ipv6-special-registry, as far as it lies inside 2000::/3: nothing else is global
// unicast (RFC 4291, section 2.4), so that loopback, fc00::/7, fe80::/10, fec0::/10, ff00::/8, 100::/64, 5f00::/16 and the
// local NAT64 prefix 64:ff9b:1::/48 need no entry of their own.
static const struct v6_block v6_special[] = {
	{{0x20, 0x01}, 23},                         // IETF protocol assignments (RFC 2928); Teredo is looked at before
	{{0x20, 0x01, 0x0d, 0xb8}, 32},             // documentation (RFC 3849)
	{{0x26, 0x20, 0x00, 0x4f, 0x80, 0x00}, 48}, // direct delegation AS112 (RFC 7534)
	{{0x3f, 0xff}, 20},                         // documentation (RFC 9637)
};

bool address_special_v4(size_t i, struct in_addr *base, unsigned *bits) {
	if (i >= COUNT_OF(v4_special)) return false;
	*base = (struct in_addr){.s_addr = htonl(v4_special[i].base)};
	*bits = v4_special[i].bits;
	return true;
}

static bool v4_is_public(uint32_t address) {
	for (size_t i = 0; i < COUNT_OF(v4_special); i++) {
		uint32_t mask = ~(uint32_t)0 << (32 - v4_special[i].bits);
		if ((address & mask) == v4_special[i].base) return false;
	}
	return true;
}

static bool v6_has_prefix(const uint8_t address[16], const uint8_t prefix[16], unsigned bits) {
	unsigned whole = bits / 8, rest = bits % 8;
	if (memcmp(address, prefix, whole) != 0) return false;
	if (rest == 0) return true;
	uint8_t mask = (uint8_t)(0xff << (8 - rest));
	return (address[whole] & mask) == (prefix[whole] & mask);
}

static uint32_t v4_at(const uint8_t *bytes) {
	return V4(bytes[0], bytes[1], bytes[2], bytes[3]);
}

// An IPv6 address may be the wrapping of an IPv4 one; somebody on the way unwraps it and goes there. *only: it is nothing else.
static size_t v6_unwrap(const uint8_t a[16], uint32_t found[ADDRESS_CARRIED_MAX], bool *only) {
	static const uint8_t compatible[16] = {0}; // ::/96 (RFC 4291, 2.5.5.1); holds :: and ::1 too, carried 0.0.0.0/8
	static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff};                             // ::ffff:0:0/96
	static const uint8_t translated[16] = {[8] = 0xff, [9] = 0xff};                           // ::ffff:0:0:0/96 (RFC 2765)
	static const uint8_t nat64[16] = {[1] = 0x64, [2] = 0xff, [3] = 0x9b};                    // 64:ff9b::/96 (RFC 6052)
	static const uint8_t teredo[16] = {0x20, 0x01};                                           // 2001::/32 (RFC 4380)
	static const uint8_t isatap[2][4] = {{0x00, 0x00, 0x5e, 0xfe}, {0x02, 0x00, 0x5e, 0xfe}}; // RFC 5214, 6.1
	*only = true;
	found[0] = v4_at(a + 12);
	if (v6_has_prefix(a, compatible, 96) || v6_has_prefix(a, mapped, 96) || v6_has_prefix(a, translated, 96) ||
		v6_has_prefix(a, nat64, 96))
		return 1;
	if (a[0] == 0x20 && a[1] == 0x02) { // 6to4, 2002::/16 (RFC 3056)
		found[0] = v4_at(a + 2);
		return 1;
	}
	if (v6_has_prefix(a, teredo, 32)) { // the client's address stands inverted at the end, the server's after the prefix
		found[0] = v4_at(a + 4);
		found[1] = ~v4_at(a + 12);
		return 2;
	}
	*only = false;
	return memcmp(a + 8, isatap[0], 4) == 0 || memcmp(a + 8, isatap[1], 4) == 0;
}

static bool v6_is_public(const uint8_t address[16]) {
	uint32_t found[ADDRESS_CARRIED_MAX];
	bool only;
	size_t count = v6_unwrap(address, found, &only);
	for (size_t i = 0; i < count; i++)
		if (!v4_is_public(found[i])) return false;
	if (only) return true;
	if ((address[0] & 0xe0) != 0x20) return false;
	for (size_t i = 0; i < COUNT_OF(v6_special); i++)
		if (v6_has_prefix(address, v6_special[i].base, v6_special[i].bits)) return false;
	return true;
}

bool address_is_public(const struct sockaddr *address) {
	if (address->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof in);
		return v4_is_public(ntohl(in.sin_addr.s_addr));
	}
	if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, address, sizeof in6);
		return v6_is_public(in6.sin6_addr.s6_addr);
	}
	return false;
}

size_t address_carried_v4(const struct sockaddr *address, struct in_addr carried[ADDRESS_CARRIED_MAX]) {
	uint32_t found[ADDRESS_CARRIED_MAX];
	struct sockaddr_in6 in6;
	bool only;
	if (address->sa_family != AF_INET6) return 0;
	memcpy(&in6, address, sizeof in6);
	size_t count = v6_unwrap(in6.sin6_addr.s6_addr, found, &only);
	for (size_t i = 0; i < count; i++) carried[i].s_addr = htonl(found[i]);
	return count;
}

static int digit_value(char c) {
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return 16;
}

// One part of inet_aton's notation: decimal, 0octal or 0xhex. Moves *text behind it; false: no number, or more than 32 bits.
static bool read_part(const char **text, uint32_t *value) {
	const char *at = *text;
	int base = 10;
	uint64_t sum = 0;
	if (digit_value(*at) > 9) return false;
	if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
		base = 16;
		at += 2; // a bare 0x is 0 to some parsers: so it is a literal here
	} else if (at[0] == '0') {
		base = 8;
	}
	for (; digit_value(*at) < base; at++) {
		sum = sum * (uint64_t)base + (uint64_t)digit_value(*at);
		if (sum > UINT32_MAX) return false;
	}
	*value = (uint32_t)sum;
	*text = at;
	return true;
}

// inet_aton's forms a.b.c.d, a.b.c, a.b and a: the last part fills what is left.
static bool v4_literal(const char *host, uint32_t *address) {
	uint32_t parts[4];
	size_t count = 0;
	for (const char *at = host;; at++) {
		if (count == COUNT_OF(parts) || !read_part(&at, &parts[count++])) return false;
		if (*at == '\0' || (*at == '.' && at[1] == '\0')) break; // one trailing dot: the absolute form of a name
		if (*at != '.') return false;
	}
	uint32_t sum = 0;
	for (size_t i = 0; i + 1 < count; i++) {
		if (parts[i] > 255) return false;
		sum |= parts[i] << (24 - 8 * i);
	}
	uint32_t last = parts[count - 1];
	if (count > 1 && last >> (8 * (5 - count)) != 0) return false;
	*address = sum | last;
	return true;
}

static bool v6_literal(const char *host, struct in6_addr *address) {
	size_t length = strlen(host);
	if (length > 1 && host[0] == '[' && host[length - 1] == ']') {
		host++;
		length -= 2;
	}
	const char *zone = memchr(host, '%', length);
	if (zone) length = (size_t)(zone - host); // whatever the interface, the address decides
	char text[INET6_ADDRSTRLEN];
	if (length >= sizeof text) return false;
	memcpy(text, host, length);
	text[length] = '\0';
	return inet_pton(AF_INET6, text, address) == 1;
}

bool address_literal(const char *host, struct sockaddr_storage *address) {
	*address = (struct sockaddr_storage){0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	uint32_t v4;
	if (v4_literal(host, &v4)) {
		in.sin_addr.s_addr = htonl(v4);
		memcpy(address, &in, sizeof in);
		return true;
	}
	if (!v6_literal(host, &in6.sin6_addr)) return false;
	memcpy(address, &in6, sizeof in6);
	return true;
}
