// Followers of a job's log: what they get, in which order, and at whose cost.
#include "tests/unit/follow_rig.h"

static void a_follower_hears_of_status_output_and_end(void **state UNUSED) {
	add_job(KEY(1), "Queued", 0);
	AUTO_TAIL tail = tail_open(JOB_KEY(1));
	assert_begins(&tail, STATUS("Queued", 0));
	IS(1, "Running", 1);
	must("INSERT INTO attempts (key, attempt, worker, owner) VALUES (" KEY(1) ", 1, 'w', 'o')");
	TELL(1);
	assert_event(&tail, STATUS("Running", 1));
	PRINT(1, 1, 0, 1, "one\n");
	TELL(1);
	assert_event(&tail, OUTPUT(1, 0, "stdout", "\"text\":\"one\\n\""));
	PRINT(1, 1, 1, 2, "\\x1b5b33316d22e282ac00");
	PRINT(1, 1, 2, 1, "\\xff41");
	end_job(KEY(1), 1, "{\"output\": {\"bytes\": 20, \"kept\": 13}}");
	TELL(1);
	assert_event(&tail, OUTPUT(1, 1, "stderr", "\"text\":\"\\u001B[31m\\\"€\\u0000\""));
	assert_event(&tail, OUTPUT(1, 2, "stdout", "\"base64\":\"/0E=\""));
	assert_event(&tail, "event: truncated\ndata: {\"attempt\":1,\"bytes\":7}");
	assert_event(&tail, STATUS("Finished", 1));
	assert_event(&tail, END("Finished", 1));
	assert_over(&tail);
}

static void as_text_it_gets_the_bytes_of_all_attempts_and_nothing_else(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	PRINT(1, 1, 0, 1, "out ");
	PRINT(1, 1, 1, 2, "err ");
	AUTO_TAIL tail = tail_open(JOB_KEY(1) "?text=1"), errors = tail_open(JOB_KEY(1) "?text=1&stream=2");
	while (tail.length < 8) assert_true(tail_more(&tail));
	IS(1, "Queued", 1);
	TELL(1);
	IS(1, "Running", 2);
	must("INSERT INTO attempts (key, attempt, worker, owner) VALUES (" KEY(1) ", 2, 'w', 'o')");
	PRINT(1, 2, 0, 2, "again");
	end_job(KEY(1), 2, "{}");
	TELL(1);
	while (tail_more(&tail)) continue;
	while (tail_more(&errors)) continue;
	assert_true(tail.ended && errors.ended);
	assert_string_equal(tail.data, "out err again");
	assert_string_equal(errors.data, "err again");
}

static void a_new_attempt_is_announced_and_one_alone_ends_with_itself(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	PRINT(1, 1, 0, 1, "first");
	AUTO_TAIL tail = tail_open(JOB_KEY(1)), alone = tail_open(JOB_KEY(1) "?attempt=1");
	assert_begins(&tail, STATUS("Running", 1));
	assert_event(&tail, OUTPUT(1, 0, "stdout", "\"text\":\"first\""));
	must("UPDATE attempts SET finished_at = now(), outcome = '{\"code\": \"ok\"}'");
	IS(1, "Queued", 1);
	TELL(1);
	assert_event(&tail, STATUS("Queued", 1));
	must("INSERT INTO attempts (key, attempt, worker, owner) VALUES (" KEY(1) ", 2, 'w', 'o')");
	IS(1, "Running", 2);
	PRINT(1, 2, 0, 1, "second");
	TELL(1);
	assert_event(&tail, STATUS("Running", 2));
	assert_event(&tail, OUTPUT(2, 0, "stdout", "\"text\":\"second\""));
	// cancelled while queued: an attempt without a run
	IS(1, "Queued", 2);
	SQL("UPDATE trabajos SET status = 'Cancelled', attempt = 3, outcome = '{\"code\": \"ok\"}'");
	TELL(1);
	assert_event(&tail, STATUS("Cancelled", 3));
	assert_event(&tail, END("Cancelled", 3));
	assert_over(&tail);
	assert_begins(&alone, STATUS("Running", 1));
	assert_event(&alone, OUTPUT(1, 0, "stdout", "\"text\":\"first\""));
	assert_event(&alone, STATUS("Queued", 1));
	assert_event(&alone, END("Queued", 1));
	assert_over(&alone);
}

static void it_goes_on_behind_the_last_event_also_in_an_earlier_attempt(void **state UNUSED) {
	add_job(KEY(1), "Running", 2);
	for (int i = 0; i < 3; i++) PRINT(1, 1, i, 1, "a");
	PRINT(1, 2, 0, 1, "b");
	end_job(KEY(1), 2, "{}");
	AUTO_TAIL tail = tail_open(JOB_KEY(1) "?last=1.0"), done = tail_open(JOB_KEY(1) "?last=2.0"),
		  far = tail_open(JOB_KEY(1) "?last=2.999");
	assert_begins(&tail, STATUS("Finished", 2));
	assert_event(&tail, OUTPUT(1, 1, "stdout", "\"text\":\"a\""));
	assert_event(&tail, OUTPUT(1, 2, "stdout", "\"text\":\"a\""));
	assert_event(&tail, OUTPUT(2, 0, "stdout", "\"text\":\"b\""));
	assert_event(&tail, END("Finished", 2));
	assert_over(&tail);
	assert_begins(&done, STATUS("Finished", 2));
	assert_event(&done, END("Finished", 2));
	assert_over(&done);
	assert_begins(&far, STATUS("Finished", 2));
	assert_event(&far, END("Finished", 2));
}

static void a_notification_that_gets_lost_costs_no_output(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	AUTO_TAIL tail = tail_open(JOB_KEY(1));
	assert_begins(&tail, STATUS("Running", 1));
	PRINT(1, 1, 0, 1, "quiet");
	assert_event(&tail, OUTPUT(1, 0, "stdout", "\"text\":\"quiet\""));
}

static void connections_that_break_cost_no_output(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	AUTO_TAIL tail = tail_open(JOB_KEY(1));
	assert_begins(&tail, STATUS("Running", 1));
	must("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
	PRINT(1, 1, 0, 1, "meanwhile");
	TELL(1);
	assert_event(&tail, OUTPUT(1, 0, "stdout", "\"text\":\"meanwhile\""));
	end_job(KEY(1), 1, "{}");
	assert_event(&tail, STATUS("Finished", 1));
	assert_event(&tail, END("Finished", 1));
}

static void many_followers_of_a_job_are_one_read(void **state UNUSED) {
	enum { MANY = 60 };
	struct tail tails[MANY];
	add_job(KEY(1), "Running", 1);
	for (int i = 0; i < MANY; i++) {
		tails[i] = tail_open(JOB_KEY(1));
		assert_begins(&tails[i], STATUS("Running", 1));
	}
	int64_t begun_us = loop_now_us(), live = metric_get(&meter_follow_live), pages = metric_get(&meter_follow_behind);
	for (int round = 0; round < 5; round++) {
		PRINT(1, 1, round, 1, "x");
		TELL(1);
		for (int i = 0; i < MANY; i++) {
			AUTO_FREE char *event = tail_event(&tails[i]);
			assert_non_null(strstr(event, "\"text\":\"x\""));
		}
	}
	// and one about every second
	int64_t looks = 2 + (loop_now_us() - begun_us) / 700000;
	assert_in_range(metric_get(&meter_follow_live) - live, 1, 5 + looks);
	assert_int_equal(metric_get(&meter_follow_behind), pages);
	for (int i = 0; i < MANY; i++) tail_close(&tails[i]);
}

static void those_who_come_late_share_what_is_read_for_them(void **state UNUSED) {
	enum { MANY = 20, CHUNKS = 100 };
	struct tail tails[MANY];
	add_job(KEY(1), "Running", 1);
	print_much(KEY(1), 1, 0, CHUNKS - 1);
	end_job(KEY(1), 1, "{}");
	int64_t pages = metric_get(&meter_follow_behind);
	for (int i = 0; i < MANY; i++) {
		tails[i] = tail_open(JOB_KEY(1));
		assert_begins(&tails[i], STATUS("Finished", 1));
	}
	// abreast, whatever the sockets hold
	for (int seq = 0; seq < CHUNKS; seq++) {
		AUTO_FREE char *id = mem_format("id: 1.%d\n", seq);
		for (int i = 0; i < MANY; i++) {
			AUTO_FREE char *event = tail_event(&tails[i]);
			assert_int_equal(strncmp(event, id, strlen(id)), 0);
		}
	}
	for (int i = 0; i < MANY; i++) {
		assert_event(&tails[i], END("Finished", 1));
		tail_close(&tails[i]);
	}
	assert_in_range(metric_get(&meter_follow_behind) - pages, CHUNKS / 4, MANY * CHUNKS / 8);
}

static void who_reads_slowly_gets_all_and_holds_nobody_back(void **state UNUSED) {
	enum { ROUNDS = 12, CHUNKS = 50 };
	add_job(KEY(1), "Running", 1);
	AUTO_TAIL slow = tail_open(JOB_KEY(1)), quick = tail_open(JOB_KEY(1));
	assert_begins(&slow, STATUS("Running", 1));
	assert_begins(&quick, STATUS("Running", 1));
	for (int round = 0; round < ROUNDS; round++) {
		print_much(KEY(1), 1, round * CHUNKS, round * CHUNKS + CHUNKS - 1);
		TELL(1);
		for (int i = 0; i < CHUNKS; i++) free(tail_event(&quick));
	}
	end_job(KEY(1), 1, "{}");
	TELL(1);
	assert_event(&quick, STATUS("Finished", 1));
	assert_event(&quick, END("Finished", 1));
	assert_over(&quick);
	assert_int_equal(assert_all_until_end(&slow, 0), ROUNDS * CHUNKS);
	assert_event(&slow, END("Finished", 1));
	assert_over(&slow);
}

static void expire(struct rig *of UNUSED) {
	claims.exp_s = loop_wall_ms() / 1000 - TOKEN_SKEW_S;
}

static void an_expired_token_ends_the_stream(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	AUTO_TAIL tail = tail_open(JOB_KEY(1)), text = tail_open(JOB_KEY(1) "?text=1");
	assert_begins(&tail, STATUS("Running", 1));
	rig_do(rig, expire);
	assert_event(&tail, "event: expired\ndata: {}");
	assert_over(&tail);
	assert_false(tail_more(&text));
	assert_true(text.cut);
}

static void a_server_that_stops_ends_the_streams_so_that_clients_come_again(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	AUTO_TAIL tail = tail_open(JOB_KEY(1)), text = tail_open(JOB_KEY(1) "?text=1");
	assert_begins(&tail, STATUS("Running", 1));
	rig_do(rig, rig_quiesce_hub);
	assert_over(&tail);
	assert_false(tail_more(&text));
	assert_true(text.cut);
	AUTO_TAIL late = tail_open(JOB_KEY(1));
	assert_int_equal(late.status, 429);
}

static void a_job_that_is_removed_ends_its_streams(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	AUTO_TAIL tail = tail_open(JOB_KEY(1)), text = tail_open(JOB_KEY(1) "?text=1");
	assert_begins(&tail, STATUS("Running", 1));
	must("DELETE FROM trabajos");
	TELL(1);
	assert_over(&tail);
	assert_false(tail_more(&text));
	assert_true(text.cut);
}

static void a_replayed_job_is_followed_anew(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	print_much(KEY(1), 1, 0, 599);
	end_job(KEY(1), 1, "{}");
	AUTO_TAIL before = tail_open(JOB_KEY(1));
	assert_begins(&before, STATUS("Finished", 1));
	IS(1, "Queued", 1);
	AUTO_TAIL after = tail_open(JOB_KEY(1) "?last=1.599");
	assert_begins(&after, STATUS("Queued", 1));
	must("INSERT INTO attempts (key, attempt, worker, owner) VALUES (" KEY(1) ", 2, 'w', 'o')");
	PRINT(1, 2, 0, 1, "anew");
	end_job(KEY(1), 2, "{}");
	TELL(1);
	assert_event(&after, STATUS("Running", 2));
	assert_event(&after, OUTPUT(2, 0, "stdout", "\"text\":\"anew\""));
	assert_event(&after, STATUS("Finished", 2));
	assert_event(&after, END("Finished", 2));
	for (int i = 0; i < 600; i++) free(tail_event(&before));
	AUTO_FREE char *end = tail_event(&before);
	assert_non_null(end);
}

static void the_log_of_a_taken_result_is_that_of_the_job_that_had_it(void **state UNUSED) {
	add_job(KEY(1), "Running", 2);
	PRINT(1, 1, 0, 1, "lost");
	PRINT(1, 2, 0, 1, "theirs");
	end_job(KEY(1), 2, "{\"output\": {\"bytes\": 9, \"kept\": 6}}");
	add_job(KEY(2), "Running", 1);
	AUTO_TAIL tail = tail_open(JOB_KEY(2));
	assert_begins(&tail, STATUS("Running", 1));
	end_job(KEY(2), 1, "{\"reused_from\": \"" JOB_KEY(1) "\"}");
	TELL(2);
	assert_event(&tail, OUTPUT(1, 0, "stdout", "\"text\":\"theirs\""));
	assert_event(&tail, "event: truncated\ndata: {\"attempt\":1,\"bytes\":3}");
	assert_event(&tail, STATUS("Finished", 1));
	assert_event(&tail, END("Finished", 1));
	AUTO_TAIL again = tail_open(JOB_KEY(2) "?text=1");
	while (tail_more(&again)) continue;
	assert_string_equal(again.data, "theirs");
}

static int limited_setup(void **state) {
	most_per_user = 2;
	return follow_setup(state);
}

static void a_user_has_so_many_followers_and_no_more_until_one_leaves(void **state UNUSED) {
	add_job(KEY(1), "Running", 1);
	add_job(KEY(2), "Running", 1);
	struct tail first = tail_open(JOB_KEY(1)), second = tail_open(JOB_KEY(2)), third = tail_open(JOB_KEY(1));
	assert_int_equal(first.status, 200);
	assert_int_equal(second.status, 200);
	assert_int_equal(third.status, 429);
	tail_close(&third);
	tail_close(&first);
	for (int i = 0; i < 2000 && metric_get(&meter_followers) > 1; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	third = tail_open(JOB_KEY(1));
	assert_int_equal(third.status, 200);
	tail_close(&third);
	tail_close(&second);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, follow_setup, follow_teardown)
	const struct CMUnitTest tests[] = {
		T(a_follower_hears_of_status_output_and_end),
		T(as_text_it_gets_the_bytes_of_all_attempts_and_nothing_else),
		T(a_new_attempt_is_announced_and_one_alone_ends_with_itself),
		T(it_goes_on_behind_the_last_event_also_in_an_earlier_attempt),
		T(a_notification_that_gets_lost_costs_no_output),
		T(connections_that_break_cost_no_output),
		T(many_followers_of_a_job_are_one_read),
		T(those_who_come_late_share_what_is_read_for_them),
		T(who_reads_slowly_gets_all_and_holds_nobody_back),
		T(an_expired_token_ends_the_stream),
		T(a_server_that_stops_ends_the_streams_so_that_clients_come_again),
		T(a_job_that_is_removed_ends_its_streams),
		T(a_replayed_job_is_followed_anew),
		T(the_log_of_a_taken_result_is_that_of_the_job_that_had_it),
		cmocka_unit_test_setup_teardown(
			a_user_has_so_many_followers_and_no_more_until_one_leaves, limited_setup, follow_teardown),
	};
	return cmocka_run_group_tests_name("follow", tests, start, stop);
}
