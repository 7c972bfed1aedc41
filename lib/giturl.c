// A strict reader of RFC 3986 for the two schemes we fetch by. What two readers could understand in two ways is refused, so that
// the URL that was judged is the URL that is used: the normalised text holds nothing that needs interpretation.
#include "lib/giturl.h"

#include "lib/attr.h"
#include "lib/mem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#define URL_MAX   2000 // bytes, as TRABAJO_URL_MAX
#define HOST_MAX  253  // RFC 1035, 2.3.4, as text
#define LABEL_MAX 63

enum host_kind { HOST_NAME, HOST_LOCAL_NAME, HOST_LITERAL };

struct parts {
	char *scheme, *host, *path; // owned
	uint16_t port;
	bool port_given;
	enum host_kind kind;
	struct sockaddr_storage literal;
};

struct giturl_rules {
	size_t count;
	struct parts *rules;
};

static void parts_clear(struct parts *parts) {
	free(parts->scheme);
	free(parts->host);
	free(parts->path);
	*parts = (struct parts){0};
}

static char *lower_copy(const char *text, size_t length) {
	char *copy = mem_strndup(text, length);
	for (char *at = copy; *at; at++) *at = (char)tolower((unsigned char)*at);
	return copy;
}

// As error_set, whose -1 the analyser cannot see.
#define REFUSE(...) (error_set(error, __VA_ARGS__), -1)

// ---- characters

static int check_characters(const char *text, struct error *error) {
	size_t length = strlen(text);
	if (length == 0) return REFUSE(ERROR_INPUT, "the URL is empty");
	if (length > URL_MAX) return REFUSE(ERROR_INPUT, "the URL is longer than %d bytes", URL_MAX);
	for (const char *at = text; *at; at++) {
		unsigned char c = (unsigned char)*at;
		if (c >= 0x80)
			return REFUSE(ERROR_INPUT,
				"the URL has characters outside ASCII: write the host in punycode and percent-encode the path");
		if (c <= ' ' || c == 0x7f) return REFUSE(ERROR_INPUT, "the URL has white space or control characters");
		if (strchr("\\\"<>^`{|}", c))
			return REFUSE(ERROR_INPUT, "the URL has the character %c, which a URL cannot have", c);
	}
	return 0;
}

// ---- scheme

static int refuse_scheme(const char *scheme, struct error *error) {
	error_set(error, ERROR_DENIED, "the scheme %.20s is not allowed: use https://", scheme);
	return -1;
}

// Moves *text behind "://".
static int parse_scheme(const char **text, struct parts *parts, struct error *error) {
	const char *start = *text;
	size_t length = strspn(start, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
	const char *rest = start + length;
	bool proper = length > 0 && isalpha((unsigned char)start[0]);
	if (proper && strncmp(rest, "::", 2) == 0)
		return REFUSE(ERROR_DENIED, "remote helpers (%.*s::) are not allowed: use https://",
			(int)(length > 20 ? 20 : length), start);
	if (proper && strncmp(rest, "://", 3) == 0) {
		parts->scheme = lower_copy(start, length);
		*text = rest + 3;
		bool known = strcmp(parts->scheme, "https") == 0 || strcmp(parts->scheme, "http") == 0;
		return known ? 0 : refuse_scheme(parts->scheme, error);
	}
	if (proper && *rest == ':' && strcspn(start, "/") > length) {
		AUTO_FREE char *scheme = lower_copy(start, length);
		if (strcmp(scheme, "file") == 0 || strcmp(scheme, "ssh") == 0 || strcmp(scheme, "git") == 0)
			return refuse_scheme(scheme, error);
	}
	size_t colon = strcspn(start, ":");
	if (start[colon] == ':' && colon < strcspn(start, "/"))
		return REFUSE(ERROR_INPUT, "this is no URL (host:path is ssh, which is not allowed): use https://host/path");
	return REFUSE(ERROR_INPUT, "this is no URL: it must start with https://");
}

// ---- host

static bool has_suffix(const char *host, const char *suffix) {
	size_t length = strlen(host), tail = strlen(suffix);
	return length >= tail && strcmp(host + length - tail, suffix) == 0;
}

// Names that never lead out of a network: RFC 6761, 6.3 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), ICANN's internal.
static bool is_local_name(const char *host) {
	static const char *const suffixes[] = {".localhost", ".localdomain", ".local", ".internal", ".home.arpa"};
	if (strchr(host, '.') == NULL) return true; // resolved by search lists and hosts files only
	for (size_t i = 0; i < COUNT_OF(suffixes); i++)
		if (has_suffix(host, suffixes[i])) return true;
	return strcmp(host, "home.arpa") == 0;
}

static int check_labels(const char *host, struct error *error) {
	if (strlen(host) > HOST_MAX) return REFUSE(ERROR_INPUT, "the host name is longer than %d bytes", HOST_MAX);
	const char *label = host;
	for (;;) {
		size_t length = strcspn(label, ".");
		if (length == 0) return REFUSE(ERROR_INPUT, "the host name has an empty part");
		if (length > LABEL_MAX) return REFUSE(ERROR_INPUT, "the host name has a part longer than %d bytes", LABEL_MAX);
		if (label[0] == '-' || label[length - 1] == '-')
			return REFUSE(ERROR_INPUT, "the host name has a part that starts or ends with -");
		if (label[length] == '\0') break;
		label += length + 1;
	}
	// What ends in a number is an address to some readers and a name to others (WHATWG URL, 3.5).
	if (isdigit((unsigned char)label[0]) && strspn(label, "0123456789") == strlen(label))
		return REFUSE(ERROR_INPUT, "the host is neither a name nor an address");
	if (label[0] == '0' && label[1] == 'x' && strspn(label + 2, "0123456789abcdef") == strlen(label + 2))
		return REFUSE(ERROR_INPUT, "the host is neither a name nor an address");
	return 0;
}

static int parse_name(const char *text, size_t length, struct parts *parts, struct error *error) {
	parts->host = lower_copy(text, length);
	if (strchr(parts->host, '%')) return REFUSE(ERROR_INPUT, "a percent-encoded host is refused");
	if (strspn(parts->host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != length)
		return REFUSE(ERROR_INPUT, "the host has characters that a host name cannot have");
	if (length > 1 && parts->host[length - 1] == '.') parts->host[length - 1] = '\0';
	if (address_literal(parts->host, &parts->literal)) {
		struct sockaddr_in in;
		memcpy(&in, &parts->literal, sizeof in);
		char dotted[INET_ADDRSTRLEN];
		inet_ntop(AF_INET, &in.sin_addr, dotted, sizeof dotted);
		free(parts->host);
		parts->host = mem_strdup(dotted);
		parts->kind = HOST_LITERAL;
		return 0;
	}
	parts->kind = is_local_name(parts->host) ? HOST_LOCAL_NAME : HOST_NAME;
	return check_labels(parts->host, error);
}

static int parse_v6(const char *text, size_t length, struct parts *parts, struct error *error) {
	AUTO_FREE char *inside = mem_strndup(text, length);
	struct sockaddr_in6 in6;
	if (strchr(inside, '%')) return REFUSE(ERROR_INPUT, "an address with a zone is refused");
	if (strchr(inside, ':') == NULL || !address_literal(inside, &parts->literal))
		return REFUSE(ERROR_INPUT, "what stands between [ and ] is no IPv6 address");
	memcpy(&in6, &parts->literal, sizeof in6);
	char normal[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET6, &in6.sin6_addr, normal, sizeof normal);
	parts->host = mem_strdup(normal);
	parts->kind = HOST_LITERAL;
	return 0;
}

static int parse_port(const char *text, size_t length, struct parts *parts, struct error *error) {
	unsigned port = 0;
	if (length == 0) return 0; // "host:/" is the default port (RFC 3986, 3.2.3)
	if (length > 5) return REFUSE(ERROR_INPUT, "the port is no number from 1 to 65535");
	for (size_t i = 0; i < length; i++) {
		if (!isdigit((unsigned char)text[i])) return REFUSE(ERROR_INPUT, "the port is no number from 1 to 65535");
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	if (port == 0 || port > 65535) return REFUSE(ERROR_INPUT, "the port is no number from 1 to 65535");
	parts->port = (uint16_t)port;
	parts->port_given = true;
	return 0;
}

static uint16_t default_port(const char *scheme) {
	return strcmp(scheme, "https") == 0 ? 443 : 80;
}

// Moves *text to the path.
static int parse_authority(const char **text, struct parts *parts, struct error *error) {
	const char *start = *text;
	size_t length = strcspn(start, "/?#");
	*text = start + length;
	if (memchr(start, '@', length))
		return REFUSE(ERROR_INPUT, "credentials in a URL are refused: they would be stored and shown with the job");
	size_t host = length;
	int done;
	if (start[0] == '[') {
		const char *end = memchr(start, ']', length);
		if (!end) return REFUSE(ERROR_INPUT, "the host's [ has no ]");
		host = (size_t)(end - start) + 1;
		if (host < length && start[host] != ':')
			return REFUSE(ERROR_INPUT, "after the host's ] comes a port or the path");
		done = parse_v6(start + 1, host - 2, parts, error);
	} else {
		const char *colon = memchr(start, ':', length);
		if (colon) host = (size_t)(colon - start);
		if (host == 0) return REFUSE(ERROR_INPUT, "the URL has no host");
		done = parse_name(start, host, parts, error);
	}
	if (done < 0) return -1;
	parts->port = default_port(parts->scheme);
	return host < length ? parse_port(start + host + 1, length - host - 1, parts, error) : 0;
}

// ---- path

static int hex_value(char c) {
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
	return at ? (int)(at - digits) : -1;
}

static bool is_unreserved(int c) {
	return isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

// RFC 3986, 6.2.2.2: encoded unreserved characters are decoded, the rest is written in upper case. What a server would decode
// into a separator or a control character is refused: it could step out of the prefix that a rule allows.
static char *normal_escapes(const char *path, struct error *error) {
	size_t length = strlen(path), out = 0;
	char *text = mem_zalloc(length + 1);
	for (const char *at = path; *at; at++) {
		if (*at != '%') {
			text[out++] = *at;
			continue;
		}
		int high = hex_value(at[1]), low = high < 0 ? -1 : hex_value(at[2]);
		if (low < 0) {
			error_set(error, ERROR_INPUT, "a %% in the URL's path is not followed by two hexadecimal digits");
			free(text);
			return NULL;
		}
		int c = high * 16 + low;
		if (c < ' ' || c == 0x7f || c == '/' || c == '\\') {
			error_set(error, ERROR_INPUT, "the URL's path has a percent-encoded separator or control character");
			free(text);
			return NULL;
		}
		if (is_unreserved(c) && c < 0x80) {
			text[out++] = (char)c;
		} else {
			text[out++] = '%';
			text[out++] = (char)toupper((unsigned char)at[1]);
			text[out++] = (char)toupper((unsigned char)at[2]);
		}
		at += 2;
	}
	return text;
}

// RFC 3986, 5.2.4, in place; the path starts with "/".
static void remove_dot_segments(char *path) {
	char *out = path;
	for (const char *at = path; *at;) {
		size_t length = strcspn(at + 1, "/");
		const char *segment = at + 1;
		bool last = segment[length] == '\0';
		at = segment + length;
		bool up = length == 2 && memcmp(segment, "..", 2) == 0;
		if (up)
			while (out > path && *--out != '/') continue;
		if (up || (length == 1 && *segment == '.')) {
			if (last) *out++ = '/';
			continue;
		}
		memmove(out, segment - 1, length + 1);
		out += length + 1;
	}
	*out = '\0';
}

// "..;x" is ".." to servers that cut parameters off a segment (RFC 3986, 3.3) before they look at it: as with an encoded "/", it
// could step out of a prefix.
static bool has_veiled_dots(const char *path) {
	for (const char *at = strchr(path, '/'); at; at = strchr(at + 1, '/')) {
		size_t dots = strspn(at + 1, ".");
		if ((dots == 1 || dots == 2) && strchr(";%", at[1 + dots]) && at[1 + dots]) return true;
	}
	return false;
}

static int parse_path(const char *text, struct parts *parts, struct error *error) {
	if (strpbrk(text, "?#")) return REFUSE(ERROR_INPUT, "a query or fragment in a repository's URL is refused");
	parts->path = normal_escapes(*text ? text : "/", error);
	if (!parts->path) return -1;
	if (strspn(parts->path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@%/") !=
		strlen(parts->path))
		return REFUSE(ERROR_INPUT, "the URL's path has a character that must be percent-encoded");
	if (has_veiled_dots(parts->path))
		return REFUSE(ERROR_INPUT, "the URL's path has a segment that some servers take for ..");
	remove_dot_segments(parts->path);
	return 0;
}

static int parse(const char *text, struct parts *parts, struct error *error) {
	if (check_characters(text, error) < 0) return -1;
	if (parse_scheme(&text, parts, error) < 0) return -1;
	if (parse_authority(&text, parts, error) < 0) return -1;
	return parse_path(text, parts, error);
}

// ---- rules

// The rule's path ends with a "/"; a URL that names the folder itself, without it, is inside too.
static bool is_inside(const char *path, const char *folder) {
	size_t length = strlen(folder);
	if (strncmp(path, folder, length) == 0) return true;
	return strlen(path) == length - 1 && strncmp(path, folder, length - 1) == 0;
}

static bool is_allowed(const struct giturl_rules *rules, const struct parts *url) {
	for (size_t i = 0; rules && i < rules->count; i++) {
		const struct parts *rule = &rules->rules[i];
		if (strcmp(rule->scheme, url->scheme) == 0 && strcmp(rule->host, url->host) == 0 && rule->port == url->port &&
			is_inside(url->path, rule->path))
			return true;
	}
	return false;
}

static int add_rule(struct giturl_rules *rules, const char *text, struct error *error) {
	rules->rules = mem_resize(rules->rules, rules->count + 1, sizeof *rules->rules);
	struct parts *rule = &rules->rules[rules->count++];
	*rule = (struct parts){0};
	if (parse(text, rule, error) < 0) {
		if (error) error->kind = ERROR_INPUT;
		return error_wrap(error, "rule %zu", rules->count);
	}
	size_t length = strlen(rule->path);
	if (rule->path[length - 1] != '/') {
		char *folder = mem_format("%s/", rule->path);
		free(rule->path);
		rule->path = folder;
	}
	return 0;
}

int giturl_rules_parse(const char *text, struct giturl_rules **rules, struct error *error) {
	struct giturl_rules *parsed = mem_zalloc(sizeof *parsed);
	for (const char *at = text ? text : ""; *at;) {
		at += strspn(at, ", \t");
		size_t length = strcspn(at, ",");
		const char *next = at + length;
		while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t')) length--;
		AUTO_FREE char *rule = mem_strndup(at, length);
		if (length > 0 && add_rule(parsed, rule, error) < 0) {
			giturl_rules_free(parsed);
			return -1;
		}
		at = next;
	}
	*rules = parsed;
	return 0;
}

void giturl_rules_free(struct giturl_rules *rules) {
	if (!rules) return;
	for (size_t i = 0; i < rules->count; i++) parts_clear(&rules->rules[i]);
	free(rules->rules);
	free(rules);
}

// ---- the decision

// http of a host that no rule names: asked for by https instead, where it says nothing else by its port.
static int upgrade(struct parts *parts, struct error *error) {
	if (parts->port != 80)
		return REFUSE(ERROR_DENIED, "http:// is not allowed, and with the port %u it cannot be upgraded: use https://",
			parts->port);
	free(parts->scheme);
	parts->scheme = mem_strdup("https");
	parts->port = 443;
	return 0;
}

static int refuse_non_public(const struct parts *parts, struct error *error) {
	if (parts->kind == HOST_LITERAL && !address_is_public((const struct sockaddr *)&parts->literal))
		return REFUSE(ERROR_DENIED, "the address is not public: only what GIT_ALLOW lists may be fetched from there");
	if (parts->kind == HOST_LOCAL_NAME)
		return REFUSE(
			ERROR_DENIED, "the host name is a local one: only what GIT_ALLOW lists may be fetched from there");
	return 0;
}

static int decide(struct parts *parts, const struct giturl_rules *rules, bool *allowed, struct error *error) {
	*allowed = is_allowed(rules, parts);
	if (!*allowed && strcmp(parts->scheme, "http") == 0) {
		if (refuse_non_public(parts, error) < 0 || upgrade(parts, error) < 0) return -1;
		*allowed = is_allowed(rules, parts);
	}
	return *allowed ? 0 : refuse_non_public(parts, error);
}

static char *compose(const struct parts *parts) {
	bool v6 = strchr(parts->host, ':') != NULL;
	AUTO_FREE char *port =
		parts->port == default_port(parts->scheme) ? mem_strdup("") : mem_format(":%u", (unsigned)parts->port);
	return mem_format("%s://%s%s%s%s%s", parts->scheme, v6 ? "[" : "", parts->host, v6 ? "]" : "", port, parts->path);
}

void giturl_clear(struct giturl *url) {
	free(url->text);
	free(url->scheme);
	free(url->host);
	free(url->path);
	*url = (struct giturl){0};
}

int giturl_check(const char *text, const struct giturl_rules *rules, struct giturl *url, struct error *error) {
	struct parts parts = {0};
	bool allowed;
	*url = (struct giturl){0};
	if (parse(text, &parts, error) < 0 || decide(&parts, rules, &allowed, error) < 0) {
		parts_clear(&parts);
		return -1;
	}
	AUTO_FREE char *normal = compose(&parts);
	if (strlen(normal) > URL_MAX) { // by the "s" of https, or "1" that became 0.0.0.1
		parts_clear(&parts);
		return REFUSE(ERROR_INPUT, "the URL is longer than %d bytes", URL_MAX);
	}
	*url = (struct giturl){
		.text = STEAL(normal),
		.scheme = STEAL(parts.scheme),
		.host = STEAL(parts.host),
		.port = parts.port,
		.path = STEAL(parts.path),
		.allowed = allowed,
	};
	return 0;
}
