#include "cli/args.h"

#include "cli/text.h"
#include "cli/words.h"
#include "lib/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int refuse(struct error *error, const char *format, const char *name, const char *given) {
	AUTO_FREE char *shown = text_safe(given);
	return error_set(error, ERROR_USAGE, format, name, shown);
}

// ---- values

static int take_int(const struct args_option *option, const char *text, struct error *error) {
	char *end;
	errno = 0;
	intmax_t number = strtoimax(text, &end, 10);
	if (!*text || *end || errno || number < option->min || number > option->max) {
		AUTO_FREE char *shown = text_safe(text);
		return error_set(error, ERROR_USAGE, _("--%s: \"%s\" is not a whole number from %" PRId64 " to %" PRId64),
			option->name, shown, option->min, option->max);
	}
	*(int64_t *)option->value = number;
	return 0;
}

static int take_choice(const struct args_option *option, const char *text, struct error *error) {
	AUTO_FREE char *known = mem_strdup("");
	for (const char *const *choice = option->choices; *choice; choice++) {
		if (strcmp(*choice, text) == 0) {
			*(const char **)option->value = *choice;
			return 0;
		}
		char *longer = mem_format("%s%s%s", known, *known ? ", " : "", *choice);
		free(known);
		known = longer;
	}
	AUTO_FREE char *shown = text_safe(text);
	return error_set(error, ERROR_USAGE, _("--%s: \"%s\" is none of: %s"), option->name, shown, known);
}

static int take_list(const struct args_option *option, const char *text, struct error *error) {
	struct args_list *list = option->value;
	if (list->count == ARGS_MOST) return error_set(error, ERROR_USAGE, _("--%s: given too often"), option->name);
	list->items[list->count++] = text;
	return 0;
}

static int take(const struct args_option *option, const char *text, struct error *error) {
	switch (option->type) {
	case ARGS_FLAG:
		*(bool *)option->value = true;
		return 0;
	case ARGS_INT:
		return take_int(option, text, error);
	case ARGS_CHOICE:
		return take_choice(option, text, error);
	case ARGS_LIST:
		return take_list(option, text, error);
	case ARGS_TEXT:
	case ARGS_FILE:
	case ARGS_FOLDER:
		break;
	}
	*(const char **)option->value = text;
	return 0;
}

// ---- finding

static const struct args_option *find_name(const struct args_table *tables, size_t count, const char *name, size_t length) {
	for (size_t t = 0; t < count; t++) {
		for (size_t i = 0; i < tables[t].count; i++) {
			const struct args_option *option = &tables[t].options[i];
			if (strlen(option->name) == length && memcmp(option->name, name, length) == 0) return option;
		}
	}
	return NULL;
}

static const struct args_option *find_letter(const struct args_table *tables, size_t count, char letter) {
	for (size_t t = 0; t < count; t++)
		for (size_t i = 0; i < tables[t].count; i++)
			if (letter && tables[t].options[i].letter == letter) return &tables[t].options[i];
	return NULL;
}

// The option of a word that begins with '-', and its value: in the word itself (NULL: not there).
static const struct args_option *find(const struct args_table *tables, size_t count, const char *word, const char **value) {
	*value = NULL;
	if (word[1] != '-') {
		const struct args_option *option = find_letter(tables, count, word[1]);
		if (word[2]) *value = word + 2;
		return option && option->type == ARGS_FLAG && word[2] ? NULL : option;
	}
	size_t length = strcspn(word + 2, "=");
	if (word[2 + length]) *value = word + 2 + length + 1;
	return find_name(tables, count, word + 2, length);
}

// One option of the line; returns how many words it took.
static int take_word(const struct args_table *tables, size_t count, int left, char *const *argv, struct error *error) {
	const char *value;
	const struct args_option *option = find(tables, count, argv[0], &value);
	if (!option) {
		refuse(error, _("%s: no such option%s; --help lists them"), argv[0], "");
		return 1;
	}
	if (option->type == ARGS_FLAG) {
		if (value)
			refuse(error, _("--%s takes no value, but has \"%s\""), option->name, value);
		else
			take(option, NULL, error);
		return 1;
	}
	if (!value && left < 2) {
		error_set(error, ERROR_USAGE, _("--%s needs a value: --%s=%s"), option->name, option->name, option->form);
		return 1;
	}
	take(option, value ? value : argv[1], error);
	return value ? 1 : 2;
}

static int take_environment(const struct args_table *tables, size_t count, struct error *error) {
	for (size_t t = 0; t < count; t++) {
		for (size_t i = 0; i < tables[t].count; i++) {
			const struct args_option *option = &tables[t].options[i];
			const char *value = option->environment ? getenv(option->environment) : NULL;
			if (value && *value && take(option, value, error)) return error_wrap(error, "%s", option->environment);
		}
	}
	return 0;
}

int args_parse(const struct args_table *tables, size_t count, int argc, char *const *argv, const char **operands,
	size_t *operand_count, struct error *error) {
	*operand_count = 0;
	if (take_environment(tables, count, error)) return -1;
	bool only_operands = false;
	for (int i = 0; i < argc;) {
		if (only_operands || argv[i][0] != '-' || !argv[i][1]) {
			operands[(*operand_count)++] = argv[i++];
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			only_operands = true;
			i++;
			continue;
		}
		AUTO_ERROR struct error mistake = {0};
		i += take_word(tables, count, argc - i, argv + i, &mistake);
		if (mistake.kind && !error->kind) error_set(error, mistake.kind, "%s", error_text(&mistake));
	}
	return error->kind ? -1 : 0;
}

// ---- help

char *args_forms(const struct args_option *option, const char *between) {
	AUTO_FREE char *letter = option->letter ? mem_format("-%c%s", option->letter, between) : mem_strdup("");
	if (option->type == ARGS_FLAG) return mem_format("%s--%s", letter, option->name);
	return mem_format("%s--%s=%s", letter, option->name, option->form);
}

void args_help(const struct args_table *table, FILE *out) {
	int widest = 0;
	for (size_t i = 0; i < table->count; i++) {
		AUTO_FREE char *forms = args_forms(&table->options[i], ", ");
		int width = (int)strlen(forms) + (table->options[i].letter ? 0 : 4);
		if (width > widest) widest = width;
	}
	for (size_t i = 0; i < table->count; i++) {
		const struct args_option *option = &table->options[i];
		AUTO_FREE char *forms = args_forms(option, ", ");
		fprintf(out, "  %s%-*s  %s", option->letter ? "" : "    ", widest - (option->letter ? 0 : 4), forms,
			_(option->help));
		for (const char *const *choice = option->choices; choice && *choice; choice++)
			fprintf(out, "%s%s", choice == option->choices ? ": " : ", ", *choice);
		if (option->environment) fprintf(out, " (%s)", option->environment);
		putc('\n', out);
	}
}
