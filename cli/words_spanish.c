#include "cli/words_spanish.h"

#include "lib/attr.h"

const struct words_pair words_spanish[] = {
	{"interrupted", "interrumpido"},
};
const size_t words_spanish_count = COUNT_OF(words_spanish);
