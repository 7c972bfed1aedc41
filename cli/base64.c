#include "cli/base64.h"

#include "lib/mem.h"

#include <stdint.h>

static int digit_of(char letter) {
	if (letter >= 'A' && letter <= 'Z') return letter - 'A';
	if (letter >= 'a' && letter <= 'z') return letter - 'a' + 26;
	if (letter >= '0' && letter <= '9') return letter - '0' + 52;
	if (letter == '+' || letter == '-') return 62;
	return letter == '/' || letter == '_' ? 63 : -1;
}

char *base64_decode(const char *text, size_t length, size_t *bytes) {
	while (length && text[length - 1] == '=') length--;
	if (length % 4 == 1) return NULL;
	AUTO_FREE char *decoded = mem_zalloc(length / 4 * 3 + 3);
	uint32_t gathered = 0;
	*bytes = 0;
	for (size_t i = 0; i < length; i++) {
		int digit = digit_of(text[i]);
		if (digit < 0) return NULL;
		gathered = gathered << 6 | (uint32_t)digit;
		if (i % 4 == 0) continue;
		decoded[(*bytes)++] = (char)(gathered >> (6 - 2 * (i % 4)) & 0xff);
	}
	return STEAL(decoded);
}
