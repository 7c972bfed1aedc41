// What is known of running attempts on its way into a real ledger, and what is shown of it.
#include "tests/unit/states_rig.h"
#include "worker/detail.h"
#include "worker/flush.h"
#include "worker/note.h"
#include "worker/worker.h"

#define PATIENCE_MS 20000
#define LOOK_MS     50 // each look is a connection of its own

static struct {
	struct worker worker;
	struct loop_timer *look, *patience;
	const char *question; // awaited: its answer is t; NULL: that the first is sent
	struct detail details[2];
	struct note_entry entries[2];
} rig;

static bool is_so(void) {
	if (!rig.question) return rig.entries[0].sent;
	for (size_t i = 0; i < COUNT_OF(rig.entries); i++)
		if (rig.entries[i].added && rig.entries[i].sent) return false; // the answer is not here yet
	AUTO_FREE char *answer = ask(rig.question);
	return strcmp(answer, "t") == 0;
}

static void look(void *arg UNUSED) {
	if (is_so())
		loop_stop(rig.worker.loop);
	else
		loop_timer_set(rig.look, LOOK_MS);
}

static void patience_lost(void *arg UNUSED) {
	fail_msg("what was waited for did not come: %s", rig.question ? rig.question : "sent");
}

static void await(const char *question) {
	rig.question = question;
	loop_timer_set(rig.look, 0);
	loop_timer_set(rig.patience, PATIENCE_MS);
	loop_run(rig.worker.loop);
	loop_timer_stop(rig.patience);
}

static void know(size_t i, const char *key, int64_t attempt, const char *commit) {
	rig.details[i] =
		(struct detail){.json = json_object(), .fetch_us = 7, .workspace_us = -1, .start_us = -1, .run_us = -1};
	json_object_set_new(rig.details[i].json, "commit", json_string(commit));
	json_object_set_new(rig.details[i].json, "plan", json_pack("{s:s, s:s}", "kind", "make", "command", "make main"));
	rig.entries[i] = (struct note_entry){.key = key, .attempt = attempt, .detail = &rig.details[i]};
	note_add(rig.worker.notes, &rig.entries[i]);
}

#define KNOW(i, n, attempt, commit) know(i, "00000000-0000-7000-8000-00000000000" #n, attempt, commit)

static int two_run(void **state) {
	if (empty(state)) return -1;
	memset(&rig, 0, sizeof rig);
	rig.worker.config.slots = 2;
	rig.worker.loop = loop_new();
	rig.look = loop_timer_new(rig.worker.loop, look, NULL);
	rig.patience = loop_timer_new(rig.worker.loop, patience_lost, NULL);
	rig.worker.chores = db_session_open(rig.worker.loop, &scratch.config);
	rig.worker.flusher = flusher_new(&rig.worker);
	rig.worker.notes = notes_new(&rig.worker);
	ADD_PLAIN(1, "a", 0);
	ADD_PLAIN(2, "b", 0);
	assert_claims(2, "a b");
	return 0;
}

static int none_runs(void **state UNUSED) {
	rig.worker.phase = WORKER_LEAVING;
	db_session_close(rig.worker.chores);
	for (size_t i = 0; i < COUNT_OF(rig.entries); i++) {
		note_remove(&rig.entries[i]);
		detail_clear(&rig.details[i]);
	}
	notes_free(rig.worker.notes);
	flusher_free(rig.worker.flusher);
	loop_timer_free(rig.look);
	loop_timer_free(rig.patience);
	loop_free(rig.worker.loop);
	return 0;
}

#define JOB_SAYS(n, what) "SELECT api_job(t, 0) " what " FROM trabajos t WHERE key = " KEY(n)

static void plan_and_commit_of_what_runs_are_written_together_and_shown(void **state UNUSED) {
	assert_says(JOB_SAYS(1, "->> 'commit'"), "NULL");
	KNOW(0, 1, 1, "c1");
	KNOW(1, 2, 1, "c2");
	await("SELECT count(*) = 2 FROM attempts WHERE detail IS NOT NULL");
	assert_says("SELECT count(DISTINCT xmin::text) FROM attempts", "1");
	assert_says(JOB_SAYS(1, "->> 'commit'"), "c1");
	assert_says(JOB_SAYS(1, "#>> '{plan,command}'"), "make main");
	assert_says(JOB_SAYS(2, "#>> '{attempts,0,commit}'"), "c2");
	assert_says(JOB_SAYS(2, "#>> '{times_us}'"), "{\"fetch\": 7}");
	assert_says(JOB_SAYS(2, "->> 'output'"), "NULL");
	assert_says(
		"SELECT string_agg(j ->> 'commit', ' ' ORDER BY n) FROM api_list('b', NULL, NULL, NULL, 9, 9, NULL, NULL, NULL,"
		" true, NULL, NULL) l, jsonb_array_elements(l.items::jsonb) WITH ORDINALITY e (j, n)",
		"c2");
}

static void an_attempt_that_ended_or_was_taken_over_keeps_what_it_has(void **state UNUSED) {
	assert_int_equal(FINISH(1, 1, "Finished"), 1);
	KNOW(0, 1, 1, "late");
	KNOW(1, 2, 1, "c2");
	await("SELECT count(*) = 1 FROM attempts WHERE detail ->> 'commit' = 'c2'");
	assert_says("SELECT detail ->> 'commit' FROM attempts WHERE key = " KEY(1), "NULL");
	assert_false(rig.entries[0].added);
}

static void a_job_that_ends_soon_costs_no_statement(void **state UNUSED) {
	KNOW(0, 1, 1, "short");
	note_remove(&rig.entries[0]);
	KNOW(1, 2, 1, "long");
	await("SELECT count(*) = 1 FROM attempts WHERE detail ->> 'commit' = 'long'");
	assert_says("SELECT count(*) FROM attempts WHERE detail ->> 'commit' = 'short'", "0");
}

static void what_is_noted_waits_for_a_ledger_that_is_away(void **state UNUSED) {
	scratch_down(&scratch);
	KNOW(0, 1, 1, "c1");
	await(NULL);
	assert_int_equal(scratch_up(&scratch), 0);
	db_close(db);
	assert_int_equal(db_open(&scratch.config, NULL, &db), 0);
	await("SELECT count(*) = 1 FROM attempts WHERE detail ->> 'commit' = 'c1'");
}

static void another_attempt_does_not_show_the_earlier_ones_plan_as_its_own(void **state UNUSED) {
	KNOW(0, 1, 1, "c1");
	await("SELECT count(*) = 1 FROM attempts WHERE detail IS NOT NULL");
	must("UPDATE trabajos SET commit_id = 'c1' WHERE key = " KEY(1));
	assert_int_equal(FINISH(1, 1, "Queued"), 1);
	assert_claims(1, "a");
	assert_says(JOB_SAYS(1, "->> 'status'"), "Running");
	assert_says(JOB_SAYS(1, "->> 'plan'"), "NULL");
	assert_says(JOB_SAYS(1, "->> 'commit'"), "NULL");
	KNOW(0, 1, 2, "c2");
	await("SELECT count(*) = 1 FROM attempts WHERE attempt = 2 AND detail IS NOT NULL");
	assert_says(JOB_SAYS(1, "->> 'commit'"), "c2");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, two_run, none_runs)
	const struct CMUnitTest tests[] = {
		T(plan_and_commit_of_what_runs_are_written_together_and_shown),
		T(an_attempt_that_ended_or_was_taken_over_keeps_what_it_has),
		T(a_job_that_ends_soon_costs_no_statement),
		T(what_is_noted_waits_for_a_ledger_that_is_away),
		T(another_attempt_does_not_show_the_earlier_ones_plan_as_its_own),
	};
	return cmocka_run_group_tests_name("note", tests, start, stop);
}
