// A blob as the answer of a request, or the part of it that was asked for: from wherever it lies, in constant memory.
#pragma once

#include "frontend/frontend.h"

struct download_of {
	const char *blob, *sha256, *type, *place; // copied, where they are needed longer
	uint64_t size;
};
void download_answer(const struct frontend *frontend, struct http_request *request, const struct download_of *of);
