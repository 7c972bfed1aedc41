// The command line's options and operands, by tables from which --help, the manual and the completions are made as well.
//
// --name=value, --name value, -n value; flags take none. `--` ends the options. A value can also come from the environment.
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum args_type {
	ARGS_FLAG,   // bool
	ARGS_TEXT,   // const char *
	ARGS_INT,    // int64_t, min to max
	ARGS_CHOICE, // const char *: one of choices
	ARGS_LIST,   // struct args_list: as often as wanted
	ARGS_FILE,   // const char *
	ARGS_FOLDER, // const char *
};

#define ARGS_MOST 64
struct args_list {
	const char *items[ARGS_MOST];
	size_t count;
};

struct args_option {
	const char *name; // "idempotency-key"
	char letter;      // 'f', or 0
	enum args_type type;
	void *value;      // what it has before is the fallback
	const char *form; // what stands for the value in --help: "KEY"; NULL for a flag
	int64_t min, max;
	const char *const *choices; // NULL-terminated
	const char *environment;    // NULL: none
	const char *help;           // one sentence
};

struct args_table {
	const struct args_option *options;
	size_t count;
};

// Puts the operands into operands, which has room for argc of them. All of the line is read even where something is wrong with it, so
// that the flags are known; the first mistake counts. ERROR_USAGE.
int args_parse(const struct args_table *tables, size_t count, int argc, char *const *argv, const char **operands,
	size_t *operand_count, struct error *error) MUST_USE;
void args_help(const struct args_table *table, FILE *out);
// "--ref=REF", "-f, --follow": owned by the caller.
char *args_forms(const struct args_option *option, const char *between) MUST_USE;
