#include "frontend/text.h"

#include "lib/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MOST 4 // sentences in sentences

const char *const text_languages[] = {[TEXT_EN] = "en", [TEXT_ES] = "es", NULL};

struct part {
	const char *text;
	size_t length;
};

// Whether the text is such a sentence, and what stands in its gaps. A gap ends where what follows it comes first; the last one goes on
// to the end.
static bool fits(const char *pattern, const char *text, struct part parts[TEXT_PARTS]) {
	const char *gap = strstr(pattern, "{}");
	size_t head = gap ? (size_t)(gap - pattern) : strlen(pattern), count = 0;
	if (strncmp(pattern, text, head) != 0) return false;
	for (text += head; gap && count < TEXT_PARTS; count++) {
		const char *literal = gap + 2, *next = strstr(literal, "{}");
		size_t size = next ? (size_t)(next - literal) : strlen(literal), left = strlen(text);
		if (left < size) return false;
		AUTO_FREE char *wanted = mem_strndup(literal, size);
		const char *end = next ? strstr(text, wanted) : text + left - size;
		if (!end || strncmp(end, wanted, size) != 0) return false;
		parts[count] = (struct part){text, (size_t)(end - text)};
		text = end + size;
		gap = next;
	}
	return !*text;
}

static char *translate(const struct text_pair *pairs, size_t count, const char *english, unsigned depth);

static char *fill(const char *other, const struct part *parts, const struct text_pair *pairs, size_t count, unsigned depth) {
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out) abort();
	for (; *other; other++) {
		bool gap = other[0] == '{' && other[1] >= '1' && other[1] <= '0' + TEXT_PARTS && other[2] == '}';
		if (!gap) {
			putc(*other, out);
			continue;
		}
		const struct part *part = &parts[other[1] - '1'];
		AUTO_FREE char *inner = mem_strndup(part->text ? part->text : "", part->length);
		AUTO_FREE char *said = translate(pairs, count, inner, depth + 1);
		fputs(said, out);
		other += 2;
	}
	if (fclose(out)) abort();
	return text;
}

// What a sentence has of its own before its first gap counts more than what it has in all.
static bool says_more(const char *pattern, const char *than) {
	const char *patterns[] = {pattern, than};
	size_t heads[2], all[2];
	for (int i = 0; i < 2; i++) {
		const char *gap = strstr(patterns[i], "{}");
		all[i] = strlen(patterns[i]);
		heads[i] = gap ? (size_t)(gap - patterns[i]) : all[i];
		for (; gap; gap = strstr(gap + 2, "{}")) all[i] -= 2;
	}
	return heads[0] > heads[1] || (heads[0] == heads[1] && all[0] > all[1]);
}

static char *translate(const struct text_pair *pairs, size_t count, const char *english, unsigned depth) {
	struct part parts[TEXT_PARTS] = {{0}}, best_parts[TEXT_PARTS] = {{0}};
	const struct text_pair *best = NULL;
	for (size_t i = 0; i < count && depth < DEPTH_MOST && *english; i++) {
		if (!fits(pairs[i].english, english, parts)) continue;
		if (best && !says_more(pairs[i].english, best->english)) continue;
		best = &pairs[i];
		memcpy(best_parts, parts, sizeof parts);
	}
	return best ? fill(best->other, best_parts, pairs, count, depth) : mem_strdup(english);
}

char *text_translate(size_t language, const char *english) {
	return language == TEXT_ES ? translate(text_es, text_es_count, english, 0) : mem_strdup(english);
}
