// Files that are part of the program, made by dev/embed-asset.
#pragma once

#include "lib/http.h"

struct asset {
	const char *type, *sha256; // of what it is when unpacked
	const unsigned char *packed;
	size_t packed_length, length;
};

// With ETag and If-None-Match, packed for whoever takes it so.
void asset_answer(struct http_request *request, const struct asset *asset);

extern const struct asset asset_openapi, asset_docs_page, asset_docs_script, asset_docs_viewer;
