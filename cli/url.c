#include "cli/url.h"

#include "cli/words.h"
#include "lib/mem.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static size_t scheme_length(const char *url) {
	if (strncasecmp(url, "https://", 8) == 0) return 8;
	return strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
}

// Names and addresses that never leave the machine.
static bool is_here(const char *host, size_t length) {
	const char *colon = *host == '[' ? memchr(host, ']', length) : memchr(host, ':', length);
	size_t name = colon ? (size_t)(colon - host) + (*host == '[') : length;
	if (name < length && host[name] != ':') return false;
	if (name == 5 && memcmp(host, "[::1]", 5) == 0) return true;
	if (name >= 9 && strncasecmp(host + name - 9, "localhost", 9) == 0 && (name == 9 || host[name - 10] == '.'))
		return true;
	if (name < 9 || strncmp(host, "127.", 4) != 0) return false;
	return strspn(host, "0123456789.") >= name; // no name that only begins so
}

int url_check(const char *url, bool allow_http, struct error *error) {
	size_t scheme = scheme_length(url);
	for (const char *at = url; *at; at++)
		if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7f) scheme = 0;
	size_t host = scheme ? strcspn(url + scheme, "/?#") : 0;
	if (!host || memchr(url + scheme, '@', host) || memchr(url + scheme, '\\', host))
		return error_set(error, ERROR_USAGE, _("\"%s\" is no URL like https://trabajos.example.org"), url);
	if (scheme == 7 && !allow_http && !is_here(url + scheme, host))
		return error_set(error, ERROR_USAGE,
			_("%s: tokens are not sent over http to another machine; use https, or --allow-http if nobody can listen"),
			url);
	return 0;
}

// The end of the host, without the scheme's own port and trailing slashes.
static size_t origin_length(const char *url) {
	size_t scheme = scheme_length(url), length = strlen(url);
	while (length > scheme && url[length - 1] == '/') length--;
	const char *port = scheme == 8 ? ":443" : ":80";
	size_t port_length = strlen(port);
	if (length > scheme + port_length && strncmp(url + length - port_length, port, port_length) == 0) length -= port_length;
	return length;
}

char *url_server(const char *url, bool allow_http, struct error *error) {
	if (url_check(url, allow_http, error)) return NULL;
	char *server = mem_strndup(url, origin_length(url));
	for (char *at = server; *at; at++) *at = (char)tolower((unsigned char)*at);
	if (!server[scheme_length(server) + strcspn(server + scheme_length(server), "/?#")]) return server;
	error_set(error, ERROR_USAGE, _("%s: a server's URL ends behind its name and port"), server);
	free(server);
	return NULL;
}

bool url_same_origin(const char *one, const char *other) {
	size_t length = origin_length(one);
	return length == origin_length(other) && strncasecmp(one, other, length) == 0;
}
