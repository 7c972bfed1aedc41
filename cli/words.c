#include "cli/words.h"

#include "cli/words_spanish.h"
#include "lib/attr.h"

#include <stdbool.h>
#include <string.h>

static bool is_spanish(void) {
	static int known = -1;
	if (known >= 0) return known;
	static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
	const char *locale = NULL;
	for (size_t i = 0; i < COUNT_OF(names) && !(locale && *locale); i++) locale = getenv(names[i]);
	known = locale && strncmp(locale, "es", 2) == 0 && (!locale[2] || strchr("_.@", locale[2]));
	return known;
}

const char *words_of(const char *english) {
	if (!is_spanish()) return english;
	for (size_t i = 0; i < words_spanish_count; i++)
		if (strcmp(words_spanish[i].english, english) == 0) return words_spanish[i].spanish;
	return english;
}
