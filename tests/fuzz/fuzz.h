// What the fuzz targets share: fields off an input, and promises whose breach ends the run.
//
// A target is fuzz_NAME.c with libFuzzer's one function. It is more than a search for crashes: what the reader under test takes
// or says must keep the promises of its header, and each target says them as HOLDS(…).
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(condition) ((condition) ? (void)0 : fuzz_breach(__FILE__, __LINE__, #condition))
void fuzz_breach(const char *file, int line, const char *condition) __attribute__((noreturn));

struct fuzz_input {
	const char *at;
	size_t left;
};

// The text up to the next newline, which goes too; it ends at a NUL. Owned by the caller.
char *fuzz_line(struct fuzz_input *input) MUST_USE;
// All that is left, with its NULs, and one behind. Owned by the caller.
char *fuzz_rest(struct fuzz_input *input, size_t *length) MUST_USE;

bool fuzz_is_utf8(const char *text);
bool fuzz_is_printable(const char *text); // UTF-8 without control characters
// An error that is set, of one of two kinds (give the same twice), in words that may stand in a header and on a terminal.
void fuzz_refused(const struct error *error, enum error_kind kind, enum error_kind other);
