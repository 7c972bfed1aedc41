// What clients were told reaches the ledger in batches, and never fills the memory.

#include "frontend/meters.h"
#include "frontend/told.h"
#include "lib/migrate.h"
#include "tests/unit/loop_rig.h"
#include "tests/unit/scratch_db.h"

static struct scratch_db scratch;
static struct db *db;
static struct db_session *session;
static struct told *told;
static struct loop_timer *look;

// Of a question asked once.
static int64_t number(const char *sql) {
	AUTO_ERROR struct error error = {0};
	const struct db_statement statement = {"", sql};
	struct db_result *result = NULL;
	struct db *asking;
	assert_int_equal(db_open(&scratch.config, NULL, &asking), 0);
	if (db_execute(asking, &statement, NULL, &result, &error) != DB_OK) fail_msg("%s", error_text(&error));
	int64_t value = db_get_int(result, 0, 0);
	db_result_free(result);
	db_close(asking);
	return value;
}

static void note(int64_t attempt) {
	struct told_range range = {.key = "00000000-0000-7000-8000-000000000001",
		.attempt = attempt,
		.at_ms = 1000 + attempt % 1000,
		.low_ms = 1,
		.high_ms = 2};
	told_note(told, &range);
}

static void stop_when_all_is_written(void *arg) {
	(void)arg;
	if (told_idle(told))
		stop(NULL);
	else
		loop_timer_set(look, 5);
}

static void stop_when_connected(int connected, const char *why, void *arg) {
	(void)why;
	if (connected) stop(arg);
}

static int open_all(void **state) {
	setup(state);
	meters_register();
	if (db_script(db, "TRUNCATE ranges_told", NULL) != DB_OK) return -1;
	told = told_open(loop);
	look = loop_timer_new(loop, stop_when_all_is_written, NULL);
	session = db_session_open(loop, &scratch.config);
	db_session_watch(session, stop_when_connected, NULL);
	loop_run(loop);
	return 0;
}

static int close_all(void **state) {
	db_session_close(session);
	told_close(told);
	loop_timer_free(look);
	return teardown(state);
}

static void what_is_told_is_written_together(void **state) {
	(void)state;
	int64_t kept = metric_get(&meter_told_kept);
	told_ledger(told, session);
	for (int i = 0; i < 40; i++) note(i % 4);
	assert_int_equal(number("SELECT count(*) FROM ranges_told"), 0);
	loop_timer_set(look, 0);
	loop_run(loop);
	assert_int_equal(number("SELECT count(*) FROM ranges_told"), 4);
	assert_int_equal(number("SELECT sum(told) FROM ranges_told"), 40);
	assert_int_equal(number("SELECT count(DISTINCT xmin::text) FROM ranges_told"), 1);
	assert_int_equal(metric_get(&meter_told_kept) - kept, 40);
}

static void without_a_ledger_it_waits_in_bounded_memory(void **state) {
	(void)state;
	int64_t lost = metric_get(&meter_told_lost);
	for (int i = 0; i < 5000; i++) note(i);
	assert_true(told_idle(told)); // nobody waits for a ledger that is away
	lost = metric_get(&meter_told_lost) - lost;
	assert_true(lost > 0 && lost < 5000);
	told_ledger(told, session);
	loop_timer_set(look, 0);
	loop_run(loop);
	assert_int_equal(number("SELECT count(*) FROM ranges_told"), 5000 - lost);
}

static void what_the_ledger_refuses_is_given_up(void **state) {
	(void)state;
	int64_t lost = metric_get(&meter_told_lost);
	told_ledger(told, session);
	note(INT64_MAX); // no attempt has this number
	loop_timer_set(look, 0);
	loop_run(loop);
	assert_int_equal(metric_get(&meter_told_lost) - lost, 1);
	assert_int_equal(number("SELECT count(*) FROM ranges_told"), 0);
}

static int open_db(void **state) {
	(void)state;
	AUTO_ERROR struct error error = {0};
	return scratch_open(&scratch) || db_open(&scratch.config, &error, &db) || migrate_apply(db, NULL, NULL, &error) ? -1
															: 0;
}

static int close_db(void **state) {
	(void)state;
	db_close(db);
	scratch_close(&scratch);
	return 0;
}

int main(void) {
#define TOLD_TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
	const struct CMUnitTest tests[] = {
		TOLD_TEST(what_is_told_is_written_together),
		TOLD_TEST(without_a_ledger_it_waits_in_bounded_memory),
		TOLD_TEST(what_the_ledger_refuses_is_given_up),
	};
	return cmocka_run_group_tests_name("told", tests, open_db, close_db);
}
