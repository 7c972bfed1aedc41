// The output of running jobs on its way into a real ledger, and who is told of it.
#include "lib/follow.h"
#include "tests/unit/states_rig.h"
#include "worker/flush.h"
#include "worker/followed.h"
#include "worker/output.h"
#include "worker/worker.h"

#define JOB(n)      "00000000-0000-7000-8000-00000000000" #n
#define PATIENCE_MS 20000
#define LOOK_MS     5

static struct {
	struct worker worker;
	struct db_session *ear; // a frontend's
	struct loop_timer *look, *patience;
	bool (*condition)(void);
	char *heard;
	struct flush_entry entries[2];
} rig;

// ---- waiting

static void look(void *arg UNUSED) {
	if (rig.condition())
		loop_stop(rig.worker.loop);
	else
		loop_timer_set(rig.look, LOOK_MS);
}

static void patience_lost(void *arg UNUSED) {
	fail_msg("what was waited for did not come");
}

static void await(bool (*condition)(void)) {
	rig.condition = condition;
	loop_timer_set(rig.look, 0);
	loop_timer_set(rig.patience, PATIENCE_MS);
	loop_run(rig.worker.loop);
	loop_timer_stop(rig.patience);
}

static bool listening(void) {
	return strstr(rig.heard, "[up]") != NULL;
}

static bool all_written(void) {
	for (size_t i = 0; i < COUNT_OF(rig.entries); i++)
		if (rig.entries[i].output && output_waiting(rig.entries[i].output)) return false;
	return true;
}

static bool first_sent(void) {
	return rig.entries[0].sent;
}

static bool first_followed(void) {
	return rig.entries[0].followed;
}

static bool told_of_first(void) {
	return strstr(rig.heard, JOB(1)) != NULL;
}

static bool asked(void) {
	return strstr(rig.heard, "[?]") != NULL;
}

static bool one_row(void) {
	AUTO_FREE char *count = ask("SELECT count(*) FROM logs");
	return strcmp(count, "1") == 0;
}

// ---- two running jobs and a worker that has nothing but their output

static void hear(const char *payload, void *arg UNUSED) {
	char *longer = mem_format("%s[%s]", rig.heard, payload ? payload : "up");
	free(rig.heard);
	rig.heard = longer;
}

static void enter(size_t i, const char *key, int64_t attempt) {
	rig.entries[i] = (struct flush_entry){.key = key, .attempt = attempt, .output = output_new(1000)};
	flush_add(rig.worker.flusher, &rig.entries[i]);
}

static void print(size_t i, const char *text) {
	output_add(rig.entries[i].output, 1, text, strlen(text), loop_wall_ms());
	flush_soon(rig.worker.flusher, &rig.entries[i]);
}

static int two_run(void **state) {
	empty(state);
	must("INSERT INTO trabajos (key, owner, usuario, url, fingerprint, posted_at, eligible_at, status, attempt)"
	     " SELECT k::uuid, 'o', 'u', 'https://a.example', 'f', now(), now(), 'Running', 1"
	     " FROM unnest(ARRAY['" JOB(1) "', '" JOB(2) "']) k");
	memset(&rig, 0, sizeof rig);
	rig.heard = mem_strdup("");
	rig.worker.config.slots = 2;
	rig.worker.loop = loop_new();
	rig.look = loop_timer_new(rig.worker.loop, look, NULL);
	rig.patience = loop_timer_new(rig.worker.loop, patience_lost, NULL);
	rig.ear = db_session_open(rig.worker.loop, &scratch.config);
	db_session_listen_each(rig.ear, FOLLOW_NEWS, hear, NULL);
	await(listening);
	rig.worker.chores = db_session_open(rig.worker.loop, &scratch.config);
	rig.worker.flusher = flusher_new(&rig.worker);
	await(asked); // it listens from here on
	enter(0, JOB(1), 1);
	enter(1, JOB(2), 1);
	return 0;
}

static int none_runs(void **state UNUSED) {
	rig.worker.phase = WORKER_LEAVING;
	db_session_close(rig.worker.chores);
	db_session_close(rig.ear);
	for (size_t i = 0; i < COUNT_OF(rig.entries); i++) {
		flush_remove(rig.worker.flusher, &rig.entries[i]);
		output_free(rig.entries[i].output);
	}
	flusher_free(rig.worker.flusher);
	loop_timer_free(rig.look);
	loop_timer_free(rig.patience);
	loop_free(rig.worker.loop);
	free(rig.heard);
	return 0;
}

// ---- tests

static void what_jobs_print_that_nobody_follows_goes_together_and_nobody_is_told(void **state UNUSED) {
	print(0, "one ");
	print(1, "two ");
	print(0, "three");
	await(all_written);
	assert_says("SELECT string_agg(encode(data, 'escape'), '' ORDER BY key, seq) FROM logs", "one threetwo ");
	assert_says("SELECT count(DISTINCT xmin::text) FROM logs", "1");
	assert_false(told_of_first());
}

static void a_followed_job_is_known_and_its_frontends_are_told(void **state UNUSED) {
	static const char keys[][UUID_TEXT] = {JOB(1)};
	follow_tell(rig.ear, FOLLOW_WANTED, keys, 1);
	await(first_followed);
	assert_false(rig.entries[1].followed);
	print(0, "now");
	await(told_of_first);
	assert_says("SELECT encode(data, 'escape') FROM logs", "now");
	assert_null(strstr(rig.heard, JOB(2)));
	// of a change that is no output, too; not of the other one's
	free(rig.heard);
	rig.heard = mem_strdup("");
	flush_news(rig.worker.flusher, JOB(2));
	flush_news(rig.worker.flusher, JOB(1));
	await(told_of_first);
	assert_null(strstr(rig.heard, JOB(2)));
}

static void an_attempt_that_was_taken_over_writes_nothing(void **state UNUSED) {
	must("UPDATE trabajos SET attempt = 2 WHERE key = '" JOB(1) "'");
	print(0, "late");
	print(1, "fine");
	await(all_written);
	assert_says("SELECT string_agg(encode(data, 'escape'), '') FROM logs", "fine");
}

static void a_job_may_end_while_its_output_is_under_way(void **state UNUSED) {
	must("BEGIN; LOCK TABLE logs IN EXCLUSIVE MODE"); // it stays under way
	print(0, "last");
	await(first_sent);
	flush_remove(rig.worker.flusher, &rig.entries[0]);
	output_free(rig.entries[0].output);
	rig.entries[0].output = NULL;
	must("COMMIT");
	await(one_row);
	assert_says("SELECT encode(data, 'escape') FROM logs", "last");
}

static void what_is_followed_is_forgotten_when_nobody_says_so_any_more(void **state UNUSED) {
	struct followed *followed = followed_new();
	char key[UUID_TEXT];
	followed_add(followed, JOB(1), 1000);
	assert_true(followed_has(followed, JOB(1), 1000 + FOLLOW_HOLD_MS - 1));
	assert_false(followed_has(followed, JOB(1), 1000 + FOLLOW_HOLD_MS));
	assert_false(followed_has(followed, JOB(2), 1000));
	// more than are remembered: those that are do not suffer
	for (int i = 0; i < 10000; i++) {
		uuid_v7(key);
		followed_add(followed, key, 2000);
	}
	followed_add(followed, JOB(1), 2000 + FOLLOW_HOLD_MS);
	assert_true(followed_has(followed, JOB(1), 2000 + FOLLOW_HOLD_MS));
	followed_free(followed);
}

static void keys_are_read_one_by_one_and_anything_else_is_passed_over(void **state UNUSED) {
	const char *payload = "x " JOB(1) "  ? " JOB(2) "y " JOB(2);
	char key[UUID_TEXT];
	assert_true(follow_key(&payload, key));
	assert_string_equal(key, JOB(1));
	assert_true(follow_key(&payload, key));
	assert_string_equal(key, JOB(2));
	assert_false(follow_key(&payload, key));
	assert_false(follow_asked(""));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, two_run, none_runs)
	const struct CMUnitTest tests[] = {
		T(what_jobs_print_that_nobody_follows_goes_together_and_nobody_is_told),
		T(a_followed_job_is_known_and_its_frontends_are_told),
		T(an_attempt_that_was_taken_over_writes_nothing),
		T(a_job_may_end_while_its_output_is_under_way),
		cmocka_unit_test(what_is_followed_is_forgotten_when_nobody_says_so_any_more),
		cmocka_unit_test(keys_are_read_one_by_one_and_anything_else_is_passed_over),
	};
	return cmocka_run_group_tests_name("flush", tests, start, stop);
}
