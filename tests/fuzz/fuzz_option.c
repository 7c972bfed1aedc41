// Lines: each a word of a command line; those that start with "$" are the environment.
#include "lib/mem.h"
#include "lib/option.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { WORDS_MOST = 16 };

static struct values {
	char *text, *secret, *listen, *off;
	int64_t number, choice;
} values;
static const char *const choices[] = {"full", "reduced", "none", NULL};
static const struct option table[] = {
	{.name = "THE_TEXT", .type = OPTION_STRING, .value = &values.text, .fallback = "", .help = "text"},
	{.name = "THE_SECRET", .type = OPTION_SECRET, .value = &values.secret, .fallback = "", .help = "secret"},
	{.name = "THE_LISTEN", .type = OPTION_LISTEN, .value = &values.listen, .fallback = "[::1]:80", .help = "listen"},
	{.name = "THE_OFF", .type = OPTION_LISTEN, .value = &values.off, .fallback = "", .help = "listen or off"},
	{.name = "THE_NUMBER",
		.type = OPTION_INT,
		.value = &values.number,
		.fallback = "5",
		.min = -7,
		.max = INT64_MAX,
		.help = "number"},
	{.name = "THE_CHOICE",
		.type = OPTION_CHOICE,
		.value = &values.choice,
		.fallback = "full",
		.choices = choices,
		.help = "choice"},
};

struct words {
	char *argv[WORDS_MOST + 2], *environment[WORDS_MOST + 1];
	int argc, envc;
};

static void words_read(struct fuzz_input *input, struct words *words) {
	words->argv[words->argc++] = mem_strdup("program");
	while (input->left > 0 && words->argc <= WORDS_MOST && words->envc < WORDS_MOST) {
		char *line = fuzz_line(input);
		if (line[0] != '$')
			words->argv[words->argc++] = line;
		else if (strstr(line, "_FILE=")) // no file of the machine's
			free(line);
		else
			words->environment[words->envc++] = memmove(line, line + 1, strlen(line));
	}
}

static void words_clear(struct words *words) {
	for (int i = 0; i < words->argc; i++) free(words->argv[i]);
	for (int i = 0; i < words->envc; i++) free(words->environment[i]);
}

static void keep_their_promises(void) {
	HOLDS(values.number >= -7 && values.choice >= 0 && values.choice <= 2);
	HOLDS(values.text && values.secret && values.listen && values.off);
	HOLDS(strchr(values.listen, ':') && (!*values.off || strchr(values.off, ':')));
}

// The values, given by the environment, are the same values again.
static void can_be_given_again(void) {
	const struct values before = values;
	AUTO_FREE char *text = mem_format("THE_TEXT=%s", before.text), *secret = mem_format("THE_SECRET=%s", before.secret),
		       *listen = mem_format("THE_LISTEN=%s", before.listen), *off = mem_format("THE_OFF=%s", before.off),
		       *number = mem_format("THE_NUMBER=%lld", (long long)before.number),
		       *choice = mem_format("THE_CHOICE=%s", choices[before.choice]);
	char *environment[] = {text, secret, listen, off, number, choice, NULL}, *argv[] = {text, NULL};
	enum option_action action;
	values = (struct values){0};
	HOLDS(option_parse(table, COUNT_OF(table), 1, argv, environment, &action, NULL) == 0 && action == OPTION_RUN);
	HOLDS(strcmp(values.text, before.text) == 0 && strcmp(values.secret, before.secret) == 0);
	HOLDS(strcmp(values.listen, before.listen) == 0 && strcmp(values.off, before.off) == 0);
	HOLDS(values.number == before.number && values.choice == before.choice);
	option_clear(table, COUNT_OF(table));
	values = before;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	struct words words = {0};
	enum option_action action;
	AUTO_ERROR struct error error = {0};
	words_read(&input, &words);
	values = (struct values){0};
	if (option_parse(table, COUNT_OF(table), words.argc, words.argv, words.environment, &action, &error) < 0) {
		fuzz_refused(&error, ERROR_USAGE, ERROR_INPUT);
	} else if (action == OPTION_RUN || action == OPTION_CHECK) {
		keep_their_promises();
		can_be_given_again();
	}
	option_clear(table, COUNT_OF(table));
	words_clear(&words);
	return 0;
}
