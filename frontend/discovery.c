// GET /.well-known/oauth-protected-resource: who issues the tokens that are taken here (RFC 9728 section 3).
#include "frontend/discovery.h"

#include "frontend/api.h"
#include "frontend/options.h"
#include "lib/mem.h"

char *discovery_resource(const struct http_request *request) {
	return *frontend_options.public_url ? mem_strdup(frontend_options.public_url) : http_origin(request);
}

void discovery_handle(struct http_request *request, void *arg) {
	(void)arg;
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
