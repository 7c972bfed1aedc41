// What a client would rather have (RFC 9110 section 12): lists of words with weights. Pure.
#include "lib/http_internal.h"

#include <string.h>
#include <strings.h>

// A weight in thousandths (section 12.4.2); what is none counts as 0.
static int read_weight(const char *text, size_t length) {
	if (length < 1 || length > 5 || (text[0] != '0' && text[0] != '1') || (length > 1 && text[1] != '.')) return 0;
	int weight = text[0] == '1' ? 1000 : 0;
	for (size_t i = 2, part = 100; i < length; i++, part /= 10) {
		if (text[i] < '0' || text[i] > '9') return 0;
		weight += (text[i] - '0') * (int)part;
	}
	return weight <= 1000 ? weight : 0;
}

// Cuts blanks off both ends.
static const char *trim(const char *text, size_t *length) {
	while (*length && (*text == ' ' || *text == '\t')) text++, --*length;
	while (*length && (text[*length - 1] == ' ' || text[*length - 1] == '\t')) --*length;
	return text;
}

struct choice {
	const char *word;
	size_t length;
	int weight;
};

// The next of a list, *list is moved behind it; false: there is none.
static bool next_choice(const char **list, struct choice *choice) {
	while (**list == ',' || **list == ' ' || **list == '\t') ++*list;
	if (!**list) return false;
	size_t length = strcspn(*list, ","), word = strcspn(*list, ",;");
	const char *parameter = *list + word;
	*choice = (struct choice){.length = word, .weight = 1000};
	choice->word = trim(*list, &choice->length);
	if (*parameter == ';') {
		size_t size = length - word - 1;
		parameter = trim(parameter + 1, &size);
		bool is_weight = size >= 2 && (parameter[0] == 'q' || parameter[0] == 'Q') && parameter[1] == '=';
		choice->weight = is_weight ? read_weight(parameter + 2, size - 2) : 0;
	}
	*list += length;
	return true;
}

static bool is_word(const struct choice *choice, const char *word) {
	return strlen(word) == choice->length && strncasecmp(choice->word, word, choice->length) == 0;
}

bool http_wish_coding(const char *list, const char *coding) {
	int named = -1, others = -1;
	struct choice choice;
	while (next_choice(&list, &choice)) {
		if (is_word(&choice, coding)) named = choice.weight;
		if (is_word(&choice, "*")) others = choice.weight;
	}
	return (named >= 0 ? named : others) > 0;
}

// How well a range fits a language without subtags (RFC 4647 section 3.4, lookup: "es-MX" finds "es"); 0: not at all.
static size_t fit(const struct choice *choice, const char *language) {
	size_t length = strlen(language);
	if (choice->length == 1 && *choice->word == '*') return 1;
	bool begins = choice->length >= length && strncasecmp(choice->word, language, length) == 0;
	return begins && (choice->length == length || choice->word[length] == '-') ? 2 : 0;
}

// The weight of the best range that names it, else of "*"; of equal weights one that is named is worth more.
static int language_weight(const char *list, const char *language) {
	size_t best = 0;
	int weight = 0;
	struct choice choice;
	while (next_choice(&list, &choice)) {
		size_t how = fit(&choice, language);
		if (how > best || (how == best && how > 0 && choice.weight > weight)) {
			best = how;
			weight = choice.weight;
		}
	}
	return weight ? weight * 4 + (int)best : 0;
}

size_t http_wish_language(const char *list, const char *const *languages) {
	size_t chosen = 0;
	int best = 0;
	for (size_t i = 0; languages[i]; i++) {
		int weight = language_weight(list, languages[i]);
		if (weight > best) {
			best = weight;
			chosen = i;
		}
	}
	return chosen;
}
