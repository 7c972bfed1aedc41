// --help and the manual, from the tables of cli/verbs.c.
#pragma once

#include "cli/cli.h"

void manual_overview(FILE *out);
void manual_group(const char *word, FILE *out); // the verbs that begin with the word
void manual_verb(const struct cli_verb *verb, FILE *out);
void manual_page(FILE *out); // trabajos(1), for man
