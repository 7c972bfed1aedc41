#include "lib/prefix.h"

#include "lib/giturl.h"
#include "lib/mem.h"

#include <arpa/inet.h>
#include <string.h>

struct prefix {
	struct in6_addr base;
	unsigned bits;
};

struct prefixes {
	struct prefix *list;
	size_t count;
};

void prefix_map_v4(struct in_addr v4, struct in6_addr *address) {
	*address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
	memcpy(address->s6_addr + 12, &v4, sizeof(v4));
}

bool prefix_read_address(const char *text, struct in6_addr *address) {
	struct in_addr v4;
	if (inet_pton(AF_INET, text, &v4) == 1) {
		prefix_map_v4(v4, address);
		return true;
	}
	return inet_pton(AF_INET6, text, address) == 1;
}

static bool is_in(const struct prefix *prefix, const struct in6_addr *address) {
	unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;
	if (memcmp(prefix->base.s6_addr, address->s6_addr, whole) != 0) return false;
	return rest == 0 || (prefix->base.s6_addr[whole] ^ address->s6_addr[whole]) >> (8 - rest) == 0;
}

// What stands between the spaces around it; spaces inside stay, and are refused: else all behind the first one would be left out.
static char *trim(char *text) {
	text += strspn(text, " \t");
	size_t length = strlen(text);
	while (length > 0 && strchr(" \t", text[length - 1])) length--;
	text[length] = '\0';
	return text;
}

static int read_prefix(char *text, struct prefix *prefix, struct error *error) {
	char *slash = strchr(text, '/'), *end = NULL;
	if (slash) *slash = '\0';
	bool v4 = !strchr(text, ':');
	if (!prefix_read_address(text, &prefix->base))
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

static void append(struct prefixes *prefixes, const struct prefix *prefix) {
	prefixes->list = mem_resize(prefixes->list, prefixes->count + 1, sizeof(*prefixes->list));
	prefixes->list[prefixes->count++] = *prefix;
}

int prefixes_parse(const char *text, struct prefixes **prefixes, struct error *error) {
	AUTO_FREE char *copy = mem_strdup(text ? text : "");
	struct prefixes *list = mem_zalloc(sizeof(*list));
	for (char *entry = copy, *next; entry; entry = next) {
		struct prefix prefix;
		next = strchr(entry, ',');
		if (next) *next++ = '\0';
		entry = trim(entry);
		if (!*entry) continue;
		if (read_prefix(entry, &prefix, error) != 0) {
			prefixes_free(list);
			return -1;
		}
		append(list, &prefix);
	}
	*prefixes = list;
	return 0;
}

void prefixes_free(struct prefixes *prefixes) {
	if (!prefixes) return;
	free(prefixes->list);
	free(prefixes);
}

static bool map(const struct sockaddr *address, struct in6_addr *mapped) {
	if (address->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof(in));
		prefix_map_v4(in.sin_addr, mapped);
	} else if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, address, sizeof(in6));
		*mapped = in6.sin6_addr;
	}
	return address->sa_family == AF_INET || address->sa_family == AF_INET6;
}

void prefixes_add(struct prefixes *prefixes, const struct sockaddr *address) {
	struct prefix prefix = {.bits = 128};
	if (map(address, &prefix.base)) append(prefixes, &prefix);
}

bool prefixes_hold(const struct prefixes *prefixes, const struct in6_addr *address) {
	for (size_t i = 0; i < prefixes->count; i++)
		if (is_in(&prefixes->list[i], address)) return true;
	return false;
}

bool prefixes_lead_to(const struct prefixes *prefixes, const struct sockaddr *address) {
	struct in6_addr mapped;
	struct in_addr carried[ADDRESS_CARRIED_MAX];
	if (!map(address, &mapped)) return false;
	if (prefixes_hold(prefixes, &mapped)) return true;
	size_t count = address_carried_v4(address, carried);
	for (size_t i = 0; i < count; i++) {
		prefix_map_v4(carried[i], &mapped);
		if (prefixes_hold(prefixes, &mapped)) return true;
	}
	return false;
}
