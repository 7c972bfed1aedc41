// What went wrong: a kind that decides policy (HTTP status, retry, blame) and a message for people.
//
// A function that can fail returns 0, or -1 and fills the error its caller passed. Each layer wraps the message
// once with its own context ("ledger: insert: connection refused"). Libraries do not log; who decides, logs.
#pragma once

#include "lib/attr.h"

enum error_kind {
	ERROR_NONE,
	ERROR_USAGE,       // the program was called wrongly
	ERROR_INPUT,       // somebody's data is wrong
	ERROR_DENIED,      // not allowed
	ERROR_UNAVAILABLE, // a service cannot be reached now; worth another try
	ERROR_CONFLICT,    // somebody else was first
	ERROR_LIMIT,       // too much of something
	ERROR_INTERNAL,    // our fault
};

struct error {
	enum error_kind kind;
	char *message; // owned; NULL when kind is ERROR_NONE
};

// Both return -1, so that a failing function can end with `return error_set(…)`. `error` may be NULL. Setting an
// error that is set already replaces it.
int error_set(struct error *error, enum error_kind kind, const char *format, ...) PRINTF(3, 4);
int error_wrap(struct error *error, const char *format, ...) PRINTF(2, 3);
// As error_set, with ": " and strerror(number) behind.
int error_set_errno(struct error *error, enum error_kind kind, int number, const char *format, ...) PRINTF(4, 5);
void error_clear(struct error *error);             // leaves it ready for use again; NULL is fine
const char *error_text(const struct error *error); // never NULL

#define AUTO_ERROR __attribute__((cleanup(error_clear)))
