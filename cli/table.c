#include "cli/table.h"

#include "cli/text.h"
#include "lib/mem.h"

#include <stdint.h>
#include <string.h>

#define COLUMNS_MOST 16
#define GAP          2

struct cell {
	char *text;
	size_t width;
	enum term_colour colour;
};

struct table {
	const char *headings[COLUMNS_MOST];
	size_t widths[COLUMNS_MOST];
	size_t columns, count, room;
	struct cell *cells;
};

struct table *table_new(const char *const *headings) {
	struct table *table = mem_zalloc(sizeof *table);
	for (; *headings && table->columns < COLUMNS_MOST; headings++) {
		table->headings[table->columns] = *headings;
		table->widths[table->columns++] = text_width(*headings);
	}
	return table;
}

void table_free(struct table *table) {
	if (!table) return;
	for (size_t i = 0; i < table->count; i++) free(table->cells[i].text);
	free(table->cells);
	free(table);
}

void table_cell(struct table *table, enum term_colour colour, const char *text) {
	if (table->count == table->room) {
		table->room = table->room ? 2 * table->room : 64;
		table->cells = mem_resize(table->cells, table->room, sizeof *table->cells);
	}
	struct cell *cell = &table->cells[table->count];
	*cell = (struct cell){.text = text ? text_safe(text) : mem_strdup("-"), .colour = colour};
	cell->width = text_width(cell->text);
	size_t *widest = &table->widths[table->count++ % table->columns];
	if (cell->width > *widest) *widest = cell->width;
}

void table_format(struct table *table, enum term_colour colour, const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	AUTO_FREE char *text = mem_format_list(format, arguments);
	va_end(arguments);
	table_cell(table, colour, text);
}

size_t table_rows(const struct table *table) {
	return table->count / table->columns;
}

// ---- drawing

struct canvas {
	FILE *out;
	size_t columns, used; // of the line
	bool colours;
};

static void draw_cell(struct canvas *canvas, const char *text, size_t width, enum term_colour colour, size_t wanted) {
	size_t left = canvas->columns - canvas->used, bytes = strlen(text);
	bool cut = width > left;
	if (cut) bytes = left > 1 ? text_fit(text, left - 1) : 0;
	bool painted = canvas->colours && colour != TERM_PLAIN;
	fprintf(canvas->out, "%s%.*s%s%s", painted ? term_sgr(colour) : "", (int)bytes, text, cut && left ? "…" : "",
		painted ? term_sgr(TERM_PLAIN) : "");
	size_t took = cut ? left : width, pad = wanted > took ? wanted - took : 0;
	if (pad > left - took) pad = left - took;
	fprintf(canvas->out, "%*s", (int)pad, "");
	canvas->used += took + pad;
}

// The last column is not padded.
static size_t wanted_of(const struct table *table, size_t column) {
	return column + 1 == table->columns ? 0 : table->widths[column] + GAP;
}

void table_draw(const struct table *table, size_t columns, size_t most_rows, bool colours, const char *end_of_line, FILE *out) {
	struct canvas canvas = {.out = out, .columns = columns, .colours = colours};
	size_t rows = table_rows(table), headed = *table->headings[0] != '\0';
	for (size_t row = 0; row < rows + headed && row < most_rows; row++) {
		canvas.used = 0;
		for (size_t column = 0; column < table->columns; column++) {
			const char *heading = table->headings[column];
			if (headed && row == 0)
				draw_cell(&canvas, heading, text_width(heading), TERM_BOLD, wanted_of(table, column));
			if (headed && row == 0) continue;
			const struct cell *cell = &table->cells[(row - headed) * table->columns + column];
			draw_cell(&canvas, cell->text, cell->width, cell->colour, wanted_of(table, column));
		}
		fputs(end_of_line, out);
	}
}

void table_print(const struct table *table, FILE *out) {
	table_draw(table, term_width(out), SIZE_MAX, term_colours(out), "\n", out);
}
