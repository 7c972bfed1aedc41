// What the observer measures, in a real PostgreSQL.

#include "lib/mem.h"
#include "lib/migrate.h"
#include "observer/sample.h"
#include "tests/unit/loop_rig.h"
#include "tests/unit/scratch_db.h"

#define LEASE_MS 30000

static struct scratch_db scratch;
static struct db *db;

static void must(const char *sql) {
	AUTO_ERROR struct error error = {0};
	if (db_script(db, sql, &error) != DB_OK) fail_msg("%s: %s", sql, error_text(&error));
}

static int open_all(void **state) {
	must("TRUNCATE trabajos CASCADE; TRUNCATE queue, attempts, workers");
	return setup(state);
}

static void keep(struct sample *sample, void *arg) {
	*(struct sample *)arg = *sample;
	stop(NULL);
}

static struct sample taken(void) {
	struct sample sample = {0};
	struct sampler *sampler = sampler_open(loop, &scratch.config, LEASE_MS, keep, &sample);
	assert_int_equal(sampler_age_ms(sampler), -1);
	sampler_start(sampler);
	loop_run(loop);
	assert_true(sampler_age_ms(sampler) >= 0);
	sampler_close(sampler);
	return sample;
}

// Jobs of one priority in the queue, the oldest so many seconds old, the others a second younger each.
#define QUEUE(n, priority, oldest_s)                                                                                           \
	must("INSERT INTO queue SELECT 0, 'a', -(" #priority "), now() - (" #oldest_s                                          \
	     " - i) * interval '1 s', gen_random_uuid(), 0 FROM generate_series(0, " #n " - 1) i")
#define WORKER(name, slots, running, draining, seen_s)                                                                         \
	must("INSERT INTO workers (worker, host, pid, version, slots, isolation, running, draining, seen_at) VALUES ('" name   \
	     "', 'h', 1, '0', " #slots ", 'full', " #running ", " #draining ", now() - interval '" #seen_s " s')")
// An attempt that began so many seconds ago; ended: NULL, or the moment.
#define ATTEMPT(owner, ago_s, ended)                                                                                           \
	must("WITH job AS (INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at) VALUES"        \
	     " (gen_random_uuid(), '" owner "', 'u', 'https://a.example/r', 'f', now() - interval '" #ago_s                    \
	     " s', now()) RETURNING key) INSERT INTO attempts (key, attempt, worker, owner, started_at, finished_at)"          \
	     " SELECT key, 1, 'w', '" owner "', now() - interval '" #ago_s " s', " ended " FROM job")

static void assert_about(int64_t ms, int64_t expected_ms) {
	assert_in_range((uintmax_t)ms, (uintmax_t)expected_ms, (uintmax_t)expected_ms + 9000); // a slow machine is later
}

static void an_empty_ledger_is_all_zero(void **state) {
	(void)state;
	struct sample sample = taken();
	assert_int_equal(
		sample.queued + sample.running + sample.runs + sample.arrivals + sample.idle + sample.busy + sample.slots, 0);
	assert_int_equal(sample.oldest_ms, 0);
	assert_int_equal(sample.rank_count, 0);
	assert_int_equal(sample.kafka_waits, LAG_UNKNOWN);
}

static void the_queue_is_known_by_priority_and_age(void **state) {
	(void)state;
	QUEUE(10, 0, 100);
	QUEUE(3, 5, 50);
	QUEUE(2, -1, 200);
	struct sample sample = taken();
	assert_int_equal(sample.queued, 15);
	assert_false(sample.queued_more);
	assert_int_equal(sample.queued_by[SAMPLE_LOW], 2);
	assert_int_equal(sample.queued_by[SAMPLE_NORMAL], 10);
	assert_int_equal(sample.queued_by[SAMPLE_HIGH], 3);
	assert_about(sample.oldest_ms, 200000);
	assert_about(sample.oldest_by_ms[SAMPLE_NORMAL], 100000);
	assert_about(sample.oldest_by_ms[SAMPLE_HIGH], 50000);
	assert_int_equal(sample.ranks[0].place, 1);
	assert_int_equal(sample.ranks[sample.rank_count - 1].place, 15);
}

static void a_long_queue_is_read_up_to_a_bound_and_estimated_beyond(void **state) {
	(void)state;
	QUEUE(20000, 0, 30000);
	must("ANALYZE queue");
	struct sample sample = taken();
	assert_true(sample.queued_more);
	assert_int_equal(sample.queued_by[SAMPLE_NORMAL], SAMPLE_MOST);
	assert_in_range(sample.queued, 19000, 21000);
	assert_about(sample.ranks[sample.rank_count - 1].age_ms, 10001000); // the newest
}

static void runs_and_arrivals_are_those_of_the_last_minutes(void **state) {
	(void)state;
	for (int i = 0; i < 9; i++) ATTEMPT("a", 100, "now() - interval '90 s'");
	ATTEMPT("b", 100, "now() - interval '5 s'"); // 95 s, lately
	ATTEMPT("b", 4000, "now() - interval '1 hour'");
	ATTEMPT("c", 20, "NULL");
	ATTEMPT("c", 40, "NULL");
	struct sample sample = taken();
	assert_int_equal(sample.runs, 10);
	assert_in_range(sample.run_mean_ms, 18400, 18600);
	assert_in_range(sample.run_p50_ms, 9900, 10100);
	assert_in_range(sample.run_at_ms[SAMPLE_QUANTILES - 1], 94900, 95100);
	assert_int_equal(sample.ended, 1);
	assert_int_equal(sample.running, 2);
	assert_about(sample.running_age_ms, 30000);
	assert_about(sample.running_at_ms[0], 20000);
	assert_about(sample.running_at_ms[SAMPLE_TENTHS - 1], 40000);
	assert_int_equal(sample.arrivals, 12);
	assert_int_equal(sample.lately, 2);
}

static void workers_are_idle_busy_draining_or_not_alive(void **state) {
	(void)state;
	WORKER("idle", 4, 0, false, 1);
	WORKER("busy", 2, 1, false, 1);
	WORKER("draining", 8, 3, true, 1);
	WORKER("dead", 16, 5, false, 3600);
	struct sample sample = taken();
	assert_int_equal(sample.idle, 1);
	assert_int_equal(sample.busy, 1);
	assert_int_equal(sample_claiming(&sample), 2);
	assert_int_equal(sample.slots, 6);
	assert_int_equal(sample.draining, 1);
	assert_int_equal(sample.draining_running, 3);
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
#define SAMPLE_TEST(name) cmocka_unit_test_setup_teardown(name, open_all, teardown)
	const struct CMUnitTest tests[] = {
		SAMPLE_TEST(an_empty_ledger_is_all_zero),
		SAMPLE_TEST(the_queue_is_known_by_priority_and_age),
		SAMPLE_TEST(a_long_queue_is_read_up_to_a_bound_and_estimated_beyond),
		SAMPLE_TEST(runs_and_arrivals_are_those_of_the_last_minutes),
		SAMPLE_TEST(workers_are_idle_busy_draining_or_not_alive),
	};
	return cmocka_run_group_tests_name("sample", tests, open_db, close_db);
}
