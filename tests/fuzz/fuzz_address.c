// The first 16 bytes: an IPv6 address. All of it: a host as text. What the C library would dial must be known as a literal.
#include "lib/giturl.h"
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

static bool v6_is_public(const uint8_t bytes[16]) {
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_storage address = {0};
	memcpy(&in6.sin6_addr, bytes, 16);
	memcpy(&address, &in6, sizeof in6);
	return address_is_public((const struct sockaddr *)&address);
}

static bool v4_is_public(const uint8_t bytes[4]) {
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_storage address = {0};
	memcpy(&in.sin_addr, bytes, 4);
	memcpy(&address, &in, sizeof in);
	return address_is_public((const struct sockaddr *)&address);
}

// However an IPv4 address is wrapped, the wrapping is as public as itself.
static void is_judged_by_what_it_carries(const uint8_t v4[4]) {
	uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff}, nat64[16] = {[1] = 0x64, [2] = 0xff, [3] = 0x9b},
		six_to_four[16] = {0x20, 0x02};
	memcpy(mapped + 12, v4, 4);
	memcpy(nat64 + 12, v4, 4);
	memcpy(six_to_four + 2, v4, 4);
	bool is_public = v4_is_public(v4);
	HOLDS(v6_is_public(mapped) == is_public && v6_is_public(nat64) == is_public && v6_is_public(six_to_four) == is_public);
	bool multicast_or_private = v4[0] >= 224 || v4[0] == 10 || v4[0] == 127 || v4[0] == 0;
	HOLDS(!is_public || !multicast_or_private);
}

static void its_text_is_itself(const uint8_t bytes[16]) {
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_storage address;
	struct sockaddr_in6 in6;
	HOLDS(inet_ntop(AF_INET6, bytes, text, sizeof text) && address_literal(text, &address));
	memcpy(&in6, &address, sizeof in6);
	HOLDS(address.ss_family == AF_INET6 && memcmp(&in6.sin6_addr, bytes, 16) == 0);
}

static void same_as_the_c_library(const char *host) {
	struct sockaddr_storage address;
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	bool literal = address_literal(host, &address);
	if (*host == '\0' || strpbrk(host, " \t\n\v\f\r") || getaddrinfo(host, NULL, &hints, &found) != 0) return;
	HOLDS(literal && address.ss_family == found->ai_family);
	if (found->ai_family == AF_INET) {
		struct sockaddr_in ours, theirs;
		memcpy(&ours, &address, sizeof ours);
		memcpy(&theirs, found->ai_addr, sizeof theirs);
		HOLDS(ours.sin_addr.s_addr == theirs.sin_addr.s_addr);
	} else {
		struct sockaddr_in6 ours, theirs;
		memcpy(&ours, &address, sizeof ours);
		memcpy(&theirs, found->ai_addr, sizeof theirs);
		HOLDS(memcmp(&ours.sin6_addr, &theirs.sin6_addr, 16) == 0);
	}
	freeaddrinfo(found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size >= 16) {
		is_judged_by_what_it_carries(data + 12);
		its_text_is_itself(data);
	}
	struct fuzz_input input = {(const char *)data, size};
	size_t length;
	AUTO_FREE char *host = fuzz_rest(&input, &length);
	same_as_the_c_library(host);
	return 0;
}
