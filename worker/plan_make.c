#include "lib/mem.h"
#include "worker/plan_part.h"

#include <string.h>

// Copies one logical line (backslash-newline joined, comment cut off), moves *text behind it. False at the end.
static bool next_line(const char **text, const char *end, char *line) {
	const char *at = *text;
	size_t length = 0;
	bool comment = false;
	if (at >= end) return false;
	for (; at < end && *at != '\n'; at++) {
		if (*at == '\0') { // make, too, ignores what follows on such a line
			const char *newline = memchr(at, '\n', (size_t)(end - at));
			at = newline ? newline : end;
			break;
		}
		if (*at == '\\' && at + 1 < end && (at[1] == '\n' || (at[1] == '\r' && at + 2 < end && at[2] == '\n'))) {
			at += at[1] == '\r' ? 2 : 1;
			line[length++] = ' ';
			continue;
		}
		if (*at == '\\' && at + 1 < end && at[1] == '#') {
			line[length++] = *at++;
		} else if (*at == '#') {
			comment = true;
		}
		bool ends = *at == '\r' && at + 1 < end && at[1] == '\n';
		if (!comment && !ends) line[length++] = *at;
	}
	line[length] = '\0';
	*text = at < end ? at + 1 : end;
	return true;
}

// The first colon that is not inside $( ) or ${ }, if no "=" comes before it; NULL: the line is no rule.
static const char *rule_colon(const char *line) {
	int depth = 0;
	for (const char *at = line; *at; at++) {
		if (*at == '$' && (at[1] == '(' || at[1] == '{')) {
			depth++;
			at++;
		} else if (depth > 0) {
			if (*at == ')' || *at == '}') depth--;
		} else if (*at == '=') {
			return NULL;
		} else if (*at == ':') {
			const char *behind = at + strspn(at, ":");
			return *behind == '=' ? NULL : at; // :=, ::= and :::= assign
		}
	}
	return NULL;
}

static bool has_word(const char *text, const char *end, const char *word) {
	size_t length = strlen(word);
	while (text < end) {
		text += strspn(text, " \t");
		size_t span = strcspn(text, " \t:&");
		if (text < end && span == length && memcmp(text, word, length) == 0) return true;
		text += span > 0 ? span : 1;
	}
	return false;
}

static bool starts_with_word(const char *line, const char *word) {
	size_t length = strlen(word);
	line += strspn(line, " ");
	return strncmp(line, word, length) == 0 && (line[length] == '\0' || strchr(" \t", line[length]));
}

bool plan_make_has_main(const char *text, size_t length) {
	const char *end = text + length;
	AUTO_FREE char *line = mem_zalloc(length + 1);
	bool inside_define = false;
	while (next_line(&text, end, line)) {
		if (line[0] == '\t') continue; // a recipe's line
		if (inside_define) {
			inside_define = !starts_with_word(line, "endef");
			continue;
		}
		inside_define = starts_with_word(line, "define") || starts_with_word(line, "override define");
		const char *colon = inside_define ? NULL : rule_colon(line);
		if (colon && has_word(line, colon, "main")) return true;
	}
	return false;
}
