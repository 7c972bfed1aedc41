// What keeps the house, against a real PostgreSQL and librdkafka's mock cluster: that it is done, that a chore which fails says so
// and goes on, and that nobody waits for it at the end.
#include "lib/housekeeping.c"
#include "lib/migrate.h"
#include "tests/unit/scratch_db.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { PATIENCE_MS = 30000, LOOK_MS = 20 };

static struct scratch_db scratch;
static struct db *db;
static rd_kafka_t *host;
static rd_kafka_mock_cluster_t *cluster;

static void must(const char *sql) {
	AUTO_ERROR struct error error = {0};
	if (db_script(db, sql, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
}

// Whether a question is answered by a true boolean.
static bool is_true(const char *sql) {
	static const struct db_statement ask = {"unit_ask", "SELECT unit_ask($1)::integer"};
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	struct db_params *params = db_params_new();
	db_text(params, sql);
	if (db_execute(db, &ask, params, &result, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
	bool yes = db_get_int(result, 0, 0) != 0;
	db_result_free(result);
	db_params_free(params);
	return yes;
}

// ---- a house

struct rig {
	struct loop *loop;
	struct loop_timer *look;
	int64_t until_ms;
	const char *question; // in SQL; or
	const char *const *messages;
	size_t count;
	int log_fd, stderr_fd;

	struct db_session *session;
	struct publisher *publisher;
	struct housekeeping *house;
	int requeued;
};

static struct rig rig;

static void requeued(void *arg UNUSED) {
	rig.requeued++;
}

static bool all_said(void) {
	char text[65536];
	ssize_t length = pread(rig.log_fd, text, sizeof(text) - 1, 0);
	text[length > 0 ? length : 0] = '\0';
	for (size_t i = 0; i < rig.count; i++)
		if (!strstr(text, rig.messages[i])) return false;
	return true;
}

static void look(void *arg UNUSED) {
	if (rig.question ? is_true(rig.question) : all_said())
		loop_stop(rig.loop);
	else if (loop_now_ms() > rig.until_ms)
		fail_msg("not seen in time: %s", rig.question ? rig.question : "what the log must say");
	else
		loop_timer_set(rig.look, LOOK_MS);
}

static void run_until_seen(const char *question, const char *const *messages, size_t count) {
	rig.question = question;
	rig.messages = messages;
	rig.count = count;
	rig.until_ms = loop_now_ms() + PATIENCE_MS;
	loop_timer_set(rig.look, 0);
	loop_run(rig.loop);
}

static int open_house(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	char *bootstrap = (char *)(uintptr_t)rd_kafka_mock_cluster_bootstraps(cluster);
	const struct kafka_config kafka = {
		.bootstrap = bootstrap, .extra = NULL, .partitions = 1, .replication = 1, .retention_h = 168};
	const struct housekeeping_config config = {.lease_s = 1, .max_attempts = 2, .retention_days = 30, .requeued = requeued};
	must("TRUNCATE trabajos, workers");
	rig = (struct rig){.loop = loop_new()};
	rig.look = loop_timer_new(rig.loop, look, NULL);
	rig.log_fd = memfd_create("log", MFD_CLOEXEC);
	rig.stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(rig.log_fd, STDERR_FILENO);
	rig.session = db_session_open(rig.loop, &scratch.config);
	if (publisher_open(rig.loop, &kafka, rig.session, &rig.publisher, &error)) return -1;
	rig.house = housekeeping_start(rig.loop, &config, rig.session, rig.publisher);
	return 0;
}

static int close_house(void **state UNUSED) {
	housekeeping_stop(rig.house);
	db_session_close(rig.session);
	publisher_close(rig.publisher, 1000);
	dup2(rig.stderr_fd, STDERR_FILENO);
	close(rig.stderr_fd);
	close(rig.log_fd);
	loop_timer_free(rig.look);
	loop_free(rig.loop);
	return 0;
}

// ---- tests

#define KEY(n) "'00000000-0000-7000-8000-00000000000" #n "'"
#define ADD(n, at)                                                                                                             \
	"SELECT trabajos_add(" KEY(n) ", 'ana', 'ana-name', false, 'u', '{}', 'f', NULL, 0::smallint, NULL, 2, NULL, 1,"       \
				      " false, now(), " at ");"

static void what_failed_is_said_and_done_when_it_can_be(void **state UNUSED) {
	static const char *const said[] = {"cannot reap leases", "cannot queue delayed jobs", "cannot cancel replaced jobs",
		"cannot refresh the queue's lanes", "cannot fire schedules"};
	must("ALTER TABLE attempts RENAME TO attempts_away; ALTER FUNCTION trabajos_promote RENAME TO promote_away;"
	     "ALTER FUNCTION concurrency_replace RENAME TO replace_away; ALTER FUNCTION lanes_refresh RENAME TO lanes_away;"
	     "ALTER TABLE schedules RENAME TO schedules_away");
	run_until_seen(NULL, said, COUNT_OF(said));
	must("ALTER TABLE attempts_away RENAME TO attempts; ALTER FUNCTION promote_away RENAME TO trabajos_promote;"
	     "ALTER FUNCTION replace_away RENAME TO concurrency_replace; ALTER FUNCTION lanes_away RENAME TO lanes_refresh;"
	     "ALTER TABLE schedules_away RENAME TO schedules");

	// Two whose worker is lost, one of them for the last time; one with a delay.
	must(ADD(1, "now()") ADD(2, "now()") "UPDATE trabajos SET platform_failures = 1 WHERE key = " KEY(
		2) ";"
		   "SELECT trabajos_claim('worker-1', 9, 1, 0, NULL);" ADD(3, "now() + interval '200 ms'"));
	run_until_seen("SELECT platform_failures = 1 FROM trabajos WHERE key = " KEY(1), NULL, 0);
	run_until_seen("SELECT EXISTS (SELECT FROM dead_letters WHERE key = " KEY(2) ")", NULL, 0);
	run_until_seen("SELECT EXISTS (SELECT FROM queue WHERE key = " KEY(3) ")", NULL, 0);
	assert_true(is_true("SELECT status = 'Failed' AND outcome->>'code' = 'lost' FROM trabajos WHERE key = " KEY(2)));
	assert_true(
		is_true("SELECT count(*) = 2 FROM attempts WHERE outcome->>'blame' = 'platform' AND finished_at IS NOT NULL"));
	// it is told after the ledger shows it
	for (int64_t until_ms = loop_now_ms() + PATIENCE_MS; rig.requeued < 2 && loop_now_ms() < until_ms;)
		run_until_seen("SELECT true", NULL, 0);
	assert_true(rig.requeued >= 2);

	// The lost one's result has no record yet; the sweeper sends it, and what Kafka acknowledged is due no more.
	run_until_seen("SELECT NOT EXISTS (SELECT FROM outbox)", NULL, 0);
}

// It comes when the reaper has looked at the table and not yet locked the job: there its clock is made to wait.
static void a_cancel_that_meets_the_reaper_counts(void **state UNUSED) {
	must(ADD(1, "now()") ADD(2, "now()") "SELECT trabajos_claim('worker-1', 9, 100, 0, NULL)");
	must("UPDATE attempts SET lease_until = now() WHERE key = " KEY(2));
	run_until_seen("SELECT status <> 'Running' FROM trabajos WHERE key = " KEY(2), NULL, 0); // it has begun to reap
	must("UPDATE attempts SET lease_until = now(); SELECT pg_advisory_lock(7)");
	run_until_seen("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)", NULL, 0);
	must("SELECT trabajos_cancel(" KEY(1) ", NULL, 'x')");
	must("SELECT pg_advisory_unlock(7)");
	run_until_seen("SELECT status <> 'Running' FROM trabajos WHERE key = " KEY(1), NULL, 0);
	assert_true(
		is_true("SELECT status = 'Cancelled' AND outcome ->> 'code' = 'cancelled' FROM trabajos WHERE key = " KEY(1)));
	assert_true(is_true("SELECT EXISTS (SELECT FROM resultados WHERE status = 'Cancelled')"));
	assert_true(is_true("SELECT NOT EXISTS (SELECT FROM delayed WHERE key = " KEY(1) ")"));
}

static int open_slow_house(void **state) {
	static char slow[] = "options='-c search_path=public,pg_catalog'";
	char *usual = scratch.config.options;
	must("CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN IF current_query() LIKE 'WITH expired%' THEN"
	     " PERFORM pg_advisory_lock_shared(7), pg_advisory_unlock_shared(7); END IF; RETURN pg_catalog.now(); END $$");
	scratch.config.options = slow;
	int opened = open_house(state);
	scratch.config.options = usual;
	return opened;
}

static int close_slow_house(void **state) {
	int closed = close_house(state);
	must("DROP FUNCTION public.now()");
	return closed;
}

static void nobody_waits_for_a_chore_that_is_under_way(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	struct db *other;
	assert_int_equal(db_open(&scratch.config, &error, &other), 0);
	assert_int_equal(db_script(other, "BEGIN; LOCK TABLE lanes IN ACCESS EXCLUSIVE MODE", &error), DB_OK);
	run_until_seen(
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%lanes_refresh%')",
		NULL, 0);
	housekeeping_stop(STEAL(rig.house)); // what is under way is answered when the session goes, and frees itself
	db_close(other);
}

// Its clock, of a minute, is not waited for.
static void a_row_outlives_its_end_and_the_latest_copy_of_its_record(void **state UNUSED) {
	must(ADD(1, "now()") ADD(2, "now()") ADD(3, "now()") ADD(4, "now()") ADD(5, "now() + interval '1 ms'"));
	must("UPDATE trabajos SET posted_at = now() - interval '60 days';"
	     "UPDATE trabajos SET status = 'Finished', finished_at = posted_at WHERE key <> " KEY(
		     5) ";"
			"UPDATE trabajos SET finished_at = now() - interval '29 days' WHERE key = " KEY(
				2) ";"
				   "UPDATE trabajos SET reposted_at = now() - interval '29 days' WHERE key = " KEY(
					   3) ";"
					      "UPDATE trabajos SET reposted_at = now() - interval '31 days' WHERE key = " KEY(
						      4));
	run_until_seen("SELECT EXISTS (SELECT FROM queue WHERE key = " KEY(5) ")", NULL, 0); // it is at work
	retain(rig.house);
	run_until_seen("SELECT NOT EXISTS (SELECT FROM trabajos WHERE key = " KEY(1) ")", NULL, 0);
	assert_true(is_true(
		"SELECT array_agg(key ORDER BY key) = ARRAY[" KEY(2) ", " KEY(3) ", " KEY(5) "]::uuid[] FROM trabajos"));
}

static void a_row_must_outlive_its_record_by_a_day(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	const struct kafka_config kafka = {.retention_h = 168};
	assert_int_equal(housekeeping_retention_check(8, &kafka, &error), 0);
	assert_int_equal(housekeeping_retention_check(7, &kafka, &error), -1);
	assert_int_equal(error.kind, ERROR_INPUT);
	assert_non_null(strstr(error_text(&error), "RETENTION_DAYS=7"));
	housekeeping_stop(NULL);
}

static int start(void **state UNUSED) {
	log_open("test", LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	AUTO_ERROR struct error error = {0};
	char why[256];
	host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof(why));
	if (!host) return -1;
	cluster = rd_kafka_mock_cluster_new(host, 1);
	if (scratch_open(&scratch) || db_open(&scratch.config, &error, &db) || migrate_apply(db, NULL, NULL, &error)) return -1;
	must("CREATE FUNCTION unit_ask(question text) RETURNS boolean LANGUAGE plpgsql AS"
	     " $$ DECLARE answer boolean; BEGIN EXECUTE question INTO answer; RETURN coalesce(answer, false); END $$");
	return 0;
}

static int stop(void **state UNUSED) {
	db_close(db);
	scratch_close(&scratch);
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(host);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_failed_is_said_and_done_when_it_can_be, open_house, close_house),
		cmocka_unit_test_setup_teardown(a_cancel_that_meets_the_reaper_counts, open_slow_house, close_slow_house),
		cmocka_unit_test_setup_teardown(
			a_row_outlives_its_end_and_the_latest_copy_of_its_record, open_house, close_house),
		cmocka_unit_test_setup_teardown(nobody_waits_for_a_chore_that_is_under_way, open_house, close_house),
		cmocka_unit_test(a_row_must_outlive_its_record_by_a_day),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
