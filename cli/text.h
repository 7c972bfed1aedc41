// What others wrote, made harmless for a terminal: no control character, no escape sequence, nothing that turns the direction of
// writing round reaches it. Only a job's output may have colours (ECMA-48, SGR).
#pragma once

#include "lib/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// One line of UTF-8: control characters as ^X or <U+0085>, invalid bytes as U+FFFD. Owned by the caller; NULL gives NULL.
char *text_safe(const char *text) MUST_USE;
// Columns that a text has on a terminal.
size_t text_width(const char *text);
// How many of a text's bytes fit into so many columns.
size_t text_fit(const char *text, size_t columns);

// A job's output on its way to a terminal: newlines, tabs and SGR pass, a carriage return becomes a newline. Bytes may be cut anywhere.
struct text_filter {
	FILE *out;
	bool colours;     // false: SGR is dropped
	const char *mark; // SGR at the begin of each line and reset at its end, to tell a stream from another; NULL: none
	char held[72];    // a sequence or character whose end has not come
	size_t held_length;
	bool coloured, returned, in_line, paused;
};
void text_filter_take(struct text_filter *filter, const char *data, size_t length);
void text_filter_end(struct text_filter *filter); // what is held goes out, colours end
