// First line: GIT_ALLOW. The rest: a URL.
#include "lib/giturl.h"
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"

#include <curl/curl.h>
#include <string.h>

static void same_part(CURLU *curl, CURLUPart part, const char *expected) {
	char *text = NULL;
	HOLDS(curl_url_get(curl, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK);
	HOLDS(strcmp(text, expected) == 0);
	curl_free(text);
}

static void no_part(CURLU *curl, CURLUPart part) {
	char *text = NULL;
	HOLDS(curl_url_get(curl, part, &text, 0) != CURLUE_OK);
}

// Another reader of the normalised text finds what ours has judged.
static void read_by_curl(const struct giturl *url) {
	CURLU *curl = curl_url();
	AUTO_FREE char *host = mem_format(strchr(url->host, ':') ? "[%s]" : "%s", url->host);
	AUTO_FREE char *port = mem_format("%u", (unsigned)url->port);
	HOLDS(curl_url_set(curl, CURLUPART_URL, url->text, CURLU_PATH_AS_IS) == CURLUE_OK);
	same_part(curl, CURLUPART_SCHEME, url->scheme);
	same_part(curl, CURLUPART_HOST, host);
	same_part(curl, CURLUPART_PORT, port);
	same_part(curl, CURLUPART_PATH, url->path);
	no_part(curl, CURLUPART_USER);
	no_part(curl, CURLUPART_PASSWORD);
	no_part(curl, CURLUPART_QUERY);
	no_part(curl, CURLUPART_FRAGMENT);
	no_part(curl, CURLUPART_ZONEID);
	curl_url_cleanup(curl);
}

static void keeps_its_promises(const struct giturl *url, bool any_rules) {
	struct sockaddr_storage address;
	bool literal = address_literal(url->host, &address);
	HOLDS(strlen(url->text) <= 2000);
	HOLDS(fuzz_is_printable(url->text));
	HOLDS(strncmp(url->text, url->allowed ? "http" : "https://", url->allowed ? 4 : 8) == 0);
	HOLDS(any_rules || !url->allowed);
	HOLDS(url->allowed || !literal || address_is_public((const struct sockaddr *)&address));
	HOLDS(url->allowed || literal || strchr(url->host, '.'));
	HOLDS(url->path[0] == '/' && !strstr(url->path, "/../") && !strstr(url->path, "/./") && !strstr(url->path, "/..;"));
	HOLDS(url->port != 0);
}

static void is_taken_again(const struct giturl *url, const struct giturl_rules *rules) {
	struct giturl again;
	HOLDS(giturl_check(url->text, rules, &again, NULL) == 0);
	HOLDS(strcmp(again.text, url->text) == 0 && strcmp(again.host, url->host) == 0 && strcmp(again.path, url->path) == 0);
	HOLDS(again.port == url->port && again.allowed == url->allowed);
	giturl_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	AUTO_FREE char *list = fuzz_line(&input);
	size_t length;
	AUTO_FREE char *text = fuzz_rest(&input, &length);
	struct giturl_rules *rules = NULL;
	struct giturl url;
	AUTO_ERROR struct error error = {0};
	if (giturl_rules_parse(list, &rules, &error) < 0) {
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
		rules = NULL;
	}
	if (giturl_check(text, rules, &url, &error) == 0) {
		keeps_its_promises(&url, rules != NULL);
		is_taken_again(&url, rules);
		if (!url.allowed) is_taken_again(&url, NULL);
		read_by_curl(&url);
	} else {
		HOLDS(!url.text && !url.host);
		fuzz_refused(&error, ERROR_INPUT, ERROR_DENIED);
	}
	giturl_clear(&url);
	giturl_rules_free(rules);
	return 0;
}
