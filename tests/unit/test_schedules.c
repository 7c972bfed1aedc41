// sql/0003-schedules.sql on a real PostgreSQL: when the moments are, and what firing does.
#include "lib/cron.h"
#include "lib/housekeeping_schedule.h"
#include "lib/ledger.h"
#include "lib/migrate.h"
#include "tests/unit/scratch_db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct scratch_db scratch;
static struct db *db;

// ---- asking the database

static struct db_result *asked(const struct db_statement *statement, struct db_params *params) {
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	if (db_execute(db, statement, params, &result, &error) != DB_OK) fail_msg("%s: %s", statement->sql, error_text(&error));
	db_params_free(params);
	return result;
}

static void must(const char *sql) {
	AUTO_ERROR struct error error = {0};
	if (db_script(db, sql, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
}

// The one value that a statement gives, as text; by EXECUTE, so that no statement needs a name of its own.
static char *value(const char *sql) {
	static const struct db_statement statement = {"value", "SELECT unit_value($1::text)"};
	struct db_params *params = db_params_new();
	db_text(params, sql);
	struct db_result *result = asked(&statement, params);
	char *text = mem_strdup(db_get(result, 0, 0));
	db_result_free(result);
	return text;
}

static void assert_value(const char *sql, const char *expected) {
	AUTO_FREE char *found = value(sql);
	if (!found || strcmp(found, expected) != 0) fail_msg("%s: %s, not %s", sql, found ? found : "NULL", expected);
}

static void add_set(struct db_params *params, uint64_t set) {
	int64_t numbers[64];
	db_int_array(params, numbers, cron_numbers(set, numbers));
}

static void add_entry(struct db_params *params, const char *entry) {
	AUTO_ERROR struct error error = {0};
	struct cron cron;
	if (cron_parse(entry, &cron, &error)) fail_msg("%s: %s", entry, error_text(&error));
	add_set(params, cron.minutes);
	add_set(params, cron.hours);
	add_set(params, cron.days);
	add_set(params, cron.months);
	add_set(params, cron.weekdays);
	db_int(params, cron.either_day);
}

// ---- the next moment

static char *next_moment(const char *entry, const char *zone, const char *after) {
	static const struct db_statement statement = {"next",
		"SELECT to_char(schedules_next($1::smallint[], $2::smallint[], $3::smallint[], $4::smallint[], $5::smallint[],"
		" $6::integer::boolean, $7::text, $8::timestamptz) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"};
	struct db_params *params = db_params_new();
	add_entry(params, entry);
	db_text(params, zone);
	db_text(params, after);
	struct db_result *result = asked(&statement, params);
	char *text = mem_strdup(db_get(result, 0, 0));
	db_result_free(result);
	return text;
}

// The moments that follow, each found from the one before; in UTC, without their seconds.
static void assert_moments(const char *entry, const char *zone, const char *after, const char *const *moments, size_t count) {
	AUTO_FREE char *last = mem_format("%s", after);
	for (size_t i = 0; i < count; i++) {
		AUTO_FREE char *from = mem_format("%s+00", last), *expected = mem_format("%s:00", moments[i]);
		char *found = next_moment(entry, zone, from);
		if (!found || strcmp(found, expected) != 0)
			fail_msg("\"%s\" in %s after %s: %s, not %s", entry, zone, last, found ? found : "never", expected);
		free(last);
		last = found;
	}
}
#define MOMENTS(entry, zone, after, ...)                                                                                       \
	assert_moments(entry, zone, after, (const char *const[]){__VA_ARGS__},                                                 \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void the_next_moment_is_later_than_the_one_given(void **state UNUSED) {
	MOMENTS("*/15 * * * *", "UTC", "2026-01-01 00:00:00", "2026-01-01 00:15", "2026-01-01 00:30", "2026-01-01 00:45",
		"2026-01-01 01:00");
	MOMENTS("*/15 * * * *", "UTC", "2026-01-01 00:14:59.999", "2026-01-01 00:15");
	MOMENTS("30 4 * * *", "UTC", "2026-01-01 04:29:59.9", "2026-01-01 04:30", "2026-01-02 04:30");
	MOMENTS("59 23 31 12 *", "UTC", "2026-01-01 00:00", "2026-12-31 23:59", "2027-12-31 23:59");
	MOMENTS("0 0 1,15 */6 *", "UTC", "2026-01-01 00:00", "2026-01-15 00:00", "2026-07-01 00:00", "2026-07-15 00:00",
		"2027-01-01 00:00");
}

static void a_zone_s_clock_counts(void **state UNUSED) {
	MOMENTS("0 9 * * 1-5", "Europe/Madrid", "2026-01-02 12:00", "2026-01-05 08:00", "2026-01-06 08:00");
	MOMENTS("0 9 * * 1-5", "Asia/Tokyo", "2026-01-02 12:00", "2026-01-05 00:00");
	MOMENTS("0 0 1 * *", "Pacific/Kiritimati", "2026-01-15 00:00", "2026-01-31 10:00");
	MOMENTS("0 0 1 * *", "Etc/GMT+12", "2026-01-15 00:00", "2026-02-01 12:00");
	MOMENTS("0 * * * *", "Asia/Kathmandu", "2026-01-15 00:00", "2026-01-15 00:15", "2026-01-15 01:15");
}

static void both_day_fields_restricted_means_either(void **state UNUSED) {
	MOMENTS("0 0 13 * 5", "UTC", "2026-02-01 00:00", "2026-02-06 00:00", "2026-02-13 00:00", "2026-02-20 00:00",
		"2026-02-27 00:00", "2026-03-06 00:00");
	MOMENTS("0 0 */2 * 5", "UTC", "2026-02-01 00:00", "2026-02-13 00:00", "2026-02-27 00:00", "2026-03-13 00:00");
}

static void leap_years_are_the_calendar_s(void **state UNUSED) {
	MOMENTS("0 12 29 2 *", "UTC", "2026-01-01 00:00", "2028-02-29 12:00", "2032-02-29 12:00");
	MOMENTS("0 12 29 2 *", "UTC", "2096-03-01 00:00", "2104-02-29 12:00");
	MOMENTS("0 12 29 2 *", "UTC", "1999-01-01 00:00", "2000-02-29 12:00");
	MOMENTS("0 12 29 2 */7", "UTC", "2088-03-01 00:00", "2128-02-29 12:00");
	MOMENTS("0 * 29 2 */7", "UTC", "2088-03-01 00:00", "2128-02-29 00:00", "2128-02-29 01:00");
	MOMENTS("0 0 31 * *", "UTC", "2026-03-31 00:00", "2026-05-31 00:00", "2026-07-31 00:00", "2026-08-31 00:00");
}

// Europe/Madrid: 2026-03-29 02:00 becomes 03:00 (at 01:00 UTC).
static void a_time_in_the_skipped_hour_comes_when_the_clock_jumps(void **state UNUSED) {
	MOMENTS("30 2 * * *", "Europe/Madrid", "2026-03-27 12:00", "2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30");
	MOMENTS("0 2 * * *", "Europe/Madrid", "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-30 00:00");
	MOMENTS("30 2 29 3 *", "Europe/Madrid", "2026-03-28 12:00", "2026-03-29 01:00", "2027-03-29 00:30");
	// America/New_York: 2026-03-08 02:00 becomes 03:00 (at 07:00 UTC)
	MOMENTS("15 2 * * *", "America/New_York", "2026-03-07 12:00", "2026-03-08 07:00", "2026-03-09 06:15");
	// Australia/Lord_Howe: 2026-10-04 02:00 becomes 02:30 (at 15:30 UTC the day before)
	MOMENTS("15 2 * * *", "Australia/Lord_Howe", "2026-10-02 14:00", "2026-10-02 15:45", "2026-10-03 15:30",
		"2026-10-04 15:15");
	MOMENTS("45 2 * * *", "Australia/Lord_Howe", "2026-10-03 14:00", "2026-10-03 15:45");
	// where it jumps at midnight, that day's 00:30 comes at 01:00
	MOMENTS("30 0 * * *", "Africa/Cairo", "2026-04-23 12:00", "2026-04-23 22:00", "2026-04-24 21:30");
	// a whole day that a zone has left out
	MOMENTS("0 12 30 12 *", "Pacific/Apia", "2011-12-01 00:00", "2011-12-30 10:00", "2012-12-29 22:00");
}

static void several_times_in_the_skipped_hour_come_once(void **state UNUSED) {
	MOMENTS("*/15 2 * * *", "Europe/Madrid", "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-30 00:00",
		"2026-03-30 00:15");
	MOMENTS("0,30 2,3 * * *", "Europe/Madrid", "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-29 01:30",
		"2026-03-30 00:00");
}

// Europe/Madrid: 2026-10-25 03:00 becomes 02:00 (at 01:00 UTC).
static void a_time_in_the_repeated_hour_comes_the_first_time(void **state UNUSED) {
	MOMENTS("30 2 * * *", "Europe/Madrid", "2026-10-24 12:00", "2026-10-25 00:30", "2026-10-26 01:30");
	MOMENTS("30 2 * * *", "Europe/Madrid", "2026-10-25 01:10", "2026-10-26 01:30");
	MOMENTS("0 3 * * *", "Europe/Madrid", "2026-10-24 12:00", "2026-10-25 02:00", "2026-10-26 02:00");
	MOMENTS("*/30 2 * * *", "Europe/Madrid", "2026-10-24 12:00", "2026-10-25 00:00", "2026-10-25 00:30",
		"2026-10-26 01:00");
	MOMENTS("30 1 * * *", "America/New_York", "2026-10-31 12:00", "2026-11-01 05:30", "2026-11-02 06:30");
	// 2026-04-05 02:00 becomes 01:30 (at 15:00 UTC the day before)
	MOMENTS("45 1 * * *", "Australia/Lord_Howe", "2026-04-04 12:00", "2026-04-04 14:45", "2026-04-05 15:15");
	// back over midnight: Cuba's 2026-11-01 01:00 becomes 00:00 (at 05:00 UTC)
	MOMENTS("30 0 * * *", "America/Havana", "2026-10-31 12:00", "2026-11-01 04:30", "2026-11-02 05:30");
}

static void every_hour_goes_on_by_the_clock(void **state UNUSED) {
	MOMENTS("*/30 * * * *", "Europe/Madrid", "2026-03-29 00:20", "2026-03-29 00:30", "2026-03-29 01:00",
		"2026-03-29 01:30");
	MOMENTS("*/30 * * * *", "Europe/Madrid", "2026-10-24 23:50", "2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00",
		"2026-10-25 01:30", "2026-10-25 02:00");
	MOMENTS("0 * * * *", "America/New_York", "2026-11-01 04:30", "2026-11-01 05:00", "2026-11-01 06:00",
		"2026-11-01 07:00");
	MOMENTS("0 0-23 * * *", "America/New_York", "2026-11-01 04:30", "2026-11-01 05:00", "2026-11-01 06:00");
	MOMENTS("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04 14:40", "2026-04-04 14:45", "2026-04-04 15:00",
		"2026-04-04 15:15", "2026-04-04 15:30");
	// in the half hour left out no clock shows :15
	MOMENTS("15 * * * *", "Australia/Lord_Howe", "2026-10-03 14:00", "2026-10-03 14:45", "2026-10-03 16:15");
	MOMENTS("30 * 29 3 *", "Europe/Madrid", "2026-03-28 12:00", "2026-03-28 23:30", "2026-03-29 00:30", "2026-03-29 01:30");
	MOMENTS("0 * 25 10 *", "Europe/Madrid", "2026-10-25 21:30", "2026-10-25 22:00", "2027-10-24 22:00");
}

static void a_zone_that_is_not_known_is_an_error_of_the_data(void **state UNUSED) {
	static const struct db_statement statement = {
		"unknown", "SELECT schedules_next('{0}', '{0}', '{1}', '{1}', '{0}', true, 'Nowhere/At_All', now())"};
	AUTO_ERROR struct error error = {0};
	assert_int_equal(db_execute(db, &statement, NULL, NULL, &error), DB_BAD_DATA);
}

// ---- firing

// A schedule that is due `due` (an SQL expression).
static void make(const char *name, const char *entry, const char *missed, const char *spec, const char *due) {
	static const struct db_statement statement = {"make",
		"INSERT INTO schedules (id, owner, usuario, admin, name, cron, zone, url, spec, fingerprint, missed, minutes, hours, days,"
		" months, weekdays, either_day) VALUES (gen_random_uuid(), 'sub-1', 'ana', false, $7::text, '-', 'UTC',"
		" 'https://example.org/x.git', $8::jsonb, 'print', $9::text, $1::smallint[], $2::smallint[], $3::smallint[],"
		" $4::smallint[], $5::smallint[], $6::integer::boolean)"};
	struct db_params *params = db_params_new();
	add_entry(params, entry);
	db_text(params, name);
	db_text(params, spec);
	db_text(params, missed);
	db_result_free(asked(&statement, params));
	AUTO_FREE char *set = mem_format("UPDATE schedules SET next_at = %s WHERE name = '%s'", due, name);
	must(set);
}

static void assert_fired(const char *expected) {
	assert_value("SELECT coalesce(string_agg(f.answer || ' ' || s.name, ', ' ORDER BY s.name), 'none')"
		     " FROM schedules_fire(100, 60) f JOIN schedules s ON s.id = f.schedule",
		expected);
}

static int clear(void **state UNUSED) {
	must("TRUNCATE schedules, trabajos CASCADE; DELETE FROM queue; DELETE FROM concurrency; DELETE FROM delayed");
	return 0;
}

static void a_due_schedule_gives_one_job_and_moves_on(void **state UNUSED) {
	make("due", "* * * * *", "skip", "{\"ref\":\"main\",\"priority\":7,\"timeout_s\":9,\"retries\":2}",
		"date_trunc('minute', now())");
	make("later", "* * * * *", "skip", "{}", "now() + interval '1 minute'");
	assert_fired("fired due");
	assert_fired("none");
	assert_value(
		"SELECT concat_ws(' ', owner, usuario, url, ref, priority, timeout_s, retries, status, attempt, fingerprint)"
		" FROM trabajos",
		"sub-1 ana https://example.org/x.git main 7 9 2 Queued 0 print");
	assert_value("SELECT count(*)::text FROM queue q JOIN trabajos t USING (key) JOIN schedules s ON s.last_key = t.key"
		     " WHERE s.name = 'due' AND s.last_at <= t.posted_at",
		"1");
	assert_value(
		"SELECT (next_at > now() AND next_at <= now() + interval '1 minute')::text FROM schedules WHERE name = 'due'",
		"true");
}

static void the_key_tells_the_schedule_and_its_moment(void **state UNUSED) {
	make("due", "* * * * *", "skip", "{}", "date_trunc('minute', now())");
	assert_fired("fired due");
	assert_value(
		"SELECT (last_key = schedules_key(id, last_at) AND last_key <> schedules_key(id, next_at)"
		" AND last_key::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')::text FROM schedules",
		"true");
	// even if the row went back, as after a restored backup, the moment has one job
	must("UPDATE schedules SET next_at = last_at");
	assert_fired("fired due");
	assert_value("SELECT count(*)::text FROM trabajos", "1");
	assert_value("SELECT count(*)::text FROM queue", "1");
}

static void the_key_is_as_documented(void **state UNUSED) {
	// Python: b = bytearray(sha256(UUID(id).bytes + struct.pack('>q', 1767225600)).digest()[:16]), then version 8 and variant
	assert_value("SELECT schedules_key('01234567-89ab-7def-8123-456789abcdef', '2026-01-01 00:00Z')::text",
		"7ff24bcd-4c7b-8662-bcac-7106408858cf");
}

static void missed_moments_are_skipped_where_asked(void **state UNUSED) {
	make("long", "0 3 * * *", "skip", "{}", "date_trunc('day', now()) - interval '5 days'");
	make("minutes", "* * * * *", "skip", "{}", "date_trunc('minute', now()) - interval '10 minutes'");
	assert_fired("skipped long, skipped minutes");
	assert_value("SELECT count(*)::text FROM trabajos", "0");
	assert_value(
		"SELECT bool_and(skipped_at < now() - interval '9 minutes' AND last_at IS NULL)::text FROM schedules", "true");
	assert_value("SELECT (next_at > now())::text FROM schedules WHERE name = 'long'", "true");
	// of every minute, the one that is not too old is still run
	assert_fired("fired minutes");
	assert_value("SELECT (last_at > now() - interval '61 seconds')::text FROM schedules WHERE name = 'minutes'", "true");
}

static void a_moment_within_the_grace_is_not_missed(void **state UNUSED) {
	make("late", "0 0 1 1 *", "skip", "{}", "now() - interval '50 seconds'");
	assert_fired("fired late");
}

static void missed_moments_run_once_where_asked(void **state UNUSED) {
	make("daily", "0 3 * * *", "once", "{}", "date_trunc('day', now()) - interval '5 days'");
	make("minutes", "* * * * *", "once", "{}", "date_trunc('minute', now()) - interval '10 minutes'");
	assert_fired("fired daily, fired minutes");
	assert_fired("none");
	assert_value("SELECT count(*)::text FROM trabajos", "2");
	assert_value("SELECT bool_and(next_at > now() AND skipped_at IS NULL)::text FROM schedules", "true");
	assert_value("SELECT bool_and(posted_at > now() - interval '1 minute')::text FROM trabajos", "true");
}

static void a_schedule_that_cannot_go_on_keeps_no_other(void **state UNUSED) {
	make("broken", "* * * * *", "once", "{}", "now() - interval '2 minutes'");
	make("fine", "* * * * *", "once", "{}", "now() - interval '1 minute'");
	must("UPDATE schedules SET zone = 'Gone/City' WHERE name = 'broken'");
	assert_fired("broken broken, fired fine");
	assert_fired("none");
	assert_value("SELECT problem FROM schedules WHERE name = 'broken' AND next_at IS NULL",
		"time zone \"Gone/City\" not recognized");
}

static void a_concurrency_key_holds_for_scheduled_jobs(void **state UNUSED) {
	make("exclusive", "* * * * *", "once", "{\"concurrency_key\":\"db\"}", "now() - interval '2 minutes'");
	assert_fired("fired exclusive");
	must("UPDATE schedules SET next_at = now()");
	assert_fired("fired exclusive");
	assert_value("SELECT count(*)::text FROM trabajos WHERE concurrency_key = 'db' AND concurrency_limit = 1", "2");
	assert_value("SELECT count(*)::text FROM queue", "1");
}

// ---- the chore

#define KEEPERS 3

struct keeping {
	struct loop *loop;
	struct db_session *sessions[KEEPERS];
	struct housekeeping_schedule *chores[KEEPERS];
	struct loop_timer *look;
	const char *until; // a statement that gives 'true'
	unsigned looks;
};

static void look(void *arg) {
	struct keeping *keeping = arg;
	AUTO_FREE char *over = value(keeping->until);
	if ((over && !strcmp(over, "true")) || ++keeping->looks == 2000)
		loop_stop(keeping->loop);
	else
		loop_timer_set(keeping->look, 10);
}

// Several programs keep house until the statement gives true.
static void keep_house(const char *until) {
	struct keeping keeping = {.loop = loop_new(), .until = until};
	for (int i = 0; i < KEEPERS; i++) {
		keeping.sessions[i] = db_session_open(keeping.loop, &scratch.config);
		keeping.chores[i] = housekeeping_schedule_start(keeping.loop, keeping.sessions[i]);
	}
	keeping.look = loop_timer_new(keeping.loop, look, &keeping);
	loop_timer_set(keeping.look, 0);
	loop_run(keeping.loop);
	for (int i = 0; i < KEEPERS; i++) housekeeping_schedule_stop(keeping.chores[i]);
	for (int i = 0; i < KEEPERS; i++) db_session_close(keeping.sessions[i]);
	loop_timer_free(keeping.look);
	loop_free(keeping.loop);
	assert_in_range(keeping.looks, 0, 1999);
}

static void many_keepers_fire_each_moment_once(void **state UNUSED) {
	for (int i = 0; i < 200; i++) {
		AUTO_FREE char *name = mem_format("schedule-%d", i), *spec = mem_format("{\"concurrency_key\":\"%d\"}", i % 5);
		make(name, "0 3 * * *", "once", i % 2 ? spec : "{}", "now() - interval '1 hour'");
	}
	keep_house("SELECT (count(*) = 0)::text FROM schedules WHERE next_at <= now()");
	assert_value("SELECT count(*)::text FROM trabajos", "200");
	assert_value("SELECT count(DISTINCT last_key)::text FROM schedules", "200");
	assert_value("SELECT count(*)::text FROM queue", "105");
}

// Whoever takes the first half meets the keys in the opposite order of whoever takes the second.
static void keepers_that_meet_the_same_concurrency_keys_fire_each_moment_once(void **state UNUSED) {
	enum { SCHEDULES = 200, HALF = 50, KEYS = 10, LIMIT = 2 };
	for (int i = 0; i < SCHEDULES; i++) {
		int key = i / HALF % 2 ? KEYS - 1 - i % KEYS : i % KEYS;
		AUTO_FREE char *name = mem_format("schedule-%d", i),
			       *spec = mem_format("{\"concurrency_key\":\"%d\",\"concurrency_limit\":%d}", key, LIMIT);
		make(name, "0 3 * * *", "once", spec, "now() - interval '1 hour'");
	}
	keep_house("SELECT (count(*) = 0)::text FROM schedules WHERE next_at <= now()");
	assert_value("SELECT count(*)::text FROM trabajos", "200");
	assert_value("SELECT count(*)::text FROM concurrency", "200");
	assert_value("SELECT count(DISTINCT last_key)::text FROM schedules", "200");
	// of each key as many as may run, no more and no fewer
	assert_value(
		"SELECT string_agg(DISTINCT jobs::text, ' ') || ' of ' || count(*) FROM (SELECT t.concurrency_key, count(q.key) AS jobs"
		" FROM trabajos t LEFT JOIN queue q ON q.key = t.key GROUP BY t.concurrency_key) k",
		"2 of 10");
	assert_value("SELECT count(*)::text FROM concurrency WHERE holds", "20");
}

static void a_moment_to_come_is_awaited(void **state UNUSED) {
	make("soon", "* * * * *", "skip", "{}", "now() + interval '700 milliseconds'");
	keep_house("SELECT (count(*) = 1)::text FROM trabajos");
	assert_value("SELECT (t.posted_at >= s.last_at)::text FROM trabajos t JOIN schedules s ON s.last_key = t.key", "true");
}

struct hearing {
	struct loop *loop;
	unsigned heard;
};

// Called once for the connection, then for each notification.
static void heard(void *arg) {
	struct hearing *hearing = arg;
	if (++hearing->heard == 1)
		assert_fired("fired due");
	else
		loop_stop(hearing->loop);
}

static void idle_workers_are_told(void **state UNUSED) {
	make("due", "* * * * *", "once", "{}", "now()");
	struct hearing hearing = {.loop = loop_new()};
	struct db_session *session = db_session_open(hearing.loop, &scratch.config);
	db_session_listen(session, LEDGER_CHANNEL, heard, &hearing);
	loop_run(hearing.loop);
	db_session_close(session);
	loop_free(hearing.loop);
	assert_int_equal(hearing.heard, 2);
}

// ---- the group

static int open_group(void **state UNUSED) {
	if (scratch_open(&scratch) || db_open(&scratch.config, NULL, &db)) return -1;
	if (migrate_apply(db, NULL, NULL, NULL)) return -1;
	must("CREATE FUNCTION unit_value(statement text) RETURNS text LANGUAGE plpgsql AS $$"
	     " DECLARE v text; BEGIN EXECUTE statement INTO v; RETURN v; END $$");
	return 0;
}

static int close_group(void **state UNUSED) {
	db_close(db);
	scratch_close(&scratch);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_next_moment_is_later_than_the_one_given),
		cmocka_unit_test(a_zone_s_clock_counts),
		cmocka_unit_test(both_day_fields_restricted_means_either),
		cmocka_unit_test(leap_years_are_the_calendar_s),
		cmocka_unit_test(a_time_in_the_skipped_hour_comes_when_the_clock_jumps),
		cmocka_unit_test(several_times_in_the_skipped_hour_come_once),
		cmocka_unit_test(a_time_in_the_repeated_hour_comes_the_first_time),
		cmocka_unit_test(every_hour_goes_on_by_the_clock),
		cmocka_unit_test(a_zone_that_is_not_known_is_an_error_of_the_data),
		cmocka_unit_test_setup(a_due_schedule_gives_one_job_and_moves_on, clear),
		cmocka_unit_test_setup(the_key_tells_the_schedule_and_its_moment, clear),
		cmocka_unit_test(the_key_is_as_documented),
		cmocka_unit_test_setup(missed_moments_are_skipped_where_asked, clear),
		cmocka_unit_test_setup(a_moment_within_the_grace_is_not_missed, clear),
		cmocka_unit_test_setup(missed_moments_run_once_where_asked, clear),
		cmocka_unit_test_setup(a_schedule_that_cannot_go_on_keeps_no_other, clear),
		cmocka_unit_test_setup(a_concurrency_key_holds_for_scheduled_jobs, clear),
		cmocka_unit_test_setup(many_keepers_fire_each_moment_once, clear),
		cmocka_unit_test_setup(keepers_that_meet_the_same_concurrency_keys_fire_each_moment_once, clear),
		cmocka_unit_test_setup(a_moment_to_come_is_awaited, clear),
		cmocka_unit_test_setup(idle_workers_are_told, clear),
	};
	return cmocka_run_group_tests(tests, open_group, close_group);
}
