// A cron entry on the first line, the name of a time zone behind it.
#include "lib/cron.h"
#include "lib/mem.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

// As ranges, so that it fits into CRON_TEXT_MAX.
static void write_set(FILE *out, uint64_t set) {
	int64_t numbers[64];
	size_t count = cron_numbers(set, numbers);
	HOLDS(count > 0);
	for (size_t first = 0, last; first < count; first = last + 1) {
		last = first;
		while (last + 1 < count && numbers[last + 1] == numbers[last] + 1) last++;
		HOLDS(set >> numbers[first] & 1);
		fprintf(out, "%s%lld", first ? "," : "", (long long)numbers[first]);
		if (last > first) fprintf(out, "-%lld", (long long)numbers[last]);
	}
	fputc(' ', out);
}

static void is_written_and_read_again(const struct cron *cron) {
	char *text = NULL;
	size_t length = 0;
	struct cron again;
	AUTO_ERROR struct error error = {0};
	FILE *out = open_memstream(&text, &length);
	write_set(out, cron->minutes);
	write_set(out, cron->hours);
	write_set(out, cron->days);
	write_set(out, cron->months);
	write_set(out, cron->weekdays);
	fclose(out);
	text[length - 1] = '\0';
	HOLDS(length <= CRON_TEXT_MAX && cron_parse(text, &again, &error) == 0);
	HOLDS(again.minutes == cron->minutes && again.hours == cron->hours && again.days == cron->days);
	HOLDS(again.months == cron->months && again.weekdays == cron->weekdays && again.either_day);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct fuzz_input input = {(const char *)data, size};
	AUTO_FREE char *text = fuzz_line(&input);
	size_t length;
	AUTO_FREE char *zone = fuzz_rest(&input, &length);
	struct cron cron;
	AUTO_ERROR struct error error = {0};
	if (cron_parse(text, &cron, &error) == 0) {
		HOLDS(cron.minutes >> 60 == 0 && cron.hours >> 24 == 0 && !(cron.days & 1) && !(cron.months & 1));
		HOLDS(cron.months >> 13 == 0 && cron.weekdays >> 7 == 0);
		is_written_and_read_again(&cron);
	} else {
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
	}
	if (cron_zone_check(zone, &error) == 0)
		HOLDS(*zone && fuzz_is_printable(zone) && !strstr(zone, ".."));
	else
		fuzz_refused(&error, ERROR_INPUT, ERROR_INPUT);
	return 0;
}
