// Options: one typed table gives parsing, --help and the documentation.
//
// Every option is an environment variable and a flag of the same name (KAFKA_BOOTSTRAP = --kafka-bootstrap=V or
// --kafka-bootstrap V); the flag wins. A secret has no flag, and can also come as NAME_FILE (a file whose content, less
// one trailing newline, is the value). An empty environment variable counts as not set.
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_type {
	OPTION_STRING, // char *
	OPTION_SECRET, // char *
	OPTION_INT,    // int64_t, min to max, whole decimal number
	OPTION_CHOICE, // int64_t: index into choices
	OPTION_LISTEN, // char *: HOST:PORT or [V6]:PORT, port 0 to 65535; may be empty where the fallback is
	OPTION_PORTS,  // char *: ports, comma-separated as libpq takes them for several hosts; an empty one is libpq's default
};

struct option {
	const char *name; // KAFKA_BOOTSTRAP
	enum option_type type;
	void *value;          // where it goes; strings are owned by the table's user (option_clear frees them)
	const char *fallback; // as text; NULL only for OPTION_INT with a computed default already in *value
	int64_t min, max;
	const char *const *choices; // NULL-terminated
	const char *help;           // one sentence, with unit
};

enum option_action { OPTION_RUN, OPTION_HELP, OPTION_VERSION, OPTION_CHECK };

// Reads environment and flags into the places the table names. Fails with ERROR_USAGE (unknown flag, missing value,
// operand) or ERROR_INPUT (a bad value; the message names the option): exit codes 64 and 78.
int option_parse(const struct option *table, size_t count, int argc, char *const *argv, char *const *environment,
	enum option_action *action, struct error *error) MUST_USE;
char *option_flag(const struct option *option) MUST_USE; // "--kafka-bootstrap", owned by the caller
void option_help(const struct option *table, size_t count, const char *program, const char *purpose, FILE *out);
void option_clear(const struct option *table, size_t count); // frees the strings, wipes secrets
// Puts what was read into the environment, for programs that shall have the same: secrets are there already, or in their files.
// Before threads start.
void option_export(const struct option *table, size_t count);
