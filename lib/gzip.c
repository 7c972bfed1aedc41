#include "lib/gzip.h"

#include "lib/mem.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

// An event loop waits meanwhile: speed goes before size.
#define LEVEL     Z_BEST_SPEED
#define GZIP_BITS (15 + 16) // zlib's way to say: with gzip's header

struct gzip_stream {
	z_stream zlib;
};

static uInt at_most(size_t length) {
	return length < UINT_MAX ? (uInt)length : UINT_MAX;
}

struct gzip_stream *gzip_stream_new(void) {
	struct gzip_stream *stream = mem_zalloc(sizeof *stream);
	if (deflateInit2(&stream->zlib, LEVEL, Z_DEFLATED, GZIP_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) mem_die("zlib");
	return stream;
}

void gzip_stream_free(struct gzip_stream *stream) {
	if (!stream) return;
	deflateEnd(&stream->zlib);
	free(stream);
}

size_t gzip_stream_run(
	struct gzip_stream *stream, const char **data, size_t *length, bool last, char *to, size_t size, bool *over) {
	z_stream *zlib = &stream->zlib;
	uInt given = at_most(*length), room = at_most(size);
	zlib->next_in = (Bytef *)(uintptr_t)*data;
	zlib->avail_in = given;
	zlib->next_out = (Bytef *)to;
	zlib->avail_out = room;
	int status = deflate(zlib, last && given == *length ? Z_FINISH : Z_NO_FLUSH);
	*data += given - zlib->avail_in;
	*length -= given - zlib->avail_in;
	*over = status == Z_STREAM_END;
	return room - zlib->avail_out;
}

char *gzip_pack(const void *data, size_t length, size_t *packed_length) {
	struct gzip_stream *stream = gzip_stream_new();
	size_t size = deflateBound(&stream->zlib, length), done = 0;
	char *packed = mem_zalloc(size);
	const char *from = data;
	for (bool over = false; !over;) {
		if (done == size) packed = mem_resize(packed, size *= 2, 1);
		done += gzip_stream_run(stream, &from, &length, true, packed + done, size - done, &over);
	}
	gzip_stream_free(stream);
	*packed_length = done;
	return packed;
}

char *gzip_unpack(const void *packed, size_t packed_length, size_t length) {
	AUTO_FREE char *data = mem_zalloc(length + 1);
	z_stream zlib = {.next_in = (Bytef *)(uintptr_t)packed,
		.avail_in = at_most(packed_length),
		.next_out = (Bytef *)data,
		.avail_out = at_most(length + 1)};
	if (inflateInit2(&zlib, GZIP_BITS) != Z_OK) mem_die("zlib");
	bool fine = inflate(&zlib, Z_FINISH) == Z_STREAM_END && zlib.total_out == length;
	inflateEnd(&zlib);
	if (!fine) return NULL;
	data[length] = '\0';
	return STEAL(data);
}
