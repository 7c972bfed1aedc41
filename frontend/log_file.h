// A log as a download: the bytes as they were printed, in constant memory. Of an attempt that has ended any part, with an ETag; of
// one that runs what there is.
#pragma once

#include "frontend/frontend.h"
#include "lib/uuid.h"

#include <stdbool.h>

struct log_file_wish {
	char key[UUID_TEXT];
	int64_t attempt;
	int stream; // 0: both
	bool over;  // the attempt has ended
};

void log_file_answer(const struct frontend *frontend, struct http_request *request, const struct log_file_wish *wish);
