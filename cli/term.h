// The terminal, if there is one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum term_colour { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN, TERM_YELLOW, TERM_BLUE };

bool term_is(FILE *out);
bool term_colours(FILE *out);                             // a terminal that can, and NO_COLOR is not set (https://no-color.org)
size_t term_width(FILE *out);                             // columns; SIZE_MAX where it is no terminal
void term_size(FILE *out, size_t *columns, size_t *rows); // 80 by 24 where it does not say
const char *term_sgr(enum term_colour colour);
enum term_colour term_status(const char *status); // of a job
