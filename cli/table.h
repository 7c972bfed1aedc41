// Tables for people: columns as wide as what is in them, the last one cut where a terminal ends. All cells are made harmless.
#pragma once

#include "cli/term.h"
#include "lib/attr.h"

struct table;

struct table *table_new(const char *const *headings) MUST_USE; // NULL-terminated; "" throughout: no heading
void table_free(struct table *table);
// Cells from left to right, row by row; text may be NULL: "-".
void table_cell(struct table *table, enum term_colour colour, const char *text);
void table_format(struct table *table, enum term_colour colour, const char *format, ...) PRINTF(3, 4);
size_t table_rows(const struct table *table);
void table_print(const struct table *table, FILE *out);
// As for a terminal so wide, at most so many rows.
void table_draw(const struct table *table, size_t columns, size_t most_rows, bool colours, const char *end_of_line, FILE *out);
