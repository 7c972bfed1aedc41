#include "frontend/asset.h"

#include "lib/gzip.h"
#include "lib/mem.h"

void asset_answer(struct http_request *request, const struct asset *asset) {
	bool packed = http_accepts_coding(request, "gzip");
	AUTO_FREE char *etag = mem_format("\"%.32s%s\"", asset->sha256, packed ? "-gzip" : "");
	http_answer_header(request, "ETag", etag);
	http_answer_header(request, "Vary", "Accept-Encoding");
	http_answer_header(request, "Cache-Control", "no-cache");
	if (http_none_match(request, etag)) {
		http_answer(request, 304, NULL, NULL, 0);
		return;
	}
	if (packed) {
		http_answer_header(request, "Content-Encoding", "gzip");
		http_answer(request, 200, asset->type, (const char *)asset->packed, asset->packed_length);
		return;
	}
	AUTO_FREE char *body = gzip_unpack(asset->packed, asset->packed_length, asset->length);
	if (!body) mem_die("an asset that is not what it was built from");
	http_answer(request, 200, asset->type, body, asset->length);
}
