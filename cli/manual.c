#include "cli/manual.h"

#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <ctype.h>
#include <string.h>

#define PURPOSE "Runs git repositories as jobs, and shows what becomes of them."

static const char *const notes[] = {
	"Exit status: 0 fine, 1 failed, 64 usage, 69 a service cannot be reached, 77 not logged in or not allowed, 130 interrupted; with "
	"add --wait or --follow, and log --wait, the job's own, and 125 for a failure of this program's.",
	"A job whose program was ended by a signal counts as 128 and the signal's number, one that took too long as 124, one ended at "
	"another limit as 137, a cancelled one as 143; one that could not be run is 125.",
};

static const struct {
	const char *name, *help;
} variables[] = {
	{"TRABAJOS_URL", "the server, as --server"},
	{"TRABAJOS_CA_FILE", "as --ca-file"},
	{"TRABAJOS_TOKEN", "an access token that is used instead of a session; TRABAJOS_TOKEN_FILE: a file that holds it"},
	{"XDG_CONFIG_HOME", "where the folder trabajos/ with the sessions is; by default ~/.config"},
	{"NO_COLOR", "no colours, if it is not empty"},
	{"LANG", "what is said to people is Spanish where LC_ALL, LC_MESSAGES or LANG asks for it"},
};

// ---- for the terminal

static void list_verbs(const char *prefix, FILE *out) {
	size_t length = strlen(prefix);
	for (size_t i = 0; i < cli_verb_count; i++)
		if (!cli_verbs[i]->hidden && strncmp(cli_verbs[i]->name, prefix, length) == 0)
			fprintf(out, "  %-17s %s\n", cli_verbs[i]->name, _(cli_verbs[i]->help));
}

void manual_overview(FILE *out) {
	fprintf(out, _("Usage: trabajos VERB [OPTION]…\n%s\n\nVerbs:\n"), _(PURPOSE));
	list_verbs("", out);
	fputs(_("\nFirst steps: trabajos login; trabajos add URL --follow; trabajos log; trabajos top.\n"
		"`trabajos VERB --help` says more of a verb, `man trabajos` all.\n"),
		out);
}

void manual_group(const char *word, FILE *out) {
	AUTO_FREE char *prefix = mem_format("%s ", word);
	fprintf(out, _("Usage: trabajos %s VERB [OPTION]…\n\nVerbs:\n"), word);
	list_verbs(prefix, out);
}

void manual_verb(const struct cli_verb *verb, FILE *out) {
	fprintf(out, _("Usage: trabajos %s%s%s [OPTION]…\n"), verb->name, *verb->operands ? " " : "", verb->operands);
	const char *purpose = _(verb->help);
	fprintf(out, "%c%s.\n", toupper((unsigned char)*purpose), purpose + 1);
	if (verb->more) fprintf(out, "\n%s\n", _(verb->more));
	if (verb->option_count) {
		fputs(_("\nOptions:\n"), out);
		args_help(&(struct args_table){verb->options, verb->option_count}, out);
	}
	fputs(_("\nOptions of every verb:\n"), out);
	args_help(&cli_common, out);
}

// ---- for man(1), in man(7)'s macros

// Backslashes and what troff would take for a request or another sign.
static void roff(const char *text, FILE *out) {
	for (bool begins = true; *text; begins = *text++ == '\n') {
		if (begins && (*text == '.' || *text == '\'')) fputs("\\&", out);
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else
			putc(*text, out);
	}
}

static void paragraph(const char *macro, const char *text, FILE *out) {
	fprintf(out, "%s\n", macro);
	roff(text, out);
	putc('\n', out);
}

static void page_options(const struct args_table *table, FILE *out) {
	for (size_t i = 0; i < table->count; i++) {
		const struct args_option *option = &table->options[i];
		AUTO_FREE char *forms = args_forms(option, ", ");
		fputs(".TP\n.B ", out);
		roff(forms, out);
		putc('\n', out);
		roff(option->help, out);
		for (const char *const *choice = option->choices; choice && *choice; choice++)
			fprintf(out, "%s%s", choice == option->choices ? ": " : ", ", *choice);
		if (option->environment) fprintf(out, " (%s)", option->environment);
		putc('\n', out);
	}
}

static void page_settings(const struct cli_verb *verb, FILE *out) {
	for (size_t i = 0; i < verb->setting_count; i++) {
		const struct option *setting = &verb->settings[i];
		AUTO_FREE char *flag = option_flag(setting);
		AUTO_FREE char *shown = setting->type == OPTION_SECRET ? mem_format("%s, %s_FILE", setting->name, setting->name)
								       : mem_format("%s, %s", flag, setting->name);
		fputs(".TP\n.B ", out);
		roff(shown, out);
		putc('\n', out);
		roff(setting->help, out);
		putc('\n', out);
	}
}

static void page_verb(const struct cli_verb *verb, FILE *out) {
	fputs(".SS ", out);
	roff(verb->name, out);
	fputs("\n.B trabajos ", out);
	roff(verb->name, out);
	fputs(" \\fR", out);
	roff(verb->operands, out);
	fputs(" [OPTION]…\n", out);
	paragraph(".PP", verb->help, out);
	if (verb->more) paragraph(".PP", verb->more, out);
	page_options(&(struct args_table){verb->options, verb->option_count}, out);
	page_settings(verb, out);
}

void manual_page(FILE *out) {
	fprintf(out, ".TH TRABAJOS 1 \"\" \"trabajos %s\" \"User Commands\"\n", lifecycle_version());
	fputs(".SH NAME\ntrabajos \\- run git repositories as jobs\n.SH SYNOPSIS\n.B trabajos\n.I VERB\n[\\fIOPTION\\fR]…\n",
		out);
	paragraph(".SH DESCRIPTION", PURPOSE, out);
	paragraph(".PP",
		"A URL goes in, the repository is fetched and run in a sandbox, its result and output are kept. First steps: "
		"trabajos login; trabajos add URL --follow; trabajos log; trabajos top.",
		out);
	fputs(".SH VERBS\n", out);
	for (size_t i = 0; i < cli_verb_count; i++)
		if (!cli_verbs[i]->hidden) page_verb(cli_verbs[i], out);
	fputs(".SH OPTIONS\nThese are options of every verb but migrate and observer.\n", out);
	page_options(&cli_common, out);
	fputs(".SH ENVIRONMENT\n", out);
	for (size_t i = 0; i < COUNT_OF(variables); i++) {
		fprintf(out, ".TP\n.B %s\n", variables[i].name);
		roff(variables[i].help, out);
		putc('\n', out);
	}
	fputs(".SH EXIT STATUS\n", out);
	for (size_t i = 0; i < COUNT_OF(notes); i++) paragraph(".PP", notes[i], out);
	fputs(".SH FILES\n.TP\n.I ~/.config/trabajos/\nthe sessions, one file a server, for their owner alone\n", out);
}
