// Accept-Encoding or Accept-Language, and a Host.
#include "lib/http_internal.h"
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <string.h>

static const char *const languages[] = {"en", "es", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	AUTO_FREE char *list = fuzz_line(&input), *host = fuzz_line(&input);
	AUTO_FREE char *loud = mem_strdup(list), *wanted = mem_format("%s,gzip", list),
		       *refused = mem_format("%s,gzip;q=0", list);
	for (char *c = loud; *c; c++) *c = (char)toupper((unsigned char)*c);
	HOLDS(http_wish_coding(list, "gzip") == http_wish_coding(loud, "gzip"));
	HOLDS(http_wish_coding(wanted, "gzip") && !http_wish_coding(refused, "gzip"));
	HOLDS(http_wish_language(list, languages) < 2);
	HOLDS(http_wish_language(list, languages) == http_wish_language(loud, languages));
	// What goes into headers and documents has nothing that would end a word there.
	if (http_host_valid(host)) HOLDS(*host && strlen(host) < 300 && !strpbrk(host, " \t\r\n\"'<>\\/@?#,;%"));
	return 0;
}
