#include "lib/cron.h"

#include "lib/mem.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define BLANKS  " \t"
#define NUMBERS "0123456789"

struct field {
	const char *name;
	unsigned low, high;
	const char *names; // of three letters each, the first one is `first`
	unsigned first;
};

static const struct field fields[] = {
	{.name = "minute", .low = 0, .high = 59},
	{.name = "hour", .low = 0, .high = 23},
	{.name = "day of month", .low = 1, .high = 31},
	{.name = "month", .low = 1, .high = 12, .names = "janfebmaraprmayjunjulaugsepoctnovdec", .first = 1},
	{.name = "day of week", .low = 0, .high = 7, .names = "sunmontuewedthufrisat", .first = 0},
};
enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY };

// ---- one field

// What a field's item is read with; `at` moves on.
struct reading {
	const struct field *field;
	const char *item; // the whole one, for messages
	int length;
	const char *at;
	struct error *error;
};

static int refuse(const struct reading *reading, const char *why) {
	return error_set(
		reading->error, ERROR_INPUT, "%s \"%.*s\": %s", reading->field->name, reading->length, reading->item, why);
}

static int refuse_range(const struct reading *reading) {
	const struct field *field = reading->field;
	AUTO_FREE char *names = field->names ? mem_format(", or a name such as %.3s", field->names) : mem_strdup("");
	return error_set(reading->error, ERROR_INPUT, "%s \"%.*s\": it must be from %u to %u%s", field->name, reading->length,
		reading->item, field->low, field->high, names);
}

static int read_name(struct reading *reading, unsigned *number) {
	const struct field *field = reading->field;
	size_t letters = 0;
	while (isalpha((unsigned char)reading->at[letters])) letters++;
	for (unsigned i = 0; field->names && letters == 3 && i < strlen(field->names) / 3; i++) {
		if (strncasecmp(field->names + (size_t)3 * i, reading->at, 3) != 0) continue;
		*number = field->first + i;
		reading->at += letters;
		return 0;
	}
	return refuse_range(reading);
}

static int read_number(struct reading *reading, unsigned *number) {
	if (!isdigit((unsigned char)*reading->at)) return read_name(reading, number);
	size_t digits = strspn(reading->at, NUMBERS);
	*number = 0;
	for (size_t i = 0; i < digits && *number < 1000; i++) *number = *number * 10 + (unsigned)(reading->at[i] - '0');
	reading->at += digits;
	if (*number < reading->field->low || *number > reading->field->high) return refuse_range(reading);
	return 0;
}

static int read_range(struct reading *reading, unsigned *low, unsigned *high) {
	if (*reading->at == '*') {
		reading->at++;
		*low = reading->field->low;
		*high = reading->field == &fields[WEEKDAY] ? 6 : reading->field->high;
		return 0;
	}
	if (read_number(reading, low)) return -1;
	*high = *low;
	if (*reading->at == '-') {
		reading->at++;
		if (read_number(reading, high)) return -1;
		if (reading->field == &fields[WEEKDAY] && *high == 0 && *low > 0) *high = 7; // fri-sun
		if (*high < *low) return refuse(reading, "a range goes from low to high; write two, with a comma");
	} else if (*reading->at == '/') {
		return refuse(reading, "a step belongs behind * or a range");
	}
	return 0;
}

static int read_step(struct reading *reading, unsigned *step) {
	*step = 1;
	if (*reading->at != '/') return 0;
	size_t digits = strspn(++reading->at, NUMBERS);
	*step = 0;
	for (size_t i = 0; i < digits && *step < 1000; i++) *step = *step * 10 + (unsigned)(reading->at[i] - '0');
	reading->at += digits;
	if (*step >= 1 && *step <= reading->field->high) return 0;
	return error_set(reading->error, ERROR_INPUT, "%s \"%.*s\": a step must be from 1 to %u", reading->field->name,
		reading->length, reading->item, reading->field->high);
}

static int read_item(const struct field *field, const char *item, size_t length, uint64_t *set, struct error *error) {
	struct reading reading = {.field = field, .item = item, .length = (int)length, .at = item, .error = error};
	unsigned low = 0, high = 0, step = 1;
	if (length == 0) return error_set(error, ERROR_INPUT, "%s: a list has an empty place", field->name);
	if (read_range(&reading, &low, &high) || read_step(&reading, &step)) return -1;
	if (reading.at != item + length) return refuse(&reading, "it cannot be read; see crontab(5)");
	for (unsigned number = low; number <= high; number += step) *set |= UINT64_C(1) << number;
	return 0;
}

static int read_field(const struct field *field, const char *text, uint64_t *set, struct error *error) {
	*set = 0;
	for (const char *item = text;; item++) {
		size_t length = strcspn(item, ",");
		if (read_item(field, item, length, set, error)) return -1;
		item += length;
		if (!*item) return 0;
	}
}

// ---- the entry

static const char *alias_of(const char *text, size_t length) {
	static const struct {
		const char *name, *entry;
	} aliases[] = {
		{"@hourly", "0 * * * *"},
		{"@daily", "0 0 * * *"},
		{"@midnight", "0 0 * * *"},
		{"@weekly", "0 0 * * 0"},
		{"@monthly", "0 0 1 * *"},
		{"@yearly", "0 0 1 1 *"},
		{"@annually", "0 0 1 1 *"},
	};
	for (size_t i = 0; i < COUNT_OF(aliases); i++)
		if (strlen(aliases[i].name) == length && !strncasecmp(aliases[i].name, text, length)) return aliases[i].entry;
	return NULL;
}

// Cuts the text at blanks; returns how many parts there are, of which the first five are kept.
static size_t split(char *text, char *parts[COUNT_OF(fields)]) {
	size_t count = 0;
	for (char *at = text + strspn(text, BLANKS); *at; at += strspn(at, BLANKS)) {
		if (count < COUNT_OF(fields)) parts[count] = at;
		count++;
		at += strcspn(at, BLANKS);
		if (*at) *at++ = '\0';
	}
	return count;
}

// Of the months allowed, the one with the most days must have one that is allowed.
static int check_calendar(const struct cron *cron, struct error *error) {
	static const unsigned char most_days[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	unsigned most = 0, first = 1;
	if (cron->either_day) return 0;
	for (unsigned month = 1; month <= 12; month++)
		if (cron->months & 1U << month && most_days[month] > most) most = most_days[month];
	while (!(cron->days & 1U << first)) first++;
	if (first <= most) return 0;
	return error_set(
		error, ERROR_INPUT, "day of month %u never comes: the months allowed have %u days at most", first, most);
}

static int read_fields(char *const parts[COUNT_OF(fields)], struct cron *cron, struct error *error) {
	uint64_t sets[COUNT_OF(fields)];
	for (size_t i = 0; i < COUNT_OF(fields); i++)
		if (read_field(&fields[i], parts[i], &sets[i], error)) return -1;
	*cron = (struct cron){
		.minutes = sets[MINUTE],
		.hours = (uint32_t)sets[HOUR],
		.days = (uint32_t)sets[DAY],
		.months = (uint32_t)sets[MONTH],
		.weekdays = (uint32_t)((sets[WEEKDAY] | sets[WEEKDAY] >> 7) & 0x7f),
		.either_day = parts[DAY][0] != '*' && parts[WEEKDAY][0] != '*',
	};
	return check_calendar(cron, error);
}

int cron_parse(const char *text, struct cron *cron, struct error *error) {
	size_t length = strlen(text);
	if (length > CRON_TEXT_MAX) return error_set(error, ERROR_INPUT, "more than %d bytes", CRON_TEXT_MAX);
	for (const char *at = text; *at; at++) // what is wrong is shown
		if ((*at < ' ' && *at != '\t') || *at > '~')
			return error_set(error, ERROR_INPUT, "it has control characters or some beyond ASCII");
	const char *start = text + strspn(text, BLANKS);
	const char *alias = alias_of(start, strcspn(start, BLANKS));
	if (*start == '@' && (!alias || start[strcspn(start, BLANKS) + strspn(start + strcspn(start, BLANKS), BLANKS)]))
		return error_set(error, ERROR_INPUT,
			"with @ there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually, each alone");
	AUTO_FREE char *copy = mem_strdup(alias ? alias : start);
	char *parts[COUNT_OF(fields)];
	size_t count = split(copy, parts);
	if (count == COUNT_OF(fields)) return read_fields(parts, cron, error);
	return error_set(error, ERROR_INPUT,
		"there must be five fields (minute, hour, day of month, month, day of week), not %zu", count);
}

size_t cron_numbers(uint64_t set, int64_t numbers[64]) {
	size_t count = 0;
	for (int number = 0; number < 64; number++)
		if (set >> number & 1) numbers[count++] = number;
	return count;
}

// ---- time zones

// The few that have digits in their names; all others with digits would be POSIX rules.
static bool zone_with_digits(const char *zone) {
	int offset = 0, length = 0;
	if (sscanf(zone, "Etc/GMT%d%n", &offset, &length) != 1 || zone[length]) return false;
	AUTO_FREE char *canonical = mem_format(offset ? "Etc/GMT%+d" : "Etc/GMT0", offset);
	return offset >= -14 && offset <= 12 && !strcmp(canonical, zone);
}

int cron_zone_check(const char *zone, struct error *error) {
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-/";
	const char *slash = strchr(zone, '/');
	bool area = slash && slash != zone && slash[1] && strlen(zone) <= 64 && !zone[strspn(zone, letters)] &&
		    strncasecmp(zone, "posix/", 6) != 0 && strncasecmp(zone, "right/", 6) != 0;
	if (area || !strcmp(zone, "UTC") || !strcmp(zone, "GMT") || zone_with_digits(zone)) return 0;
	return error_set(error, ERROR_INPUT, "it must be the name of an IANA time zone, such as UTC or Europe/Madrid");
}
