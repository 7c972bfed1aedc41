// trabajos: the command line. Each verb is a file of its own.
#include "cli/cli.h"
#include "cli/manual.h"
#include "cli/url.h"
#include "cli/words.h"
#include "lib/lifecycle.h"
#include "lib/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

// The verb that the line begins with, and how many words its name has; NULL: none.
static const struct cli_verb *find(int argc, char **argv, int *words) {
	for (*words = 2; *words > 0; --*words) {
		if (argc < *words) continue;
		AUTO_FREE char *name = *words == 2 ? mem_format("%s %s", argv[0], argv[1]) : mem_strdup(argv[0]);
		for (size_t i = 0; i < cli_verb_count; i++)
			if (strcmp(cli_verbs[i]->name, name) == 0) return cli_verbs[i];
	}
	return NULL;
}

static bool is_group(const char *word) {
	size_t length = strlen(word);
	for (size_t i = 0; i < cli_verb_count; i++)
		if (length && strncmp(cli_verbs[i]->name, word, length) == 0 && cli_verbs[i]->name[length] == ' ') return true;
	return false;
}

static int done(void) {
	// a full disk or a closed pipe is not "fine"
	return fflush(stdout) || ferror(stdout) ? EXIT_FAILED : EXIT_FINE;
}

static int fail(const struct cli_verb *verb, const struct error *error) {
	int code = cli_failure_code(error->kind);
	if (cli_stopped()) code = CLI_INTERRUPTED;
	if (!cli_stopped() || error->kind != ERROR_CONFLICT) cli_warn("%s", error_text(error));
	return code != CLI_INTERRUPTED && verb->failure ? verb->failure(code) : code;
}

static int check_line(const struct cli_verb *verb, size_t count, const char *const *operands, struct error *error) {
	if (count < verb->least)
		return error_set(
			error, ERROR_USAGE, _("%s wants %s; trabajos %s --help"), verb->name, verb->operands, verb->name);
	if (count > verb->most)
		return error_set(
			error, ERROR_USAGE, _("%s: one too many; trabajos %s --help"), operands[verb->most], verb->name);
	cli.server = url_server(cli.server, cli.allow_http, error);
	return cli.server ? 0 : -1;
}

static int run(const struct cli_verb *verb, int argc, char **argv) {
	AUTO_ERROR struct error error = {0};
	AUTO_FREE const char **operands = mem_zalloc_array((size_t)argc + 1, sizeof *operands);
	const struct args_table tables[] = {{verb->options, verb->option_count}, cli_common};
	size_t count;
	int result = args_parse(tables, COUNT_OF(tables), argc, argv, operands, &count, &error);
	if (cli.help) {
		manual_verb(verb, stdout);
		return done();
	}
	if (result == 0) result = check_line(verb, count, operands, &error);
	if (result == 0) result = verb->run(count, operands, &error);
	if (result < 0) return fail(verb, &error);
	return result ? result : done();
}

static int start(const struct cli_verb *verb, int argc, char **argv) {
	// what the verb's --help and error lines begin with
	static char title[64];
	snprintf(title, sizeof title, "trabajos %s", verb->name);
	program_invocation_short_name = title;
	return verb->start(argc, argv);
}

// Started without stdin, stdout or stderr, the next file would get their number and what is printed.
static void occupy_standard_descriptors(void) {
	int fd;
	do fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0) close(fd);
}

// `trabajos help add` is `trabajos add --help`.
static int help(int argc, char **argv) {
	int words;
	const struct cli_verb *verb = argc ? find(argc, argv, &words) : NULL;
	if (verb && verb->start) return start(verb, 2, (char *[]){argv[words - 1], (char[]){"--help"}, NULL});
	if (verb)
		manual_verb(verb, stdout);
	else
		manual_overview(stdout);
	return done();
}

int main(int argc, char **argv) {
	occupy_standard_descriptors();
	const char *word = argc > 1 ? argv[1] : "";
	if (!strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h")) return help(argc - 2, argv + 2);
	static char version[] = "version";
	if (!strcmp(word, "--version")) argv[1] = version;
	int words;
	const struct cli_verb *verb = find(argc - 1, argv + 1, &words);
	if (verb && verb->start) return start(verb, argc - words, argv + words);
	if (verb) return run(verb, argc - 1 - words, argv + 1 + words);
	if (is_group(word)) {
		bool asked = argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"));
		manual_group(word, asked ? stdout : stderr);
		return asked ? done() : EXIT_USAGE_ERROR;
	}
	if (*word)
		cli_warn(_("%s: no such verb; trabajos --help lists them"), word);
	else
		manual_overview(stderr);
	return EXIT_USAGE_ERROR;
}
