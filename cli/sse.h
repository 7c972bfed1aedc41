// Server-sent events as they arrive (https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6).
#pragma once

#include "lib/attr.h"

#include <stddef.h>

#define SSE_MOST ((size_t)1 << 20) // bytes of an event; a longer one is passed over

struct sse {
	void (*event)(const char *name, const char *data, size_t length, void *arg); // name "message" where none was given
	void *arg;
	char *line, *data, *name, *id; // id: of the last event that was whole; NULL: none
	char *next_id;                 // of the event that is coming
	size_t line_length, line_room, data_length, data_room;
	int skips_newline, too_long, has_data;
};

void sse_take(struct sse *sse, const char *bytes, size_t length);
void sse_restart(struct sse *sse); // a new stream: what was begun goes, the last id stays
void sse_clear(struct sse *sse);
