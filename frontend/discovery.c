// GET /.well-known/oauth-protected-resource: who issues the tokens that are taken here (RFC 9728 section 3).
#include "frontend/discovery.h"

#include "frontend/api.h"
#include "frontend/options.h"
#include "lib/mem.h"

#include <string.h>

char *discovery_resource(const struct http_request *request) {
	return *frontend_options.public_url ? mem_strdup(frontend_options.public_url) : http_origin(request);
}

static size_t origin_length(const char *url) {
	const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 : url;
	return (size_t)(host - url) + strcspn(host, "/");
}

char *discovery_metadata(const struct http_request *request) {
	AUTO_FREE char *resource = discovery_resource(request);
	if (!resource) return NULL;
	size_t origin = origin_length(resource);
	return mem_format("%.*s" DISCOVERY_PATH "%s", (int)origin, resource, resource + origin);
}

// Of a resource with a path; without it the document is there for a proxy that takes the path away.
static bool is_ours(const struct http_request *request) {
	const char *path = http_path_param(request, "path"), *url = frontend_options.public_url;
	return !path || (*url && url[origin_length(url)] && strcmp(url + origin_length(url) + 1, path) == 0);
}

void discovery_handle(struct http_request *request, void *arg) {
	(void)arg;
	if (!is_ours(request)) {
		answer_problem(request, 404, 0, "This service is no such resource.");
		return;
	}
	AUTO_FREE char *resource = discovery_resource(request);
	if (!resource) {
		answer_problem(request, 400, 0, "The header Host names no host.");
		return;
	}
	AUTO_FREE char *documentation = mem_format("%s/api/v1/docs", resource);
	json_t *document = json_pack("{s:s, s:[s], s:[s], s:s, s:s}", "resource", resource, "authorization_servers",
		frontend_options.issuer, "bearer_methods_supported", "header", "resource_name", "Trabajos",
		"resource_documentation", documentation);
	if (!document) mem_die("discovery: text that is no UTF-8");
	api_answer_json(request, 200, document);
}
