// First line: TRUSTED_PROXIES. Second: the peer's address. The rest: X-Forwarded-For.
#include "lib/http_internal.h"
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <string.h>

// Whoever is found is the peer, or stands in the header behind none but trusted ones.
static void client_holds(const struct prefixes *proxies, const char *forwarded, const struct in6_addr *peer) {
	AUTO_FREE char *copy = mem_strdup(forwarded), *plain = mem_format("%s,", forwarded);
	struct in6_addr client = *peer, other = *peer;
	http_proxies_client(proxies, copy, &client);
	AUTO_FREE char *text = http_address_text(&client);
	struct in6_addr v6;
	struct in_addr v4;
	HOLDS(inet_pton(AF_INET6, text, &v6) == 1 || inet_pton(AF_INET, text, &v4) == 1);
	// An empty last entry is no address: the peer itself counts.
	http_proxies_client(proxies, plain, &other);
	HOLDS(memcmp(&other, peer, sizeof other) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	AUTO_FREE char *list = fuzz_line(&input), *from = fuzz_line(&input);
	size_t length;
	AUTO_FREE char *forwarded = fuzz_rest(&input, &length);
	struct prefixes *proxies = NULL;
	struct in6_addr peer = in6addr_loopback;
	AUTO_ERROR struct error error = {0};
	inet_pton(AF_INET6, from, &peer);
	if (prefixes_parse(list, &proxies, &error) < 0) {
		HOLDS(error.kind == ERROR_INPUT && error.message);
		HOLDS(prefixes_parse("127.0.0.0/8, ::1", &proxies, NULL) == 0);
	}
	client_holds(proxies, forwarded, &peer);
	prefixes_free(proxies);
	return 0;
}
