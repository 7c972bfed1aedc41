#include "cli/term.h"

#include "lib/attr.h"

#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

bool term_is(FILE *out) {
	return isatty(fileno(out)) == 1;
}

bool term_colours(FILE *out) {
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	return term_is(out) && !(no_colour && *no_colour) && term && *term && strcmp(term, "dumb") != 0;
}

void term_size(FILE *out, size_t *columns, size_t *rows) {
	struct winsize size = {0};
	int asked = ioctl(fileno(out), TIOCGWINSZ, &size);
	*columns = asked == 0 && size.ws_col ? size.ws_col : 80;
	*rows = asked == 0 && size.ws_row ? size.ws_row : 24;
}

size_t term_width(FILE *out) {
	size_t columns, rows;
	if (!term_is(out)) return SIZE_MAX;
	term_size(out, &columns, &rows);
	return columns;
}

const char *term_sgr(enum term_colour colour) {
	static const char *const sequences[] = {[TERM_PLAIN] = "\033[0m",
		[TERM_BOLD] = "\033[1m",
		[TERM_DIM] = "\033[2m",
		[TERM_RED] = "\033[31m",
		[TERM_GREEN] = "\033[32m",
		[TERM_YELLOW] = "\033[33m",
		[TERM_BLUE] = "\033[34m"};
	return sequences[colour];
}

enum term_colour term_status(const char *status) {
	static const struct {
		const char *status;
		enum term_colour colour;
	} colours[] = {{"Queued", TERM_YELLOW}, {"Running", TERM_BLUE}, {"Finished", TERM_GREEN}, {"Failed", TERM_RED},
		{"Cancelled", TERM_DIM}};
	for (size_t i = 0; status && i < COUNT_OF(colours); i++)
		if (strcmp(colours[i].status, status) == 0) return colours[i].colour;
	return TERM_PLAIN;
}
