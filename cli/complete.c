// trabajos __complete WORD…: what a shell may offer for the last of the words, one a line, a tab and its meaning behind it; ":files"
// and ":folders" for the shell's own. The scripts of `trabajos completion` ask for it.
#include "cli/call.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "cli/url.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <string.h>

static bool begins(const char *text, const char *with) {
	return strncmp(text, with, strlen(with)) == 0;
}

static void offer(const char *word, const char *meaning, const char *typed) {
	if (!begins(word, typed)) return;
	AUTO_FREE char *safe = text_safe(word), *said = text_safe(meaning);
	printf("%s\t%s\n", safe, said);
}

// ---- verbs

static const struct cli_verb *find(const char *name) {
	for (size_t i = 0; i < cli_verb_count; i++)
		if (strcmp(cli_verbs[i]->name, name) == 0) return cli_verbs[i];
	return NULL;
}

// The word of each verb's name that stands behind `before` ("" or "artifacts ").
static void offer_verbs(const char *before, const char *typed) {
	const char *last = "";
	for (size_t i = 0; i < cli_verb_count; i++) {
		if (cli_verbs[i]->hidden || !begins(cli_verbs[i]->name, before)) continue;
		const char *rest = cli_verbs[i]->name + strlen(before);
		size_t length = strcspn(rest, " ");
		AUTO_FREE char *word = mem_strndup(rest, length);
		if (!*before && *last && strncmp(last, rest, length) == 0 && (last[length] == ' ' || !last[length])) continue;
		last = rest;
		offer(word, rest[length] ? "" : _(cli_verbs[i]->help), typed);
	}
}

// ---- options

// What the two kinds of tables say of an option.
struct flag {
	char *name;
	char letter;
	enum args_type type;
	const char *const *choices;
	const char *help;
};

typedef bool each_flag(const struct flag *flag, void *arg); // true: enough

static bool each_option(const struct args_table *table, each_flag *each, void *arg) {
	bool enough = false;
	for (size_t i = 0; i < table->count && !enough; i++) {
		const struct args_option *option = &table->options[i];
		AUTO_FREE char *name = mem_format("--%s", option->name);
		enough = each(&(struct flag){name, option->letter, option->type, option->choices, option->help}, arg);
	}
	return enough;
}

static void each_of(const struct cli_verb *verb, each_flag *each, void *arg) {
	bool enough = each_option(&(struct args_table){verb->options, verb->option_count}, each, arg);
	if (verb->run && !enough) enough = each_option(&cli_common, each, arg);
	for (size_t i = 0; i < verb->setting_count && !enough; i++) {
		const struct option *setting = &verb->settings[i];
		if (setting->type == OPTION_SECRET) continue;
		AUTO_FREE char *name = option_flag(setting);
		enum args_type type = setting->type == OPTION_CHOICE ? ARGS_CHOICE : ARGS_TEXT;
		enough = each(&(struct flag){name, 0, type, setting->choices, setting->help}, arg);
	}
}

static bool offer_flag(const struct flag *flag, void *arg) {
	AUTO_FREE char *word = mem_format("%s%s", flag->name, flag->type == ARGS_FLAG ? "" : "=");
	offer(word, _(flag->help), arg);
	return false;
}

struct value {
	const char *word, *typed; // the option as it was written, and what there is of its value
	bool joined, found;       // joined: --name=value
};

static bool offer_value(const struct flag *flag, void *arg) {
	struct value *value = arg;
	size_t length = strcspn(value->word, "=");
	bool letter = value->word[1] != '-' && value->word[1] == flag->letter && !value->word[2];
	if (flag->type == ARGS_FLAG ||
		(!letter && (strlen(flag->name) != length || strncmp(flag->name, value->word, length) != 0)))
		return false;
	value->found = true;
	if (flag->type == ARGS_FILE) puts(":files");
	if (flag->type == ARGS_FOLDER) puts(":folders");
	for (const char *const *choice = flag->choices; choice && *choice; choice++) {
		AUTO_FREE char *word =
			value->joined ? mem_format("%.*s=%s", (int)length, value->word, *choice) : mem_strdup(*choice);
		AUTO_FREE char *typed = value->joined ? mem_format("%.*s=%s", (int)length, value->word, value->typed)
						      : mem_strdup(value->typed);
		offer(word, "", typed);
	}
	return true;
}

// ---- operands

// The server is the environment's; an option for it may stand among the words, but they are not finished.
static bool has_server(void) {
	static const char *operands[1];
	size_t count;
	if (args_parse(&cli_common, 1, 0, NULL, operands, &count, &(struct error){0})) return false;
	cli.server = url_server(cli.server, cli.allow_http, NULL);
	return cli.server != NULL;
}

static void offer_list(const char *path, const char *name, const char *meaning, const char *typed) {
	AUTO_JSON json_t *list = NULL;
	if (!has_server() || call_get(&list, NULL, "%s", path)) return; // not logged in, or away: nothing to offer
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *word = json_text(item, name), *url = json_text(item, meaning), *status = json_text(item, "status");
		AUTO_FREE char *said = mem_format("%s %s", cli_or_nothing(status), cli_or_nothing(url));
		if (word) offer(word, said, typed);
	}
}

static void offer_operand(const struct cli_verb *verb, const char *typed) {
	static const char *const shells[] = {"bash", "zsh", "fish"};
	if (verb->offers == CLI_KEY) offer_list("/api/v1/trabajos?order=desc&limit=30", "key", "url", typed);
	if (verb->offers == CLI_SCHEDULE) offer_list("/api/v1/schedules?limit=1000", "name", "url", typed);
	for (size_t i = 0; verb->offers == CLI_SHELL && i < COUNT_OF(shells); i++) offer(shells[i], "", typed);
}

static void complete(const struct cli_verb *verb, const char *before, char *typed) {
	const char *equals = strchr(typed, '=');
	struct value joined = {.word = typed, .typed = equals ? equals + 1 : "", .joined = true};
	struct value apart = {.word = before, .typed = typed};
	if (typed[0] == '-' && equals)
		each_of(verb, offer_value, &joined);
	else if (before[0] == '-' && !strchr(before, '='))
		each_of(verb, offer_value, &apart);
	if (joined.found || apart.found) return;
	if (typed[0] == '-')
		each_of(verb, offer_flag, typed);
	else
		offer_operand(verb, typed);
}

static int start(int argc, char **argv) {
	char *typed = argc > 1 ? argv[argc - 1] : (char[]){""};
	if (argc < 3) {
		offer_verbs("", typed);
		return EXIT_FINE;
	}
	AUTO_FREE char *pair = argc > 3 ? mem_format("%s %s", argv[1], argv[2]) : NULL, *prefix = mem_format("%s ", argv[1]);
	const struct cli_verb *verb = pair ? find(pair) : NULL;
	if (!verb) verb = find(argv[1]);
	if (argc == 3) offer_verbs(prefix, typed);
	if (verb) complete(verb, argv[argc - 2], typed);
	return fflush(stdout) ? EXIT_FAILED : EXIT_FINE;
}

const struct cli_verb cli_complete = {
	.name = "__complete", .operands = "", .help = "what a shell may offer", .hidden = true, .start = start};
