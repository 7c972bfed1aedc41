#include "lib/ledger.h"
#include "lib/uuid.h"
#include "tests/unit/states_rig.h"

static struct trabajo job(const char *key, const char *url) {
	struct trabajo trabajo = {.owner = mem_strdup("sub-1"),
		.usuario = mem_strdup("alicia \"la {rápida}\", \\"),
		.url = mem_strdup(url),
		.posted_ms = 1700000000123};
	assert_int_equal(uuid_parse_text(key, trabajo.key), 0);
	assert_int_equal(trabajo_spec_read(NULL, &trabajo.spec, NULL), 0);
	return trabajo;
}

static void add(struct ledger_batch *batch, const char *key, const char *url, const struct outcome *failed) {
	struct trabajo trabajo = job(key, url);
	ledger_batch_add(batch, &trabajo, failed);
	trabajo_clear(&trabajo);
}

static void insert(struct ledger_batch *batch, size_t from, size_t count, int64_t inserted, int64_t differing) {
	AUTO_ERROR struct error error = {0};
	struct db_result *result = NULL;
	struct db_params *params = ledger_batch_params(batch, from, count);
	if (db_execute(db, &ledger_insert, params, &result, &error) != DB_OK) fail_msg("%s", error_text(&error));
	assert_int_equal(db_rows(result), 1);
	assert_int_equal(db_get_int(result, 0, 0), inserted);
	assert_int_equal(db_get_int(result, 0, 1), differing);
	db_result_free(result);
	db_params_free(params);
}

#define KEY_A "aaaaaaaa-0000-7000-8000-000000000000"
#define KEY_B "bbbbbbbb-0000-7000-8000-000000000000"
#define KEY_C "cccccccc-0000-7000-8000-000000000000"

static void a_job_is_written_with_all_that_it_asks_for(void **state UNUSED) {
	AUTO_JSON json_t *spec = json_pack("{ss, si, si, si, s{ss}}", "ref", "v1", "priority", 7, "timeout_s", 30, "retries", 2,
		"env", "SECRET", "a\"b\\c{},\n'ñ");
	struct trabajo trabajo = job(KEY_A, "https://a.example/r");
	trabajo_spec_clear(&trabajo.spec);
	assert_int_equal(trabajo_spec_read(spec, &trabajo.spec, NULL), 0);
	struct ledger_batch *batch = ledger_batch_new();
	ledger_batch_add(batch, &trabajo, NULL);
	trabajo_clear(&trabajo);
	insert(batch, 0, 1, 1, 0);
	assert_says("SELECT concat_ws('|', key, owner, usuario, url, ref, priority, timeout_s, retries, status, attempt)"
		    " FROM trabajos",
		KEY_A "|sub-1|alicia \"la {rápida}\", \\|https://a.example/r|v1|7|30|2|Queued|0");
	assert_says("SELECT spec->'env'->>'SECRET' FROM trabajos", "a\"b\\c{},\n'ñ");
	assert_says("SELECT posted_at = to_timestamp(1700000000.123) AND eligible_at = posted_at FROM trabajos", "t");
	assert_says("SELECT finished_at IS NULL AND outcome IS NULL AND length(fingerprint) = 64 FROM trabajos", "t");
	assert_says("SELECT count(*) FROM resultados", "0");
	ledger_batch_free(batch);
}

static void a_job_that_asks_for_nothing_has_the_defaults(void **state UNUSED) {
	struct ledger_batch *batch = ledger_batch_new();
	struct trabajo trabajo = job(KEY_A, "https://a.example/r");
	trabajo.posted_ms = 4000000000000; // a clock ahead of ours does not keep a job from running
	ledger_batch_add(batch, &trabajo, NULL);
	trabajo_clear(&trabajo);
	insert(batch, 0, 1, 1, 0);
	assert_says(
		"SELECT concat_ws('|', ref IS NULL, priority, timeout_s IS NULL, retries, spec) FROM trabajos", "t|0|t|0|{}");
	assert_says("SELECT eligible_at <= now() FROM trabajos", "t");
	ledger_batch_free(batch);
}

static void known_jobs_are_left_alone_and_differing_ones_counted(void **state UNUSED) {
	struct ledger_batch *first = ledger_batch_new(), *second = ledger_batch_new();
	add(first, KEY_A, "https://a.example/1", NULL);
	add(first, KEY_B, "https://a.example/2", NULL);
	insert(first, 0, 2, 2, 0);
	must("UPDATE trabajos SET status = 'Running', attempt = 3");
	insert(first, 0, 2, 0, 0);
	add(second, KEY_C, "https://a.example/3", NULL);
	add(second, KEY_B, "https://a.example/other", NULL);
	add(second, KEY_A, "https://a.example/1", NULL);
	insert(second, 0, 3, 1, 1);
	assert_says("SELECT string_agg(concat_ws(' ', url, status, attempt), ',' ORDER BY key) FROM trabajos",
		"https://a.example/1 Running 3,https://a.example/2 Running 3,https://a.example/3 Queued 0");
	ledger_batch_free(first);
	ledger_batch_free(second);
}

static void add_posted(struct ledger_batch *batch, int64_t posted_ms) {
	struct trabajo trabajo = job(KEY_A, "https://a.example/r");
	trabajo.posted_ms = posted_ms;
	ledger_batch_add(batch, &trabajo, NULL);
	trabajo_clear(&trabajo);
}

// Records are skipped by their own age less a day: a copy that came later than that must not outlive the row.
static void a_late_copy_of_a_record_is_noted(void **state UNUSED) {
	static const int64_t day_ms = 86400000, first_ms = 1700000000000;
	static const struct {
		int64_t days;
		const char *noted;
	} copies[] = {{0, "NULL"}, {1, "NULL"}, {28, "28"}, {28, "28"}, {27, "28"}, {40, "40"}};
	struct ledger_batch *first = ledger_batch_new();
	add_posted(first, first_ms);
	insert(first, 0, 1, 1, 0);
	ledger_batch_free(first);
	for (size_t i = 0; i < COUNT_OF(copies); i++) {
		struct ledger_batch *copy = ledger_batch_new();
		add_posted(copy, first_ms + copies[i].days * day_ms);
		insert(copy, 0, 1, 0, 0);
		ledger_batch_free(copy);
		assert_says("SELECT extract(day FROM reposted_at - posted_at)::text FROM trabajos", copies[i].noted);
	}
	assert_says("SELECT posted_at = to_timestamp(1700000000) FROM trabajos", "t");
}

static void of_equal_keys_in_a_batch_the_first_wins(void **state UNUSED) {
	struct ledger_batch *batch = ledger_batch_new();
	add(batch, KEY_B, "https://a.example/first", NULL);
	add(batch, KEY_A, "https://a.example/a", NULL);
	add(batch, KEY_B, "https://a.example/first", NULL);
	add(batch, KEY_B, "https://a.example/second", NULL);
	assert_int_equal(ledger_batch_count(batch), 4);
	insert(batch, 0, 4, 2, 1);
	assert_says("SELECT url FROM trabajos WHERE key = '" KEY_B "'", "https://a.example/first");
	ledger_batch_free(batch);
}

static void a_bad_record_is_failed_at_once_and_visible(void **state UNUSED) {
	struct outcome outcome = {0};
	outcome_set(&outcome, OUTCOME_DENIED, BLAME_USER, "not \"allowed\"");
	struct ledger_batch *batch = ledger_batch_new();
	add(batch, KEY_A, "https://a.example/1", NULL);
	add(batch, KEY_B, "file:///etc", &outcome);
	insert(batch, 0, 2, 2, 0);
	insert(batch, 0, 2, 0, 0);
	assert_says("SELECT concat_ws('|', status, attempt, finished_at IS NOT NULL, outcome->>'code', outcome->>'message')"
		    " FROM trabajos WHERE key = '" KEY_B "'",
		"Failed|0|t|denied|not \"allowed\"");
	assert_says("SELECT string_agg(concat_ws('|', key, status), ',') FROM resultados", KEY_B "|Failed");
	outcome_clear(&outcome);
	ledger_batch_free(batch);
}

static void a_batch_can_be_bisected_in_key_order(void **state UNUSED) {
	struct ledger_batch *batch = ledger_batch_new();
	add(batch, KEY_C, "https://a.example/c", NULL);
	add(batch, KEY_A, "https://a.example/a", NULL);
	add(batch, KEY_B, "https://a.example/b", NULL);
	insert(batch, 1, 1, 1, 0);
	assert_string_equal(ledger_batch_key(batch, 0), KEY_A);
	assert_string_equal(ledger_batch_key(batch, 1), KEY_B);
	assert_string_equal(ledger_batch_key(batch, 2), KEY_C);
	assert_says("SELECT url FROM trabajos", "https://a.example/b");
	insert(batch, 0, 3, 2, 0);
	add(batch, "00000000-0000-7000-8000-000000000000", "https://a.example/0", NULL);
	insert(batch, 0, 1, 1, 0);
	insert(batch, 0, 0, 0, 0);
	ledger_batch_free(batch);
}

static void a_poison_row_is_the_datas_fault(void **state UNUSED) {
	AUTO_ERROR struct error error = {0};
	struct ledger_batch *batch = ledger_batch_new();
	add(batch, KEY_A, "https://a.example/\xff", NULL); // nobody should have let it come this far
	struct db_params *params = ledger_batch_params(batch, 0, 1);
	assert_int_equal(db_execute(db, &ledger_insert, params, NULL, &error), DB_BAD_DATA);
	db_params_free(params);
	ledger_batch_free(batch);
}

enum { WRITERS = 4, ROUNDS = 12, ROWS = 200, SHARED_ROWS = 21, SHARED_KEYS = 7 };
static char many[ROWS][UUID_TEXT];

// The same keys at the same time, each writer in another order, as frontends and workers do.
static void *write_all(void *arg) {
	intptr_t writer = (intptr_t)arg, failures = 0;
	struct db *mine;
	assert_int_equal(db_open(&scratch.config, NULL, &mine), 0);
	for (int round = 0; round < ROUNDS; round++) {
		struct ledger_batch *batch = ledger_batch_new();
		for (int i = 0; i < ROWS; i++) {
			struct trabajo trabajo = job(many[(i * (2 * writer + 1)) % ROWS], "https://a.example/r");
			trabajo.key[0] = (char)('0' + round % 10);
			trabajo.key[1] = (char)('0' + round / 10);
			ledger_batch_add(batch, &trabajo, NULL);
			trabajo_clear(&trabajo);
		}
		struct db_params *params = ledger_batch_params(batch, 0, ROWS);
		if (db_execute(mine, &ledger_insert, params, NULL, NULL) != DB_OK) failures++;
		db_params_free(params);
		ledger_batch_free(batch);
	}
	db_close(mine);
	return (void *)failures;
}

// Jobs of their own, but of the same concurrency keys, which come in another order to each.
static void *write_shared(void *arg) {
	intptr_t writer = (intptr_t)arg, failures = 0;
	struct db *mine;
	assert_int_equal(db_open(&scratch.config, NULL, &mine), 0);
	for (int round = 0; round < ROUNDS; round++) {
		struct ledger_batch *batch = ledger_batch_new();
		for (int i = 0; i < SHARED_ROWS; i++) {
			char key[UUID_TEXT],
				name[] = {(char)('a' + (i * (2 * (int)writer + 1) + (int)writer) % SHARED_KEYS), '\0'};
			uuid_v7(key);
			AUTO_JSON json_t *spec = json_pack("{ss}", "concurrency_key", name);
			struct trabajo trabajo = job(key, "https://a.example/r");
			trabajo_spec_clear(&trabajo.spec);
			assert_int_equal(trabajo_spec_read(spec, &trabajo.spec, NULL), 0);
			ledger_batch_add(batch, &trabajo, NULL);
			trabajo_clear(&trabajo);
		}
		struct db_params *params = ledger_batch_params(batch, 0, SHARED_ROWS);
		if (db_execute(mine, &ledger_insert, params, NULL, NULL) != DB_OK) failures++;
		db_params_free(params);
		ledger_batch_free(batch);
	}
	db_close(mine);
	return (void *)failures;
}

static void writers_of_jobs_with_the_same_concurrency_keys_do_not_deadlock(void **state UNUSED) {
	pthread_t threads[WRITERS];
	for (intptr_t i = 0; i < WRITERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, write_shared, (void *)i), 0);
	for (int i = 0; i < WRITERS; i++) {
		void *failures;
		pthread_join(threads[i], &failures);
		assert_null(failures);
	}
	assert_sound();
}

static void writers_of_the_same_jobs_do_not_deadlock(void **state UNUSED) {
	pthread_t threads[WRITERS];
	for (int i = 0; i < ROWS; i++) uuid_v7(many[i]);
	for (intptr_t i = 0; i < WRITERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, write_all, (void *)i), 0);
	for (int i = 0; i < WRITERS; i++) {
		void *failures;
		pthread_join(threads[i], &failures);
		assert_null(failures);
	}
	AUTO_FREE char *count = ask("SELECT count(*) FROM trabajos");
	assert_int_equal(strtol(count, NULL, 10), ROUNDS * ROWS);
}

// ---- waking

struct rig {
	struct loop *loop;
	struct loop_timer *timer;
	struct ledger_tap *tap;
	struct db_session *session;
	int heard, ticks;
};

static void heard(void *arg) {
	((struct rig *)arg)->heard++;
}

static void tick(void *arg) {
	struct rig *rig = arg;
	// a hundred taps in one round, after both sides had time to connect
	if (rig->ticks++ == 20)
		for (int i = 0; i < 100; i++) ledger_tap(rig->tap);
	if (rig->ticks < 40)
		loop_timer_set(rig->timer, 20);
	else
		loop_stop(rig->loop);
}

static void many_taps_are_few_notifications(void **state UNUSED) {
	struct rig rig = {.loop = loop_new()};
	rig.timer = loop_timer_new(rig.loop, tick, &rig);
	rig.tap = ledger_tap_open(rig.loop, &scratch.config);
	rig.session = db_session_open(rig.loop, &scratch.config);
	db_session_listen(rig.session, LEDGER_CHANNEL, heard, &rig);
	loop_timer_set(rig.timer, 0);
	loop_run(rig.loop);
	assert_in_range(rig.heard, 2, 3); // once for the connection; the first tap at once, the rest together
	db_session_close(rig.session);
	ledger_tap_close(rig.tap);
	loop_timer_free(rig.timer);
	loop_free(rig.loop);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_job_is_written_with_all_that_it_asks_for, empty),
		cmocka_unit_test_setup(a_job_that_asks_for_nothing_has_the_defaults, empty),
		cmocka_unit_test_setup(known_jobs_are_left_alone_and_differing_ones_counted, empty),
		cmocka_unit_test_setup(a_late_copy_of_a_record_is_noted, empty),
		cmocka_unit_test_setup(of_equal_keys_in_a_batch_the_first_wins, empty),
		cmocka_unit_test_setup(a_bad_record_is_failed_at_once_and_visible, empty),
		cmocka_unit_test_setup(a_batch_can_be_bisected_in_key_order, empty),
		cmocka_unit_test_setup(a_poison_row_is_the_datas_fault, empty),
		cmocka_unit_test_setup(writers_of_the_same_jobs_do_not_deadlock, empty),
		cmocka_unit_test_setup(writers_of_jobs_with_the_same_concurrency_keys_do_not_deadlock, empty),
		cmocka_unit_test(many_taps_are_few_notifications),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
