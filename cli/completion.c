// trabajos completion: for a shell, a few lines that ask `trabajos __complete` (cli/complete.c) what to offer, so that they fit whatever
// this program can do.
#include "cli/cli.h"
#include "cli/words.h"
#include "lib/lifecycle.h"

#include <string.h>

// A word with "=" in it is several for bash; only what is behind the last "=" is replaced.
static const char bash[] =
	"# bash completion for trabajos: source <(trabajos completion bash)\n"
	"_trabajos() {\n"
	"\tlocal words=() word i line cut\n"
	"\tfor ((i = 1; i <= COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [ ${#words[@]} -gt 0 ] && { [ \"$word\" = = ] || [[ ${words[-1]} == --*= ]]; }; then words[-1]+=$word; else words+=(\"$word\"); fi\n"
	"\tdone\n"
	"\tcut= word=${words[-1]}\n"
	"\t[[ $word != --*=* ]] || cut=${word%%=*}=\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t:files) mapfile -t COMPREPLY < <(compgen -f -- \"${word#\"$cut\"}\"); compopt -o filenames ;;\n"
	"\t\t:folders) mapfile -t COMPREPLY < <(compgen -d -- \"${word#\"$cut\"}\"); compopt -o filenames ;;\n"
	"\t\t*) line=${line%%$'\\t'*}; COMPREPLY+=(\"${line#\"$cut\"}\") ;;\n"
	"\t\tesac\n"
	"\tdone < <(trabajos __complete \"${words[@]}\" 2>/dev/null)\n"
	"\t[[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace\n"
	"}\n"
	"complete -F _trabajos trabajos\n";

static const char zsh[] =
	"#compdef trabajos\n"
	"# zsh completion for trabajos: source <(trabajos completion zsh), or this file as _trabajos in a folder of fpath\n"
	"_trabajos() {\n"
	"\tlocal line word\n"
	"\tlocal -a words_ open closed\n"
	"\twords_=(\"${(@)words[2,CURRENT]}\")\n"
	"\tfor line in \"${(@f)$(trabajos __complete \"${(@)words_}\" 2>/dev/null)}\"; do\n"
	"\t\tword=${line%%$'\\t'*}\n"
	"\t\tcase $line in\n"
	"\t\t'') ;;\n"
	"\t\t:files) compset -P '--*='; _files ;;\n"
	"\t\t:folders) compset -P '--*='; _files -/ ;;\n"
	"\t\t--*=$'\\t'*) open+=(\"${word//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"\t\t*) closed+=(\"${word//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t(( ! $#open )) || _describe -t options option open -S ''\n"
	"\t(( ! $#closed )) || _describe -t words word closed\n"
	"}\n"
	"if [ \"$funcstack[1]\" = _trabajos ]; then _trabajos \"$@\"; else compdef _trabajos trabajos; fi\n";

static const char fish[] = "# fish completion for trabajos: trabajos completion fish | source\n"
			   "function __trabajos_offers\n"
			   "\tset -l words (commandline -opc) (commandline -ct)\n"
			   "\tset -l typed (string replace -r -- '^--[^=]*=' '' \"$words[-1]\")\n"
			   "\tset -l cut (string match -r -- '^--[^=]*=' \"$words[-1]\")\n"
			   "\tfor line in (trabajos __complete $words[2..-1] 2>/dev/null)\n"
			   "\t\tswitch $line\n"
			   "\t\tcase :files\n"
			   "\t\t\tfor path in (__fish_complete_path $typed)\n"
			   "\t\t\t\techo $cut$path\n"
			   "\t\t\tend\n"
			   "\t\tcase :folders\n"
			   "\t\t\tfor path in (__fish_complete_directories $typed)\n"
			   "\t\t\t\techo $cut$path\n"
			   "\t\t\tend\n"
			   "\t\tcase '*'\n"
			   "\t\t\techo $line\n"
			   "\t\tend\n"
			   "\tend\n"
			   "end\n"
			   "complete -c trabajos -f -a '(__trabajos_offers)'\n";

static int run(size_t count, const char *const *operands, struct error *error) {
	(void)count;
	static const struct { const char *shell, *script; } scripts[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
	for (size_t i = 0; i < COUNT_OF(scripts); i++) {
		if (strcmp(scripts[i].shell, operands[0]) != 0) continue;
		fputs(scripts[i].script, stdout);
		return EXIT_FINE;
	}
	return error_set(error, ERROR_USAGE, _("%s: bash, zsh and fish are known"), operands[0]);
}

const struct cli_verb cli_completion = {.name = "completion",
	.operands = "bash|zsh|fish",
	.offers = CLI_SHELL,
	.least = 1,
	.most = 1,
	.help = "print what makes a shell complete verbs, options, keys and schedules",
	.more = "source <(trabajos completion bash)",
	.run = run};
