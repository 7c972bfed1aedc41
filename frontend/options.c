#include "frontend/options.h"

#include "lib/http.h"
#include "lib/lifecycle.h"
#include "lib/prefix.h"
#include "lib/webhook.h"

#include <string.h>

struct frontend_options frontend_options = {.db.application = "trabajos-frontend"};

const struct option frontend_option_table[] = {
	OPTIONS_KAFKA(frontend_options.kafka),
	OPTIONS_DB(frontend_options.db),
	{.name = "FRONTEND_LISTEN",
		.type = OPTION_LISTEN,
		.value = &frontend_options.listen,
		.fallback = "127.0.0.1:3000",
		.help = "address of the HTTP interface, host:port"},
	{.name = "TRUSTED_PROXIES",
		.type = OPTION_STRING,
		.value = &frontend_options.trusted_proxies,
		.fallback = "",
		.help = "addresses or prefixes, comma-separated, whose X-Forwarded-For counts"},
	{.name = "PUBLIC_URL",
		.type = OPTION_STRING,
		.value = &frontend_options.public_url,
		.fallback = "",
		.help = "URL by which clients reach the HTTP interface; empty = as each request names it"},
	{.name = "CORS_ORIGINS",
		.type = OPTION_STRING,
		.value = &frontend_options.cors_origins,
		.fallback = "",
		.help = "origins, comma-separated, whose pages may use the HTTP interface (https://host:port); * = any"},
	{.name = "FRONTEND_CONNECTIONS",
		.type = OPTION_INT,
		.value = &frontend_options.connections,
		.fallback = "4096",
		.min = 1,
		.max = 1000000,
		.help = "most connections in all"},
	{.name = "FRONTEND_CONNECTIONS_PER_ADDRESS",
		.type = OPTION_INT,
		.value = &frontend_options.connections_per_address,
		.fallback = "1024",
		.min = 0,
		.max = 1000000,
		.help = "most connections of one address, 0 = no limit"},
	{.name = "FOLLOWERS",
		.type = OPTION_INT,
		.value = &frontend_options.followers,
		.fallback = "2048",
		.min = 0,
		.max = 1000000,
		.help = "most clients that follow logs at the same time, 0 = no limit"},
	{.name = "FOLLOWERS_PER_USER",
		.type = OPTION_INT,
		.value = &frontend_options.followers_per_user,
		.fallback = "100",
		.min = 0,
		.max = 1000000,
		.help = "most of them of one user, 0 = no limit"},
	{.name = "RATE_PER_S",
		.type = OPTION_INT,
		.value = &frontend_options.rate_per_s,
		.fallback = "500",
		.min = 0,
		.max = 1000000,
		.help = "submissions of a user per second, 0 = no limit"},
	{.name = "RATE_BURST",
		.type = OPTION_INT,
		.value = &frontend_options.rate_burst,
		.fallback = "2000",
		.min = 0,
		.max = 1000000,
		.help = "submissions of a user at once after a pause, 0 = no limit"},
	{.name = "USER_RUNNING",
		.type = OPTION_INT,
		.value = &frontend_options.user_running,
		.fallback = "0",
		.min = 0,
		.max = 1 << 20,
		.help = "the workers' limit of running jobs of a user, to tell who waits for it; 0 = no limit"},
	OPTION_METRICS(frontend_options.metrics_listen),
	{.name = "KEYCLOAK_ISSUER",
		.type = OPTION_STRING,
		.value = &frontend_options.issuer,
		.fallback = "http://localhost:8082/realms/cloudcomputing",
		.help = "issuer of the tokens, exactly as it stands in them"},
	{.name = "KEYCLOAK_JWKS_URL",
		.type = OPTION_STRING,
		.value = &frontend_options.jwks_url,
		.fallback = "",
		.help = "where the issuer's keys are; empty = by its discovery document"},
	{.name = "KEYCLOAK_AUDIENCE",
		.type = OPTION_STRING,
		.value = &frontend_options.audience,
		.fallback = "nodejs-microservice",
		.help = "audience that a token must have"},
	{.name = "GIT_ALLOW",
		.type = OPTION_STRING,
		.value = &frontend_options.git_allow,
		.fallback = "",
		.help = "URLs, comma-separated, below which repositories may be anything else than public https"},
	OPTION_WEBHOOK(frontend_options.webhook_allow),
	OPTIONS_BLOBS(frontend_options.store),
	OPTIONS_LOG,
};
const size_t frontend_option_count = COUNT_OF(frontend_option_table);

static int url_check(const char *option, const char *url, struct error *error) {
	const char *host = strncmp(url, "https://", 8) == 0 ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
	if (host && *host && *host != '/') return 0;
	return error_set(error, ERROR_INPUT, "%s: not an http or https URL: %s", option, url);
}

// It stands in headers and documents, with paths behind it.
static int public_url_check(const char *url, struct error *error) {
	if (url_check("PUBLIC_URL", url, error)) return -1;
	if (url[strlen(url) - 1] == '/') return error_set(error, ERROR_INPUT, "PUBLIC_URL: must not end with a slash: %s", url);
	for (const char *c = url; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("\"\\<>?#", *c))
			return error_set(error, ERROR_INPUT, "PUBLIC_URL: has a character that no such URL has: %s", url);
	return 0;
}

static int proxies_check(const char *text, struct error *error) {
	struct prefixes *proxies = NULL;
	int status = prefixes_parse(text, &proxies, error);
	prefixes_free(proxies);
	return status;
}

int frontend_options_check(struct error *error) {
	const struct frontend_options *options = &frontend_options;
	if (url_check("KEYCLOAK_ISSUER", options->issuer, error)) return -1;
	if (*options->public_url && public_url_check(options->public_url, error)) return -1;
	if (proxies_check(options->trusted_proxies, error)) return error_wrap(error, "TRUSTED_PROXIES");
	if (http_origins_check(options->cors_origins, error)) return error_wrap(error, "CORS_ORIGINS");
	if (*options->jwks_url && url_check("KEYCLOAK_JWKS_URL", options->jwks_url, error)) return -1;
	return blobs_check(&frontend_options.store, error);
}
