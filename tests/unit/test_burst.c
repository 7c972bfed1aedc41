// The ledger where much comes at once: empty lanes, jobs that replace thousands, locks that meet, and what a claim reads.
#include "tests/unit/states_rig.h"

// So many jobs of as many owners, or of one.
static void add_many(int count, const char *owner, const char *shared, const char *age) {
	AUTO_FREE char *sql = mem_format(
		"SELECT count(trabajos_add(gen_random_uuid(), %s, 'u', false, 'u', '{}', 'f', NULL, 0::smallint, NULL, 0, %s, 1, false,"
		" now() - interval '1 h' + i * interval '1 ms', now() - %s)) FROM generate_series(1, %d) i",
		owner, shared, age, count);
	must(sql);
}

// ---- lanes

// The lanes of those whose only job has just gone stand before that of an owner who runs something.
static void a_free_slot_finds_the_job_that_waits_behind_empty_lanes(void **state UNUSED) {
	add_many(20, "'ana'", "NULL", "interval '1 s'");
	assert_claims(3, "ana ana ana");
	add_many(100, "to_char(i, '\"short-\"FM000')", "NULL", "interval '1 s'");
	must("SELECT trabajos_cancel(key, NULL, 'x') FROM trabajos WHERE owner LIKE 'short-%'");
	assert_says("SELECT count(*) FROM lanes", "101");
	assert_claims(1, "ana");
	assert_claims(4, "ana ana ana ana");
	AUTO_FREE char *limited = claim(4, 9, NULL), *weighted = claim(2, 0, "{\"ana\": 0.5}");
	assert_string_equal(limited, "ana");
	assert_string_equal(weighted, "ana ana");
	assert_claims(20, "ana ana ana ana ana ana ana ana ana");
	assert_claims(1, "");
	assert_sound();
}

// ---- what a newer job replaces

static void add_newest(const char *key) {
	AUTO_FREE char *sql = mem_format(
		"SELECT trabajos_add('%s', 'ana', 'u', false, 'u', '{}', 'f', NULL, 0::smallint, NULL, 0, 'k', 1, true, now(), now())",
		key);
	must(sql);
}

#define NEWEST "00000000-0000-7000-8000-000000000001"

static void thousands_are_replaced_and_none_of_them_begins(void **state UNUSED) {
	add_many(3000, "'ana'", "'k'", "interval '1 s'");
	assert_claims(9, "ana");
	add_newest(NEWEST);
	assert_says("SELECT count(*) BETWEEN 100 AND 1000 FROM concurrency WHERE replaced_by = '" NEWEST "'", "t");
	assert_says("SELECT replaced_by IS NOT NULL FROM concurrency WHERE holds", "t"); // what runs is told at once
	must("DO $$ BEGIN PERFORM trabajos_finish(ARRAY[key], ARRAY[1], ARRAY['Cancelled'], ARRAY[0], ARRAY[0], ARRAY['{}'::jsonb],"
	     " ARRAY['{}'::jsonb], ARRAY[0], ARRAY[NULL], ARRAY[0], ARRAY[0], '{}', '{}', '{}', '{}', '{}')"
	     " FROM trabajos WHERE status = 'Running'; END $$");
	assert_says("SELECT key FROM queue", NEWEST);
	assert_claims(9, "ana");
	assert_int_equal(FINISH(1, 1, "Finished"), 1); // it is gone before all have their mark
	assert_says("SELECT count(*) FROM queue", "0");
	assert_sound();
	for (int round = 0; round < 20; round++) must("SELECT concurrency_replace(200)");
	assert_says("SELECT count(*) FROM concurrency", "0");
	assert_says("SELECT count(*) FROM concurrency_floor", "0");
	assert_says("SELECT count(*) FROM trabajos WHERE status = 'Cancelled'", "3000");
	assert_sound();
	ADD(2, "ana", 0, "'k'", 1, false, "now()");
	assert_claims(9, "ana");
}

// ---- locks

struct late {
	const char *sql;
	enum db_status status;
};

static void *run_late(void *arg) {
	struct late *late = arg;
	struct db *mine;
	assert_int_equal(db_open(&scratch.config, NULL, &mine), 0);
	late->status = db_script(mine, late->sql, NULL);
	db_close(mine);
	return NULL;
}

static void give_back(const char *worker, enum db_status *status) {
	struct db_params *params = db_params_new();
	db_text(params, worker);
	db_text_array(params, NULL, 0);
	*status = db_execute(db, &worker_give_back, params, NULL, NULL);
	db_params_free(params);
}

static void *give_back_late(void *arg) {
	give_back("worker-1", &((struct late *)arg)->status);
	return NULL;
}

// As the heartbeat: the first key's attempt, then, when the other side waits, the second's.
static void meet_a_heartbeat(void *(*other)(void *), struct late *late) {
	pthread_t thread;
	struct db *heart;
	assert_int_equal(db_open(&scratch.config, NULL, &heart), 0);
	assert_int_equal(db_script(heart, "BEGIN; SELECT FROM attempts WHERE key = " KEY(1) " FOR UPDATE", NULL), DB_OK);
	assert_int_equal(pthread_create(&thread, NULL, other, late), 0);
	assert_int_equal(db_script(heart,
				 "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP"
				 " PERFORM pg_sleep(0.005); END LOOP; END $$;"
				 " SELECT FROM attempts WHERE key = " KEY(2) " FOR UPDATE; COMMIT",
				 NULL),
		DB_OK);
	pthread_join(thread, NULL);
	db_close(heart);
	assert_int_equal(late->status, DB_OK);
}

static void attempts_are_locked_in_the_heartbeats_order(void **state UNUSED) {
	ADD_PLAIN(1, "zoe", 0);
	ADD_PLAIN(2, "ana", 0);
	free(claim(2, 0, NULL));
	meet_a_heartbeat(run_late,
		&(struct late){
			"SELECT trabajos_finish(ARRAY[" KEY(1) ", " KEY(
				2) "]::uuid[], ARRAY[1, 1], ARRAY['Queued', 'Queued'], ARRAY[0, 0], ARRAY[0, 0], ARRAY['{}', '{}']::jsonb[],"
				   " ARRAY['{}', '{}']::jsonb[], ARRAY[0, 0], ARRAY[NULL, NULL], ARRAY[1, 1], ARRAY[0, 0],"
				   " '{}', '{}', '{}', '{}', '{}')",
			DB_FAILED});
	assert_says("SELECT count(*) FROM queue", "2");
	free(claim(2, 0, NULL));
	meet_a_heartbeat(give_back_late, &(struct late){NULL, DB_FAILED});
	assert_says("SELECT count(*) FROM queue", "2");
	assert_sound();
}

static void nobody_waits_for_a_lane_that_another_adds(void **state UNUSED) {
	struct db *inserting;
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ben", 0);
	must("DELETE FROM lanes");
	assert_int_equal(db_open(&scratch.config, NULL, &inserting), 0);
	assert_int_equal(
		db_script(inserting, "BEGIN; INSERT INTO queue VALUES (0, 'ben', 0, now(), gen_random_uuid(), 0)", NULL),
		DB_OK);
	must("SET lock_timeout = '3s'; SELECT lanes_refresh(); RESET lock_timeout");
	assert_says("SELECT string_agg(owner, ' ') FROM lanes", "ana");
	assert_int_equal(db_script(inserting, "COMMIT", NULL), DB_OK);
	db_close(inserting);
	assert_says("SELECT string_agg(owner, ' ' ORDER BY owner) FROM lanes", "ana ben");
	must("TRUNCATE queue");
}

// ---- given back

static void a_job_that_was_to_be_cancelled_ends_so_when_it_is_given_back(void **state UNUSED) {
	enum db_status status;
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ana", 0);
	ADD(3, "ana", 0, "'k'", 1, false, "now()");
	ADD(4, "ana", 0, "'k'", 1, false, "now()");
	assert_claims(3, "ana ana ana");
	must("SELECT trabajos_cancel(" KEY(1) ", NULL, 'x'), trabajos_cancel(" KEY(3) ", NULL, 'x')");
	give_back("worker-1", &status);
	assert_int_equal(status, DB_OK);
	assert_says("SELECT string_agg(right(key::text, 1) || status, ' ' ORDER BY key) FROM trabajos",
		"1Cancelled 2Queued 3Cancelled 4Queued");
	assert_says("SELECT outcome ->> 'code' FROM trabajos WHERE key = " KEY(1), "cancelled");
	assert_says(
		"SELECT string_agg(right(key::text, 1) || attempt, ' ' ORDER BY key) FROM outbox WHERE publish_after <= now()",
		"11 31");
	assert_says("SELECT string_agg(right(key::text, 1), ' ' ORDER BY key) FROM queue", "2 4"); // the key's place is free
	assert_sound();
}

// ---- what a claim reads

struct reading {
	int64_t pages, scans;
};

// Of a claim of a hundred among so many queued jobs of a thousand users: pages looked at, and walks through whole tables.
static struct reading read_by_a_claim(int queued) {
	must("TRUNCATE trabajos, workers");
	AUTO_FREE char *sql =
		mem_format("INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at)"
			   " SELECT gen_random_uuid(), 'owner-' || i %% 1000, 'u', 'u', 'f', now(), now() - i * interval '1 ms'"
			   " FROM generate_series(1, %d) i;"
			   "INSERT INTO queue SELECT 0, owner, 0, eligible_at, key, 0 FROM trabajos",
			queued);
	must(sql);
	must("VACUUM trabajos, queue, lanes, attempts");
	must("SELECT lanes_refresh()");
	must("SELECT claim_explained()"); // makes the plans
	must("SELECT claim_explained()");
	AUTO_FREE char *pages = ask("SELECT pages FROM explained"), *scans = ask("SELECT scans FROM explained");
	assert_says("SELECT count(*) FROM trabajos WHERE status = 'Running'", "200");
	return (struct reading){strtoll(pages, NULL, 10), strtoll(scans, NULL, 10)};
}

static void a_claim_reads_as_much_of_a_long_queue_as_of_a_short_one(void **state UNUSED) {
	must("CREATE TABLE explained (pages bigint, scans bigint);"
	     "CREATE FUNCTION claim_explained() RETURNS void LANGUAGE plpgsql AS $$ DECLARE plan json; before bigint; BEGIN"
	     " SELECT sum(pg_stat_get_xact_numscans(t::regclass)) INTO before"
	     "  FROM unnest(ARRAY['trabajos', 'queue', 'attempts']) t;"
	     " EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM trabajos_take(''worker-1'', 100, 30, 0, NULL)' INTO plan;"
	     " DELETE FROM explained; INSERT INTO explained SELECT (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint"
	     "  + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint, sum(pg_stat_get_xact_numscans(t::regclass)) - before"
	     "  FROM unnest(ARRAY['trabajos', 'queue', 'attempts']) t; END $$");
	struct reading few = read_by_a_claim(2000), many = read_by_a_claim(40000);
	print_message("a claim of 100 looks at %lld pages among 2,000, %lld among 40,000\n", (long long)few.pages,
		(long long)many.pages);
	assert_int_equal(few.scans, 0);
	assert_int_equal(many.scans, 0);
	assert_true(few.pages > 0);
	assert_true(many.pages < 2 * few.pages);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_free_slot_finds_the_job_that_waits_behind_empty_lanes, empty),
		cmocka_unit_test_setup(thousands_are_replaced_and_none_of_them_begins, empty),
		cmocka_unit_test_setup(attempts_are_locked_in_the_heartbeats_order, empty),
		cmocka_unit_test_setup(nobody_waits_for_a_lane_that_another_adds, empty),
		cmocka_unit_test_setup(a_job_that_was_to_be_cancelled_ends_so_when_it_is_given_back, empty),
		cmocka_unit_test_setup(a_claim_reads_as_much_of_a_long_queue_as_of_a_short_one, empty),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
