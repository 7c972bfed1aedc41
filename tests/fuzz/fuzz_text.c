// A sentence for people, in another language.
#include "frontend/text.h"
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	size_t length;
	AUTO_FREE char *text = fuzz_rest(&input, &length);
	AUTO_FREE char *same = text_translate(TEXT_EN, text), *said = text_translate(TEXT_ES, text);
	HOLDS(strcmp(same, text) == 0);
	// Sentences are cut at words of ours, never inside of a character.
	if (fuzz_is_utf8(text)) HOLDS(fuzz_is_utf8(said));
	HOLDS(strlen(said) <= 3 * strlen(text) + 200);
	return 0;
}
