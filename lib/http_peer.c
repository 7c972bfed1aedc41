// Who is at the other end: addresses, trusted proxies, connections by address.
#include "lib/http_internal.h"
#include "lib/mem.h"

#include <arpa/inet.h>
#include <search.h>
#include <string.h>

struct http_proxies {
	size_t count;
	struct prefix {
		struct in6_addr base;
		unsigned bits;
	} prefixes[];
};

struct http_counts {
	void *tree; // of struct count
};

struct count {
	uint8_t prefix[16];
	unsigned value;
};

static void from_v4(struct in_addr v4, struct in6_addr *address) {
	*address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
	memcpy(address->s6_addr + 12, &v4, sizeof(v4));
}

static bool parse_address(const char *text, struct in6_addr *address) {
	struct in_addr v4;
	if (inet_pton(AF_INET, text, &v4) == 1) {
		from_v4(v4, address);
		return true;
	}
	return inet_pton(AF_INET6, text, address) == 1;
}

static bool in_prefix(const struct prefix *prefix, const struct in6_addr *address) {
	unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;
	if (memcmp(prefix->base.s6_addr, address->s6_addr, whole) != 0) return false;
	return rest == 0 || (prefix->base.s6_addr[whole] ^ address->s6_addr[whole]) >> (8 - rest) == 0;
}

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
	return parse_address(entry, address);
}

static int parse_prefix(char *text, struct prefix *prefix, struct error *error) {
	char *slash = strchr(text, '/'), *end = NULL;
	if (slash) *slash = '\0';
	bool v4 = !strchr(text, ':');
	if (!parse_address(text, &prefix->base))
		return error_set(error, ERROR_INPUT, "\"%s\" is no IP address or prefix", text);
	unsigned long most = v4 ? 32 : 128, bits = most;
	if (slash) {
		bits = strtoul(slash + 1, &end, 10);
		if (slash[1] < '0' || slash[1] > '9' || *end || bits > most)
			return error_set(
				error, ERROR_INPUT, "\"%s/%s\": no prefix length from 0 to %lu", text, slash + 1, most);
	}
	prefix->bits = (unsigned)(v4 ? 96 + bits : bits);
	return 0;
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
		from_v4(v4.sin_addr, address);
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

int http_proxies_parse(const char *text, struct http_proxies **proxies, struct error *error) {
	AUTO_FREE char *copy = mem_strdup(text ? text : "");
	size_t most = 1;
	for (const char *c = copy; *c; c++) most += *c == ',';
	AUTO_FREE struct http_proxies *list = mem_zalloc(sizeof(*list) + most * sizeof(list->prefixes[0]));
	for (char *entry = copy, *next; entry; entry = next) {
		next = strchr(entry, ',');
		if (next) *next++ = '\0';
		entry += strspn(entry, " \t");
		entry[strcspn(entry, " \t")] = '\0';
		if (!*entry) continue;
		if (parse_prefix(entry, &list->prefixes[list->count++], error) != 0)
			return error_wrap(error, "trusted proxies");
	}
	*proxies = STEAL(list);
	return 0;
}

void http_proxies_free(struct http_proxies *proxies) {
	free(proxies);
}

bool http_proxies_trust(const struct http_proxies *proxies, const struct in6_addr *address) {
	for (size_t i = 0; i < proxies->count; i++)
		if (in_prefix(&proxies->prefixes[i], address)) return true;
	return false;
}

void http_proxies_client(const struct http_proxies *proxies, char *forwarded, struct in6_addr *address) {
	for (;;) {
		char *comma = strrchr(forwarded, ',');
		struct in6_addr entry;
		// What is no address was written by somebody whom nobody vouches for: the last one known to be true counts.
		if (!parse_entry(comma ? comma + 1 : forwarded, &entry)) return;
		*address = entry;
		if (!comma || !http_proxies_trust(proxies, &entry)) return;
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
