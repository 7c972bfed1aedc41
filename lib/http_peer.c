// Who is at the other end: addresses, trusted proxies, connections by address.
#include "lib/http_internal.h"
#include "lib/mem.h"

#include <arpa/inet.h>
#include <search.h>
#include <string.h>

struct http_counts {
	void *tree; // of struct count
};

struct count {
	uint8_t prefix[16];
	unsigned value;
};

// An entry of X-Forwarded-For: an address, in brackets or not, and for some proxies a port behind it.
static bool parse_entry(char *entry, struct in6_addr *address) {
	entry += strspn(entry, " \t");
	entry[strcspn(entry, " \t")] = '\0';
	if (entry[0] == '[') {
		entry++;
		entry[strcspn(entry, "]")] = '\0';
	} else {
		char *colon = strchr(entry, ':');
		if (colon && !strchr(colon + 1, ':')) *colon = '\0';
	}
	return prefix_read_address(entry, address);
}

static int compare(const void *a, const void *b) {
	return memcmp(
		((const struct count *)a)->prefix, ((const struct count *)b)->prefix, sizeof(((struct count *)0)->prefix));
}

static struct count count_key(const struct in6_addr *address) {
	struct count key = {.value = 0};
	memcpy(key.prefix, address->s6_addr, IN6_IS_ADDR_V4MAPPED(address) ? 16 : 8);
	return key;
}

void http_address_of(const struct sockaddr *peer, struct in6_addr *address) {
	*address = (struct in6_addr){.s6_addr = {0}};
	if (peer && peer->sa_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, peer, sizeof(v4));
		prefix_map_v4(v4.sin_addr, address);
	} else if (peer && peer->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, peer, sizeof(v6));
		*address = v6.sin6_addr;
	}
}

char *http_address_text(const struct in6_addr *address) {
	char text[INET6_ADDRSTRLEN] = "";
	if (IN6_IS_ADDR_V4MAPPED(address))
		inet_ntop(AF_INET, address->s6_addr + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, address, text, sizeof(text));
	return mem_strdup(text);
}

void http_proxies_client(const struct prefixes *proxies, char *forwarded, struct in6_addr *address) {
	for (;;) {
		char *comma = strrchr(forwarded, ',');
		struct in6_addr entry;
		// What is no address was written by somebody whom nobody vouches for: the last one known to be true counts.
		if (!parse_entry(comma ? comma + 1 : forwarded, &entry)) return;
		*address = entry;
		if (!comma || !prefixes_hold(proxies, &entry)) return;
		*comma = '\0';
	}
}

// Stricter than RFC 3986's reg-name: nothing that would have to be escaped wherever it is shown.
bool http_host_valid(const char *host) {
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	bool bracket = host[0] == '[';
	size_t length = bracket ? 1 + strspn(host + 1, "0123456789abcdefABCDEF:.") : strspn(host, letters);
	if (length <= bracket || length > 255) return false;
	if (bracket && host[length++] != ']') return false;
	if (!host[length]) return true;
	size_t digits = host[length] == ':' ? strspn(host + length + 1, "0123456789") : 0;
	return digits >= 1 && digits <= 5 && !host[length + 1 + digits];
}

struct http_counts *http_counts_new(void) {
	return mem_zalloc(sizeof(struct http_counts));
}

void http_counts_free(struct http_counts *counts) {
	if (!counts) return;
	tdestroy(counts->tree, free);
	free(counts);
}

unsigned http_counts_get(const struct http_counts *counts, const struct in6_addr *address) {
	struct count key = count_key(address);
	void *node = tfind(&key, &counts->tree, compare);
	return node ? (*(struct count **)node)->value : 0;
}

void http_counts_change(struct http_counts *counts, const struct in6_addr *address, int by) {
	struct count key = count_key(address);
	struct count **node = tfind(&key, &counts->tree, compare);
	if (!node) {
		if (by < 0) return;
		node = tsearch(mem_dup(&key, sizeof(key)), &counts->tree, compare);
		if (!node) abort();
	}
	struct count *count = *node;
	count->value += (unsigned)by;
	if (count->value > 0) return;
	tdelete(count, &counts->tree, compare);
	free(count);
}
