// The contract (docs/openapi.yaml): as JSON, and as a page that is made by a viewer of our own house (third_party/rapidoc).
#include "frontend/asset.h"
#include "frontend/frontend.h"

// The viewer writes style attributes; scripts and connections are this server's alone.
#define POLICY                                                                                                                 \
	"default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; "         \
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

void openapi_handle(struct http_request *request, void *arg) {
	(void)arg;
	asset_answer(request, &asset_openapi);
}

void docs_handle(struct http_request *request, void *arg) {
	(void)arg;
	http_answer_header(request, "Content-Security-Policy", POLICY);
	http_answer_header(request, "Referrer-Policy", "no-referrer");
	asset_answer(request, &asset_docs_page);
}

void docs_script_handle(struct http_request *request, void *arg) {
	(void)arg;
	asset_answer(request, &asset_docs_script);
}

void docs_viewer_handle(struct http_request *request, void *arg) {
	(void)arg;
	asset_answer(request, &asset_docs_viewer);
}
