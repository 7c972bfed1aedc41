#include "worker/egress.h"

#include "lib/giturl.h"
#include "lib/mem.h"
#include "worker/init/spec.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <string.h>

#define LABEL "label:"

// ---- who

// The next part of *text up to the separator; NULL: there is none.
static char *next_part(char **text, char separator) {
	char *part = *text;
	if (!part) return NULL;
	char *end = strchr(part, separator);
	if (end) *end = 0;
	*text = end ? end + 1 : NULL;
	return part;
}

static int check_term(const char *term, struct error *error) {
	const char *label = strncmp(term, LABEL, strlen(LABEL)) == 0 ? term + strlen(LABEL) : NULL;
	const char *equals = label ? strchr(label, '=') : NULL;
	if (*term && (!label || (equals && equals > label && equals[1]))) return 0;
	return error_set(error, ERROR_INPUT,
		"JOB_EGRESS_FOR: \"%s\" is no user, label:NAME=VALUE or *; several that must all hold are joined by +", term);
}

int egress_for_check(const char *who, struct error *error) {
	AUTO_FREE char *copy = mem_strdup(who);
	char *rest = copy;
	for (char *entry; (entry = next_part(&rest, ','));)
		for (char *term; (term = next_part(&entry, '+'));)
			if (check_term(term, error) != 0) return -1;
	return 0;
}

static bool holds(const char *term, const char *usuario, const char *owner, const json_t *labels) {
	if (strncmp(term, LABEL, strlen(LABEL)) != 0)
		return strcmp(term, "*") == 0 || (usuario && strcmp(term, usuario) == 0) || (owner && strcmp(term, owner) == 0);
	const char *name = term + strlen(LABEL), *equals = strchr(name, '=');
	if (!equals) return false;
	AUTO_FREE char *key = mem_strndup(name, (size_t)(equals - name));
	const char *value = json_text(labels, key);
	return value && strcmp(value, equals + 1) == 0;
}

bool egress_allows(const char *who, const char *usuario, const char *owner, const json_t *labels) {
	AUTO_FREE char *copy = mem_strdup(who);
	char *rest = copy;
	for (char *entry; (entry = next_part(&rest, ','));) {
		bool all = *entry != 0;
		for (char *term; (term = next_part(&entry, '+'));) all = all && holds(term, usuario, owner, labels);
		if (all) return true;
	}
	return false;
}

// ---- the rules

static bool is_prefix(const char *entry) {
	AUTO_FREE char *address = mem_strdup(entry);
	char *bits = strchr(address, '/'), *end = NULL;
	struct in_addr parsed;
	if (bits) *bits++ = 0;
	long count = bits ? strtol(bits, &end, 10) : 32;
	return inet_pton(AF_INET, address, &parsed) == 1 && count > 0 && count <= 32 && (!bits || (end != bits && !*end));
}

int egress_deny_check(const char *deny, struct error *error) {
	AUTO_FREE char *copy = mem_strdup(deny);
	char *rest = *copy ? copy : NULL;
	for (char *entry; (entry = next_part(&rest, ','));)
		if (!is_prefix(entry))
			return error_set(error, ERROR_INPUT,
				"JOB_EGRESS_DENY: \"%s\" is no IPv4 address or prefix such as 198.51.100.0/24", entry);
	return 0;
}

static void write_special(FILE *out) {
	struct in_addr base;
	unsigned bits;
	char text[INET_ADDRSTRLEN];
	for (size_t i = 0; address_special_v4(i, &base, &bits); i++)
		fprintf(out, "\t\tip daddr %s/%u jump refuse\n", inet_ntop(AF_INET, &base, text, sizeof(text)), bits);
}

static int write_own(FILE *out, struct error *error) {
	struct ifaddrs *list;
	if (getifaddrs(&list) != 0) return error_set_errno(error, ERROR_UNAVAILABLE, errno, "egress: this machine's addresses");
	for (const struct ifaddrs *each = list; each; each = each->ifa_next) {
		char text[INET_ADDRSTRLEN];
		if (!each->ifa_addr || each->ifa_addr->sa_family != AF_INET || !address_is_public(each->ifa_addr)) continue;
		const struct sockaddr_in *own = (const void *)each->ifa_addr;
		fprintf(out, "\t\tip daddr %s jump refuse\n", inet_ntop(AF_INET, &own->sin_addr, text, sizeof(text)));
	}
	freeifaddrs(list);
	return 0;
}

static int write_rules(FILE *out, const char *deny, struct error *error) {
	AUTO_FREE char *copy = mem_strdup(deny);
	char *rest = *copy ? copy : NULL;
	fputs("table inet trabajos {\n"
	      "\tchain refuse {\n\t\treject with icmpx type admin-prohibited\n\t}\n"
	      "\tchain out {\n\t\ttype filter hook output priority 0; policy drop;\n"
	      "\t\toifname \"lo\" accept\n"
	      "\t\tip daddr " SPEC_NAMESERVER " udp dport 53 accept\n"
	      "\t\tip daddr " SPEC_NAMESERVER " tcp dport 53 accept\n",
		out);
	write_special(out);
	if (write_own(out, error) != 0) return -1;
	for (char *entry; (entry = next_part(&rest, ','));) fprintf(out, "\t\tip daddr %s jump refuse\n", entry);
	fputs("\t\tmeta nfproto ipv4 meta l4proto { tcp, udp } accept\n\t\tjump refuse\n\t}\n}\n", out);
	return 0;
}

int egress_rules(const char *deny, char **text, struct error *error) {
	size_t size;
	*text = NULL;
	FILE *out = open_memstream(text, &size);
	if (!out) mem_die("out of memory");
	int result = write_rules(out, deny, error);
	if (fclose(out) != 0) mem_die("out of memory");
	if (result != 0) free(STEAL(*text));
	return result;
}
