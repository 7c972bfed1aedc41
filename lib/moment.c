#include "lib/moment.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

// `digits` digits as a number within [min, max]; moves behind them.
static bool number(const char **at, int digits, int min, int max, int *value) {
	*value = 0;
	for (int i = 0; i < digits; i++) {
		char digit = *(*at)++;
		if (digit < '0' || digit > '9') return false;
		*value = *value * 10 + (digit - '0');
	}
	return *value >= min && *value <= max;
}

static bool mark(const char **at, const char *allowed) {
	return **at && strchr(allowed, *(*at)++);
}

static int days_in(int year, int month) {
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

static bool read_fraction(const char **at, int *ms) {
	*ms = 0;
	if (**at != '.') return true;
	++*at;
	if (**at < '0' || **at > '9') return false;
	for (int scale = 100; **at >= '0' && **at <= '9'; scale /= 10) *ms += (*(*at)++ - '0') * scale;
	return true;
}

static bool read_offset(const char **at, int *minutes) {
	char sign = *(*at)++;
	int hour, minute;
	*minutes = 0;
	if (sign == 'Z' || sign == 'z') return true;
	if (sign != '+' && sign != '-') return false;
	if (!number(at, 2, 0, 23, &hour) || !mark(at, ":") || !number(at, 2, 0, 59, &minute)) return false;
	*minutes = (hour * 60 + minute) * (sign == '-' ? -1 : 1);
	return true;
}

int moment_read(const char *text, int64_t *moment_ms) {
	struct tm tm = {0};
	int ms, offset;
	bool date = number(&text, 4, 1, 9999, &tm.tm_year) && mark(&text, "-") && number(&text, 2, 1, 12, &tm.tm_mon) &&
		    mark(&text, "-") && number(&text, 2, 1, days_in(tm.tm_year, tm.tm_mon), &tm.tm_mday);
	bool time = date && mark(&text, "Tt ") && number(&text, 2, 0, 23, &tm.tm_hour) && mark(&text, ":") &&
		    number(&text, 2, 0, 59, &tm.tm_min) && mark(&text, ":") && number(&text, 2, 0, 60, &tm.tm_sec);
	if (!time || !read_fraction(&text, &ms) || !read_offset(&text, &offset) || *text) return -1;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*moment_ms = ((int64_t)timegm(&tm) - (int64_t)offset * 60) * 1000 + ms;
	return 0;
}
