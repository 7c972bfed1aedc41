// kafka_message_header in the place of lib/kafka's, which asks librdkafka: every record has the headers that stand here.
#pragma once

#include "lib/trabajo.h"

extern struct kafka_header fuzz_headers[TRABAJO_HEADERS];
extern size_t fuzz_headers_count;
