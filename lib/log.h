// Structured log lines on stderr, one write(2) a line, from any thread.
//
//     log_info(log_m("claimed"), log_s("key", key), log_i("attempt", attempt));
//
// LOG_FORMAT json: {"time":"2026-01-01T00:00:00.000Z","level":"info","daemon":"worker","msg":"claimed",…}; text: for
// people. Values are escaped; control characters never reach the terminal. Never log tokens, passwords, or env values.
#pragma once

#include "lib/attr.h"
#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JSON, LOG_FORMAT_TEXT }; // auto: text on a terminal

struct log_field {
	const char *name;
	const char *text; // NULL: the number counts
	int64_t number;
};

static inline struct log_field log_s(const char *name, const char *text) {
	return (struct log_field){.name = name, .text = text ? text : ""};
}
static inline struct log_field log_i(const char *name, int64_t number) {
	return (struct log_field){.name = name, .number = number};
}
static inline struct log_field log_m(const char *message) {
	return log_s("msg", message);
}
static inline struct log_field log_e(const struct error *error) {
	return log_s("error", error_text(error));
}

void log_open(const char *daemon, enum log_level least, enum log_format format);
int log_enabled(enum log_level level);
void log_write(enum log_level level, const struct log_field *fields, size_t count);

#define LOG_FIELDS_(...)                                                                                                       \
	(const struct log_field[]) {                                                                                           \
		__VA_ARGS__                                                                                                    \
	}
#define LOG_WRITE_(level, ...)                                                                                                 \
	(log_enabled(level) ? log_write(level, LOG_FIELDS_(__VA_ARGS__),                                                       \
				      sizeof(LOG_FIELDS_(__VA_ARGS__)) / sizeof(struct log_field))                             \
			    : (void)0)
#define log_debug(...) LOG_WRITE_(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  LOG_WRITE_(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  LOG_WRITE_(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) LOG_WRITE_(LOG_LEVEL_ERROR, __VA_ARGS__)
