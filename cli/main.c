// trabajos: the command line. Each verb is a file of its own.
#include "cli/cli.h"
#include "lib/lifecycle.h"

#include <errno.h>
#include <stdint.h>

static const struct verb {
	const char *name, *title;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{"migrate", "trabajos migrate", cli_migrate, "bring the database up to this program's version"},
	{"observer", "trabajos observer", cli_observer, "replay a period of jobs against the scale rule; score its advice"},
};

static void help(FILE *out) {
	fprintf(out, "Usage: trabajos VERB [--option=value …]\n\nVerbs:\n");
	for (size_t i = 0; i < COUNT_OF(verbs); i++) fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].help);
	fprintf(out, "\n`trabajos VERB --help` lists a verb's options; `trabajos --version` names the version.\n");
}

int main(int argc, char **argv) {
	const char *word = argc > 1 ? argv[1] : "";
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
		help(stdout);
		return fflush(stdout) ? EXIT_FAILED : EXIT_FINE;
	}
	if (!strcmp(word, "--version")) {
		printf("trabajos %s\n", lifecycle_version());
		return fflush(stdout) ? EXIT_FAILED : EXIT_FINE;
	}
	for (size_t i = 0; i < COUNT_OF(verbs); i++) {
		if (strcmp(word, verbs[i].name) != 0) continue;
		// what a verb's --help and error lines begin with
		program_invocation_short_name = (char *)(uintptr_t)verbs[i].title;
		return verbs[i].run(argc - 1, argv + 1);
	}
	if (*word) fprintf(stderr, "trabajos: unknown verb '%s'\n", word);
	help(stderr);
	return EXIT_USAGE_ERROR;
}
