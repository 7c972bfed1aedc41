// A moment as text.
#include "lib/mem.h"
#include "lib/moment.h"
#include "tests/fuzz/fuzz.h"

#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	size_t length;
	AUTO_FREE char *text = fuzz_rest(&input, &length);
	int64_t moment_ms, again_ms;
	struct tm tm;
	if (moment_read(text, &moment_ms) < 0) return 0;
	int ms = (int)(((moment_ms % 1000) + 1000) % 1000);
	time_t seconds = (time_t)((moment_ms - ms) / 1000);
	HOLDS(gmtime_r(&seconds, &tm) != NULL);
	HOLDS(tm.tm_year + 1900 >= 0 && tm.tm_year + 1900 <= 10000);
	if (tm.tm_year + 1900 < 1 || tm.tm_year + 1900 > 9999) return 0; // an offset led out of what can be written
	AUTO_FREE char *normal = mem_format("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
	HOLDS(moment_read(normal, &again_ms) == 0 && again_ms == moment_ms);
	return 0;
}
