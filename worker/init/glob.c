// One segment of a path against one of a pattern: `*`, `?`, `[a-z]`, `[!a-z]`, and a backslash before what is meant as it is. As
// in a shell, a name's leading dot must be written. In time that is linear in either, times the other: the C library's fnmatch
// takes exponential time for patterns with many stars, and these are a stranger's.
#include "worker/init/init.h"

// Whether the set that begins behind "[" has the byte; *end is behind its "]". A set without an end is an ordinary bracket.
static bool in_set(const char *set, unsigned char byte, const char **end) {
	bool negated = *set == '!' || *set == '^', found = false;
	const char *at = set + negated;
	do {
		if (*at == '\\' && at[1]) at++;
		unsigned char low = (unsigned char)*at, high = low;
		if (!low) {
			*end = set;
			return byte == '[';
		}
		if (at[1] == '-' && at[2] && at[2] != ']') {
			at += 2;
			if (*at == '\\' && at[1]) at++;
			high = (unsigned char)*at;
		}
		if (byte >= low && byte <= high) found = true;
		at++;
	} while (*at != ']');
	*end = at + 1;
	return found != negated;
}

// What stands at the pattern's place, but a star, against one byte; *next is behind it.
static bool fits(const char *pattern, unsigned char byte, const char **next) {
	if (*pattern == '[') return in_set(pattern + 1, byte, next);
	bool escaped = *pattern == '\\' && pattern[1];
	pattern += escaped;
	*next = pattern + 1;
	return (*pattern == '?' && !escaped) || (unsigned char)*pattern == byte;
}

bool glob_fits(const char *pattern, const char *name) {
	const char *star = NULL, *retry = NULL, *next;
	if (*name == '.' && *pattern != '.' && strncmp(pattern, "\\.", 2) != 0) return false;
	while (*name) {
		if (*pattern == '*') {
			star = ++pattern;
			retry = name;
		} else if (*pattern && fits(pattern, (unsigned char)*name, &next)) {
			pattern = next;
			name++;
		} else if (star) {
			pattern = star;
			name = ++retry;
		} else {
			return false;
		}
	}
	while (*pattern == '*') pattern++;
	return !*pattern;
}
