// What is said to people, in their language: _("…") gives the Spanish words where LC_ALL, LC_MESSAGES or LANG asks for Spanish.
// What programs read (--json, statuses, names of columns of the ledger) stays as it is.
#pragma once

const char *words_of(const char *english) __attribute__((format_arg(1)));
#define _(english) words_of(english)
