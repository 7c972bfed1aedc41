#include "lib/db.h"
#include "lib/mem.h"
#include "tests/unit/scratch_db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

static struct scratch_db scratch;
static struct db *db; // a connection to look and to act from beside

// ---- tools

static void must(const char *sql) {
	AUTO_ERROR struct error error = {0};
	if (db_script(db, sql, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
}

static int64_t ask(const char *sql) {
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	const struct db_statement deallocate = {"", sql};
	struct db *fresh;
	assert_int_equal(db_open(&scratch.config, &error, &fresh), 0);
	if (db_execute(fresh, &deallocate, NULL, &result, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
	int64_t value = db_get_int(result, 0, 0);
	db_result_free(result);
	db_close(fresh);
	return value;
}

// What came back of statements on a session.
struct rig {
	struct loop *loop;
	struct db_session *session;
	struct loop_timer *patience, *then;
	int awaited; // events after which the loop stops
	int done, listened, up, down;
	enum db_status status[64];
	char *text[64]; // first value, or the error
	bool close_in_done, again_in_done;
};

static void event(struct rig *rig) {
	if (rig->awaited && !--rig->awaited) loop_stop(rig->loop);
}

static void patience_lost(void *arg) {
	struct rig *rig = arg;
	loop_stop(rig->loop);
}

static void await(struct rig *rig, int events) {
	rig->awaited = events;
	loop_timer_set(rig->patience, PATIENCE_MS);
	loop_run(rig->loop);
	loop_timer_stop(rig->patience);
	if (rig->awaited) fail_msg("%d events did not come", rig->awaited);
}

static const struct db_statement echo = {"echo", "SELECT $1::text"};

static void on_done(enum db_status status, const struct db_result *result, const struct error *error, void *arg) {
	struct rig *rig = arg;
	assert_int_equal(status == DB_OK, result != NULL);
	const char *text = status == DB_OK ? (db_rows(result) ? db_get(result, 0, 0) : "") : error_text(error);
	rig->status[rig->done] = status;
	rig->text[rig->done++] = mem_strdup(text ? text : "NULL");
	if (rig->again_in_done) {
		rig->again_in_done = false;
		db_run(rig->session, &echo, NULL, 0, 0, on_done, rig); // a parameter is missing: refused
	}
	if (rig->close_in_done) db_session_close(STEAL(rig->session));
	event(rig);
}

static void on_listen(void *arg) {
	struct rig *rig = arg;
	rig->listened++;
	event(rig);
}

static void on_watch(int connected, const char *why, void *arg) {
	struct rig *rig = arg;
	if (connected)
		rig->up++;
	else
		rig->down++;
	assert_int_equal(why == NULL, connected);
	event(rig);
}

static void run(struct rig *rig, const struct db_statement *statement, const char *text, int64_t wait_ms, int64_t timeout_ms) {
	struct db_params *params = NULL;
	if (text) db_text(params = db_params_new(), text);
	db_run(rig->session, statement, params, wait_ms, timeout_ms, on_done, rig);
}

static void rig_open(struct rig *rig, const struct db_config *config) {
	*rig = (struct rig){.loop = loop_new()};
	rig->patience = loop_timer_new(rig->loop, patience_lost, rig);
	rig->session = db_session_open(rig->loop, config);
}

static void rig_connect(struct rig *rig) {
	rig_open(rig, &scratch.config);
	db_session_watch(rig->session, on_watch, rig);
	await(rig, 1);
	assert_int_equal(rig->up, 1);
	assert_true(db_session_ready(rig->session));
	db_session_watch(rig->session, NULL, NULL);
	rig->up = 0;
}

static void rig_close(struct rig *rig) {
	db_session_close(rig->session);
	for (int i = 0; i < rig->done; i++) free(rig->text[i]);
	loop_timer_free(rig->patience);
	loop_timer_free(rig->then);
	loop_free(rig->loop);
}

// ---- errors and results

static void an_error_is_judged_by_its_sqlstate(void **state UNUSED) {
	static const struct db_statement raise = {"raise", "SELECT raise_state($1)"};
	static const struct {
		const char *state;
		enum db_status status;
		enum error_kind kind;
	} cases[] = {
		{"40001", DB_RETRY, ERROR_CONFLICT},
		{"40P01", DB_RETRY, ERROR_CONFLICT},
		{"22021", DB_BAD_DATA, ERROR_INPUT},
		{"23505", DB_BAD_DATA, ERROR_INPUT},
		{"57014", DB_UNAVAILABLE, ERROR_UNAVAILABLE},
		{"53100", DB_UNAVAILABLE, ERROR_UNAVAILABLE},
		{"25006", DB_UNAVAILABLE, ERROR_UNAVAILABLE},
		{"42P01", DB_FAILED, ERROR_INTERNAL},
		{"42501", DB_FAILED, ERROR_INTERNAL},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_ERROR struct error error = {0};
		struct db_params *params = db_params_new();
		db_text(params, cases[i].state);
		assert_int_equal(db_execute(db, &raise, params, NULL, &error), cases[i].status);
		assert_int_equal(error.kind, cases[i].kind);
		assert_non_null(strstr(error_text(&error), cases[i].state));
		assert_null(strstr(error_text(&error), "secret")); // what stands in the detail
		db_params_free(params);
	}
}

static void options_that_cannot_be_read_are_the_callers_fault(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	struct db_config config = scratch.config;
	char options[] = "no_such_keyword=1";
	struct db *none = NULL;
	config.options = options;
	assert_int_equal(db_open(&config, &error, &none), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_non_null(strstr(error_text(&error), "POSTGRES_OPTIONS"));
}

// ---- sessions

static void statements_are_done_in_order_and_prepared_once(void **state UNUSED) {
	static const struct db_statement count = {
		"count_prepared", "SELECT count(*) FROM pg_prepared_statements WHERE name = 'echo'"};
	struct rig rig;
	rig_open(&rig, &scratch.config); // not yet connected
	run(&rig, &echo, "one", 5000, 0);
	run(&rig, &echo, "two", 5000, 1000);
	run(&rig, &echo, "three", 5000, 0);
	run(&rig, &count, NULL, 5000, 0);
	assert_int_equal(rig.done, 0);
	await(&rig, 4);
	assert_string_equal(rig.text[0], "one");
	assert_string_equal(rig.text[1], "two");
	assert_string_equal(rig.text[2], "three");
	assert_string_equal(rig.text[3], "1");
	assert_null(db_session_error(rig.session));
	assert_true(db_session_up_ms(rig.session) > 0);
	rig_close(&rig);
}

static void without_a_connection_a_statement_waits_no_longer_than_it_may(void **state UNUSED) {
	struct db_config nobody = scratch.config;
	char port[8];
	scratch_free_port(port);
	nobody.port = port;
	struct rig rig;
	rig_open(&rig, &nobody);
	int64_t start = loop_now_ms();
	run(&rig, &echo, "at once", 0, 0);
	run(&rig, &echo, "later", 300, 0);
	assert_int_equal(rig.done, 0);
	await(&rig, 1);
	assert_true(loop_now_ms() - start < 200);
	assert_int_equal(rig.status[0], DB_UNAVAILABLE);
	await(&rig, 1);
	assert_true(loop_now_ms() - start >= 300);
	assert_int_equal(rig.status[1], DB_UNAVAILABLE);
	assert_non_null(strstr(rig.text[1], "refused"));
	assert_non_null(db_session_error(rig.session));
	assert_false(db_session_ready(rig.session));
	rig_close(&rig);
}

static void a_statement_without_an_answer_in_time_costs_the_connection_and_no_more(void **state UNUSED) {
	static const struct db_statement slow = {"slow", "SELECT pg_sleep(60)"};
	struct rig rig;
	rig_connect(&rig);
	int64_t start = loop_now_ms();
	run(&rig, &slow, NULL, 0, 200);
	run(&rig, &echo, "after", 5000, 1000);
	await(&rig, 2);
	assert_int_equal(rig.status[0], DB_UNAVAILABLE);
	assert_non_null(strstr(rig.text[0], "no answer within 200 ms"));
	assert_int_equal(rig.status[1], DB_OK);
	assert_string_equal(rig.text[1], "after");
	assert_true(loop_now_ms() - start < 5000);
	rig_close(&rig);
}

static void terminate_others(void *arg UNUSED) {
	must("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'unit'");
}

static void a_backend_killed_in_the_middle_of_a_statement_is_replaced(void **state UNUSED) {
	static const struct db_statement slow = {"slow", "SELECT pg_sleep(60)"};
	struct rig rig;
	rig_connect(&rig);
	rig.then = loop_timer_new(rig.loop, terminate_others, &rig);
	db_session_watch(rig.session, on_watch, &rig);
	run(&rig, &slow, NULL, 0, 0);
	run(&rig, &echo, "must be connected now", 0, 0);
	run(&rig, &echo, "can wait", 5000, 0);
	loop_timer_set(rig.then, 100);
	await(&rig, 5);
	assert_int_equal(rig.status[0], DB_UNAVAILABLE);
	assert_int_equal(rig.status[1], DB_UNAVAILABLE);
	assert_int_equal(rig.status[2], DB_OK);
	assert_string_equal(rig.text[2], "can wait");
	assert_int_equal(rig.down, 1);
	assert_int_equal(rig.up, 1);
	rig_close(&rig);
}

static void a_server_that_was_away_is_found_again(void **state UNUSED) {
	struct rig rig;
	rig_connect(&rig);
	db_session_listen(rig.session, "canal", on_listen, &rig);
	await(&rig, 1);
	db_close(db);
	db = NULL;
	db_session_watch(rig.session, on_watch, &rig);
	scratch_down(&scratch);
	await(&rig, 1);
	assert_int_equal(rig.down, 1);
	assert_false(db_session_ready(rig.session));
	assert_true(db_session_up_ms(rig.session) == 0);
	run(&rig, &echo, "patient", PATIENCE_MS, 0);
	assert_int_equal(scratch_up(&scratch), 0);
	await(&rig, 3); // connected, listening again, done
	assert_int_equal(rig.up, 1);
	assert_int_equal(rig.listened, 2);
	assert_int_equal(rig.status[0], DB_OK);
	assert_int_equal(db_open(&scratch.config, NULL, &db), 0);
	must("NOTIFY canal");
	await(&rig, 1);
	assert_int_equal(rig.listened, 3);
	rig_close(&rig);
}

static void what_was_prepared_is_prepared_anew_where_the_server_lost_it(void **state UNUSED) {
	static const struct db_statement forget = {"forget", "DEALLOCATE ALL"};
	struct rig rig;
	rig_connect(&rig);
	run(&rig, &echo, "before", 0, 0);
	run(&rig, &forget, NULL, 0, 0);
	run(&rig, &echo, "after", 0, 0);
	run(&rig, &echo, "and then", 5000, 0);
	await(&rig, 4);
	assert_int_equal(rig.status[2], DB_OK);
	assert_string_equal(rig.text[2], "after");
	assert_int_equal(rig.status[3], DB_OK);
	rig_close(&rig);
}

static void a_table_that_changed_its_shape_costs_no_statement(void **state UNUSED) {
	static const struct db_statement all = {"shape", "SELECT * FROM shape"};
	must("CREATE TABLE shape AS SELECT 1 AS a");
	struct rig rig;
	rig_connect(&rig);
	run(&rig, &all, NULL, 0, 0);
	await(&rig, 1);
	must("ALTER TABLE shape ADD b integer");
	run(&rig, &all, NULL, 0, 0);
	await(&rig, 1);
	assert_int_equal(rig.status[1], DB_OK);
	assert_string_equal(rig.text[1], "1");
	rig_close(&rig);
	must("DROP TABLE shape");
}

static void an_error_of_one_statement_leaves_the_others_alone(void **state UNUSED) {
	static const struct db_statement zero = {"zero", "SELECT 1 / 0"}, none = {"none", "SELECT * FROM no_such_table"};
	struct rig rig;
	rig_connect(&rig);
	run(&rig, &zero, NULL, 0, 0);
	run(&rig, &none, NULL, 0, 0);
	run(&rig, &echo, "fine", 0, 0);
	await(&rig, 3);
	assert_int_equal(rig.status[0], DB_BAD_DATA);
	assert_int_equal(rig.status[1], DB_FAILED);
	assert_int_equal(rig.status[2], DB_OK);
	rig_close(&rig);
}

static void a_commit_that_fails_after_the_answer_is_no_success(void **state UNUSED) {
	static const struct db_statement insert = {"insert_late", "INSERT INTO late VALUES (1) RETURNING n"};
	struct rig rig;
	must("CREATE TABLE late (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)");
	rig_connect(&rig);
	run(&rig, &insert, NULL, 0, 0);
	run(&rig, &insert, NULL, 0, 0);
	run(&rig, &echo, "fine", 0, 0);
	await(&rig, 3);
	assert_int_equal(rig.status[0], DB_OK);
	assert_int_equal(rig.status[1], DB_BAD_DATA);
	assert_int_equal(rig.status[2], DB_OK);
	rig_close(&rig);
	must("DROP TABLE late");
}

static void a_callback_may_run_the_next_statement(void **state UNUSED) {
	struct rig rig;
	rig_connect(&rig);
	rig.again_in_done = true;
	run(&rig, &echo, "first", 0, 0);
	await(&rig, 2);
	assert_int_equal(rig.status[0], DB_OK);
	assert_int_equal(rig.status[1], DB_FAILED);
	rig_close(&rig);
}

static void a_callback_may_close_the_session(void **state UNUSED) {
	struct rig rig;
	rig_connect(&rig);
	rig.close_in_done = true;
	run(&rig, &echo, "first", 0, 0);
	run(&rig, &echo, "second", 0, 0);
	run(&rig, &echo, "third", 5000, 0);
	await(&rig, 3);
	assert_int_equal(rig.status[0], DB_OK);
	assert_int_equal(rig.status[1], DB_UNAVAILABLE);
	assert_int_equal(rig.status[2], DB_UNAVAILABLE);
	assert_null(rig.session);
	rig_close(&rig);
}

static void closing_answers_everything_that_waits(void **state UNUSED) {
	struct rig rig;
	rig_open(&rig, &scratch.config);
	run(&rig, &echo, "first", 5000, 0);
	run(&rig, &echo, "second", 5000, 0);
	db_session_close(STEAL(rig.session));
	assert_int_equal(rig.done, 2);
	assert_int_equal(rig.status[0], DB_UNAVAILABLE);
	assert_int_equal(rig.status[1], DB_UNAVAILABLE);
	rig_close(&rig);
}

static void megabytes_go_there_and_back(void **state UNUSED) {
	enum { SIZE = 24 << 20 };
	AUTO_FREE char *text = mem_zalloc(SIZE + 1);
	memset(text, 'x', SIZE);
	struct rig rig;
	rig_connect(&rig);
	run(&rig, &echo, text, 0, 0);
	run(&rig, &echo, "small", 0, 0);
	await(&rig, 2);
	assert_int_equal(rig.status[0], DB_OK);
	assert_int_equal(strlen(rig.text[0]), SIZE);
	assert_string_equal(rig.text[1], "small");
	rig_close(&rig);
}

static void of_several_hosts_the_first_that_answers_is_taken(void **state UNUSED) {
	struct db_config config = scratch.config;
	char closed[8];
	scratch_free_port(closed);
	AUTO_FREE char *options = mem_format("host=127.0.0.1,127.0.0.1 port=%s,%s", closed, scratch.port);
	config.options = options;
	struct rig rig;
	rig_open(&rig, &config);
	run(&rig, &echo, "here", 5000, 0);
	await(&rig, 1);
	assert_string_equal(rig.text[0], "here");
	rig_close(&rig);
}

static void a_session_leaves_no_connection_behind(void **state UNUSED) {
	for (int i = 0; i < 1500 && ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unit'") > 2; i++)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	assert_int_equal(ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unit'"), 2); // db, and who asks
}

static int start(void **state UNUSED) {
	if (scratch_open(&scratch) || db_open(&scratch.config, NULL, &db)) return -1;
	must("CREATE FUNCTION raise_state(text) RETURNS void LANGUAGE plpgsql AS"
	     " $$ BEGIN RAISE 'told to fail' USING ERRCODE = $1, DETAIL = 'secret'; END $$");
	return 0;
}

static int stop(void **state UNUSED) {
	db_close(db);
	scratch_close(&scratch);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_is_judged_by_its_sqlstate),
		cmocka_unit_test(options_that_cannot_be_read_are_the_callers_fault),
		cmocka_unit_test(statements_are_done_in_order_and_prepared_once),
		cmocka_unit_test(without_a_connection_a_statement_waits_no_longer_than_it_may),
		cmocka_unit_test(a_statement_without_an_answer_in_time_costs_the_connection_and_no_more),
		cmocka_unit_test(a_backend_killed_in_the_middle_of_a_statement_is_replaced),
		cmocka_unit_test(a_server_that_was_away_is_found_again),
		cmocka_unit_test(what_was_prepared_is_prepared_anew_where_the_server_lost_it),
		cmocka_unit_test(a_table_that_changed_its_shape_costs_no_statement),
		cmocka_unit_test(an_error_of_one_statement_leaves_the_others_alone),
		cmocka_unit_test(a_commit_that_fails_after_the_answer_is_no_success),
		cmocka_unit_test(a_callback_may_run_the_next_statement),
		cmocka_unit_test(a_callback_may_close_the_session),
		cmocka_unit_test(closing_answers_everything_that_waits),
		cmocka_unit_test(megabytes_go_there_and_back),
		cmocka_unit_test(of_several_hosts_the_first_that_answers_is_taken),
		cmocka_unit_test(a_session_leaves_no_connection_behind),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
