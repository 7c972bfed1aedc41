#include "tests/fuzz/fuzz.h"

#include "lib/json.h"
#include "lib/mem.h"

#include <stdio.h>
#include <string.h>

void fuzz_breach(const char *file, int line, const char *condition) {
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

char *fuzz_line(struct fuzz_input *input) {
	const char *newline = input->left ? memchr(input->at, '\n', input->left) : NULL;
	size_t length = newline ? (size_t)(newline - input->at) : input->left;
	char *line = mem_strndup(input->left ? input->at : "", length);
	input->at += length + (newline ? 1 : 0);
	input->left -= length + (newline ? 1 : 0);
	return line;
}

char *fuzz_rest(struct fuzz_input *input, size_t *length) {
	char *rest = mem_zalloc(input->left + 1);
	if (input->left) memcpy(rest, input->at, input->left);
	*length = input->left;
	input->left = 0;
	return rest;
}

bool fuzz_is_utf8(const char *text) {
	AUTO_JSON json_t *json = json_string(text);
	return json != NULL;
}

bool fuzz_is_printable(const char *text) {
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f) return false;
	return fuzz_is_utf8(text);
}

void fuzz_refused(const struct error *error, enum error_kind kind, enum error_kind other) {
	HOLDS(error->kind == kind || error->kind == other);
	HOLDS(error->message && *error->message);
	HOLDS(fuzz_is_printable(error->message));
}
