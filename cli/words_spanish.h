// The Spanish words, by the English ones; formats take the same arguments in the same order.
#pragma once

#include <stddef.h>

struct words_pair {
	const char *english, *spanish;
};
extern const struct words_pair words_spanish[];
extern const size_t words_spanish_count;
