// How a client finds out where tokens come from (RFC 9728): a document without a token, and its address in every 401.
#pragma once

#include "lib/http.h"

#define DISCOVERY_PATH "/.well-known/oauth-protected-resource"

// The URL of this service as the client knows it, PUBLIC_URL before what it named in Host; to be freed, NULL: not known.
char *discovery_resource(const struct http_request *request) MUST_USE;
// Where that document is: of a URL with a path, before the path (RFC 9728 section 3.1). As before.
char *discovery_metadata(const struct http_request *request) MUST_USE;
void discovery_handle(struct http_request *request, void *arg);
