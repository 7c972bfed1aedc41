// Cron entries: the five fields of crontab(5), minute, hour, day of month, month, day of week, or one of @hourly, @daily,
// @midnight, @weekly, @monthly, @yearly, @annually. Pure; what comes next is PostgreSQL's to say (sql/0003-schedules.sql),
// because it knows the time zones.
//
// A field is a list, by commas, of *, a number, a range low-high, and a step /n behind * or a range. Months and days of the week
// have names too (jan, sun; their first three letters, any case), Sunday is 0 and 7. As in crontab(5), a day must fit both day fields; but
// where neither begins with *, one of them is enough.
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRON_TEXT_MAX 200 // bytes

// Sets: bit n is the number n.
struct cron {
	uint64_t minutes;
	uint32_t hours, days, months, weekdays; // Sunday is 0
	bool either_day;                        // day of month OR day of week
};

// ERROR_INPUT: the message names the field. A date that no calendar has (30 February) is an error too.
int cron_parse(const char *text, struct cron *cron, struct error *error) MUST_USE;

// The numbers in a set, ascending; returns how many.
size_t cron_numbers(uint64_t set, int64_t numbers[64]);

// Whether a name has the form of one of the IANA time zones (Area/City, UTC, GMT, Etc/GMT+5). PostgreSQL, which knows the names,
// would take abbreviations and home-made POSIX rules too, and some misspelt names as such. ERROR_INPUT.
int cron_zone_check(const char *zone, struct error *error) MUST_USE;
