// Bodies by gzip, for who takes them so.
#include "lib/gzip.h"
#include "lib/http_internal.h"
#include "lib/mem.h"

#define LEAST_BYTES 1400 // what fits into a packet gains nothing
#define BLOCK_BYTES 16384

struct http_packing {
	struct gzip_stream *gzip;
	const char *at;
	size_t left; // of the block
	bool last, over;
	char block[BLOCK_BYTES];
};

void http_answer_packed(struct http_request *request) {
	request->may_pack = true;
}

static bool wanted(const struct http_request *request) {
	return request->may_pack && http_accepts_coding(request, "gzip");
}

char *http_pack(struct http_request *request, int status, const char *body, size_t length, size_t *packed_length) {
	if (status != 200 || length < LEAST_BYTES || !wanted(request)) return NULL;
	http_answer_header(request, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
	return gzip_pack(body, length, packed_length);
}

void http_pack_stream(struct http_request *request) {
	if (!wanted(request)) return;
	http_answer_header(request, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
	request->packing = mem_zalloc(sizeof *request->packing);
	request->packing->gzip = gzip_stream_new();
}

// Goes on until there is something to send, or nothing to pack now.
ssize_t http_pack_more(struct http_request *request, char *buffer, size_t size) {
	struct http_packing *packing = request->packing;
	while (!packing->over) {
		if (!packing->left && !packing->last) {
			ssize_t got = request->stream_more(packing->block, BLOCK_BYTES, request->stream_arg);
			if (got == 0 || got < -1 || got > BLOCK_BYTES) return got > BLOCK_BYTES ? -2 : got;
			packing->last = got < 0;
			packing->at = packing->block;
			packing->left = got > 0 ? (size_t)got : 0;
		}
		size_t written = gzip_stream_run(
			packing->gzip, &packing->at, &packing->left, packing->last, buffer, size, &packing->over);
		if (written > 0) return (ssize_t)written;
	}
	return -1;
}

void http_packing_free(struct http_packing *packing) {
	if (!packing) return;
	gzip_stream_free(packing->gzip);
	free(packing);
}
