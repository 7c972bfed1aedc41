// gzip (RFC 1952), by zlib. No other file includes it.
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stddef.h>

// To be freed.
char *gzip_pack(const void *data, size_t length, size_t *packed_length) MUST_USE;
// What was packed, of which the length is known; to be freed, with a NUL behind it. NULL: it is no such thing.
char *gzip_unpack(const void *packed, size_t packed_length, size_t length) MUST_USE;

// Packs what comes bit by bit.
struct gzip_stream;
struct gzip_stream *gzip_stream_new(void) MUST_USE;
void gzip_stream_free(struct gzip_stream *stream); // NULL is fine
// Moves *data and *length on by what it took, and returns how many bytes it wrote. last: nothing follows; *over then says that all of
// it is written.
size_t gzip_stream_run(
	struct gzip_stream *stream, const char **data, size_t *length, bool last, char *to, size_t size, bool *over) MUST_USE;
