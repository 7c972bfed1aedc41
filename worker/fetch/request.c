#include "worker/fetch/request.h"

#include "lib/attr.h"
#include "lib/mem.h"

#include <ctype.h>
#include <string.h>

bool request_is_own(const char *target, const char *path) {
	static const char *const calls[] = {"/info/refs?service=git-upload-pack", "/git-upload-pack"};
	size_t length = strlen(path);
	while (length > 0 && path[length - 1] == '/') length--;
	if (strncmp(target, path, length) != 0) return false;
	for (size_t i = 0; i < COUNT_OF(calls); i++)
		if (strcmp(target + length, calls[i]) == 0) return true;
	return false;
}

static int hex_value(char c) {
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

// As a server reads it that decodes before it looks for separators.
static char *decode(const char *target) {
	char *text = mem_strndup(target, strcspn(target, "?#")), *out = text;
	for (const char *at = text; *at; at++) {
		if (*at == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
			*out++ = (char)(hex_value(at[1]) * 16 + hex_value(at[2]));
			at += 2;
		} else {
			*out++ = *at;
		}
	}
	*out = '\0';
	return text;
}

static size_t separators(const char *text) {
	size_t count = 0;
	for (; *text && *text != '?' && *text != '#'; text++) count += *text == '/';
	return count;
}

// A "%" behind the dots is one that was encoded itself; behind a ";" stand parameters, which some servers cut off first.
bool request_is_plain(const char *target) {
	AUTO_FREE char *path = decode(target);
	if (*path != '/' || strchr(path, '\\') || separators(path) != separators(target)) return false;
	for (const char *at = path; at; at = strchr(at + 1, '/')) {
		size_t dots = strspn(at + 1, ".");
		if ((dots == 1 || dots == 2) && strchr("/;%", at[1 + dots])) return false; // or its end
	}
	return true;
}
