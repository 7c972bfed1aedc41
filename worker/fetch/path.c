#include "worker/fetch/path.h"

#include "lib/attr.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

// The next character of UTF-8; 0 at the end, and where it is no UTF-8 (HFS+ has no such names).
static uint32_t next_character(const unsigned char **text) {
	const unsigned char *at = *text;
	if (at[0] < 0x80) {
		if (at[0]) ++*text;
		return at[0];
	}
	size_t more = at[0] >= 0xf0 ? 3 : at[0] >= 0xe0 ? 2 : 1;
	uint32_t value = at[0] & (0x3fU >> more);
	for (size_t i = 1; i <= more; i++) {
		if ((at[i] & 0xc0) != 0x80) return 0;
		value = value << 6 | (at[i] & 0x3fU);
	}
	*text += more + 1;
	return value;
}

// Characters that HFS+ leaves out when it compares names (git's utf8.c).
static bool is_ignored_by_hfs(uint32_t character) {
	return (character >= 0x200c && character <= 0x200f) || (character >= 0x202a && character <= 0x202e) ||
	       (character >= 0x206a && character <= 0x206f) || character == 0xfeff;
}

static bool is_dot_git_on_hfs(const char *name) {
	const unsigned char *at = (const unsigned char *)name;
	for (const char *want = ".git";; want++) {
		uint32_t character;
		do character = next_character(&at);
		while (is_ignored_by_hfs(character));
		if (*want == '\0') return character == 0;
		if (character >= 0x80 || character == 0) return false;
		if (tolower((int)character) != *want) return false;
	}
}

// NTFS drops dots and spaces at the end, takes :stream behind a name, and knows .git as GIT~1.
static bool is_dot_git_on_ntfs(const char *name) {
	static const char *const forms[] = {".git", "git~1"};
	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		size_t length = strlen(forms[i]);
		if (strncasecmp(name, forms[i], length) != 0) continue;
		const char *rest = name + length;
		rest += strspn(rest, ". ");
		if (*rest == '\0' || *rest == ':' || *rest == '\\') return true;
	}
	return false;
}

const char *path_fault(const char *name) {
	if (*name == '\0') return "an empty name";
	if (strlen(name) > NAME_MAX) return "a name longer than 255 bytes";
	if (strchr(name, '/')) return "a name with a slash";
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return "a name of dots";
	if (is_dot_git_on_hfs(name) || is_dot_git_on_ntfs(name)) return "a name that means .git";
	return NULL;
}
