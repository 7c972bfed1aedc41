#include "lib/error.h"

#include "lib/mem.h"

#include <stdarg.h>

// The new message is complete before the old one goes: arguments may point into it.
static void replace(struct error *error, enum error_kind kind, char *message) {
	free(error->message);
	error->message = message;
	error->kind = kind;
}

int error_set(struct error *error, enum error_kind kind, const char *format, ...) {
	if (!error) return -1;
	va_list arguments;
	va_start(arguments, format);
	char *message = mem_format_list(format, arguments);
	va_end(arguments);
	replace(error, kind, message);
	return -1;
}

int error_set_errno(struct error *error, enum error_kind kind, int number, const char *format, ...) {
	if (!error) return -1;
	va_list arguments;
	va_start(arguments, format);
	AUTO_FREE char *context = mem_format_list(format, arguments);
	va_end(arguments);
	char buffer[128];
	replace(error, kind, mem_format("%s: %s", context, strerror_r(number, buffer, sizeof(buffer))));
	return -1;
}

int error_wrap(struct error *error, const char *format, ...) {
	if (!error) return -1;
	va_list arguments;
	va_start(arguments, format);
	AUTO_FREE char *context = mem_format_list(format, arguments);
	va_end(arguments);
	// Wrapping what was never set is a mistake of ours; it must not read as success.
	enum error_kind kind = error->kind == ERROR_NONE ? ERROR_INTERNAL : error->kind;
	replace(error, kind, mem_format("%s: %s", context, error_text(error)));
	return -1;
}

void error_clear(struct error *error) {
	if (error) replace(error, ERROR_NONE, NULL);
}

const char *error_text(const struct error *error) {
	return error && error->message ? error->message : "no error";
}
