// The name of an entry of a git tree.
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"
#include "worker/fetch/path.h"

#include <ctype.h>
#include <string.h>

static char *upper(const char *name) {
	char *copy = mem_strdup(name);
	for (char *at = copy; *at; at++) *at = (char)toupper((unsigned char)*at);
	return copy;
}

// What one file system or another takes for the same name is judged alike.
static void spellings_are_judged_alike(const char *name, size_t cut, bool fine) {
	AUTO_FREE char *loud = upper(name), *dotted = mem_format("%s. ..", name), *stream = mem_format("%s::$INDEX", name);
	HOLDS((path_fault(loud) == NULL) == fine);
	// HFS+ leaves characters out and NTFS dots and spaces at the end, but none does both.
	bool ascii = true;
	for (const char *at = name; *at; at++) ascii = ascii && (unsigned char)*at < 0x80;
	if (ascii && strlen(dotted) <= 255 && strspn(name, ". ") != strlen(name)) HOLDS(fine || path_fault(dotted));
	if (strlen(stream) <= 255 && strncasecmp(name, ".git", 4) == 0 && name[4] == '\0') HOLDS(path_fault(stream));
	AUTO_FREE char *joined = mem_format("%.*s\xe2\x80\x8d%s", (int)cut, name, name + cut);
	if (strcasecmp(name, ".git") == 0) HOLDS(path_fault(joined));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	size_t length;
	AUTO_FREE char *name = fuzz_rest(&input, &length);
	const char *fault = path_fault(name);
	HOLDS(!fault || fuzz_is_printable(fault));
	if (!fault) HOLDS(*name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	if (!fault) HOLDS(strcasecmp(name, ".git") != 0 && strcasecmp(name, "git~1") != 0);
	spellings_are_judged_alike(name, strlen(name) / 2, fault == NULL);
	return 0;
}
