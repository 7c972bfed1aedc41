// What people read, in their language. The source says everything in English; a language is a table of its sentences, in one file
// (text_es.c). What no table has stays English.
#pragma once

#include "lib/attr.h"

#include <stddef.h>

enum text_language { TEXT_EN, TEXT_ES, TEXT_LANGUAGES };
extern const char *const text_languages[]; // their tags, NULL behind them

// In English "{}" stands for what differs from time to time, and may be a sentence of the table itself; in the other language "{1}" is
// the first of these, "{2}" the second.
struct text_pair {
	const char *english, *other;
};
#define TEXT_PARTS 6 // most of a sentence
extern const struct text_pair text_es[];
extern const size_t text_es_count;

// To be freed. language: an index into text_languages.
char *text_translate(size_t language, const char *english) MUST_USE;
