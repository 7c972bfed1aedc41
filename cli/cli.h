// The verbs of the command line: argv[0] is the verb; each returns the program's exit code.
#pragma once

int cli_migrate(int argc, char **argv);
int cli_observer(int argc, char **argv);
