// Artifacts in the ledger: who sees what, and what is collected when.
#include "tests/unit/states_rig.h"

#include <string.h>

#define SHA(c) "repeat('" c "', 64)"

static void reserve(const char *owner, const char *sha256, int most_bytes) {
	AUTO_FREE char *sql =
		mem_format("DROP TABLE IF EXISTS reserved; CREATE TEMP TABLE reserved AS SELECT r.id, r.there FROM"
			   " blobs_reserve('%s', ARRAY[%s], ARRAY[10], 'ledger', %d) r",
			owner, sha256, most_bytes);
	must(sql);
	must("INSERT INTO blob_chunks SELECT id, 0, 'x' FROM reserved WHERE NOT there AND id IS NOT NULL");
}

static bool keep(int number, int attempt, const char *owner) {
	AUTO_FREE char *sql = mem_format(
		"DROP TABLE IF EXISTS said; CREATE TABLE said AS SELECT artifacts_keep('00000000-0000-7000-8000-00000000000%d', %d, '%s',"
		" ARRAY['a.txt'], ARRAY[10], ARRAY['text/plain'], ARRAY(SELECT id FROM reserved)) AS yes",
		number, attempt, owner);
	must(sql);
	AUTO_FREE char *yes = ask("SELECT yes::int FROM said");
	return strcmp(yes, "1") == 0;
}

static void leave(int number, const char *owner, const char *sha256) {
	reserve(owner, sha256, 0);
	assert_true(keep(number, 1, owner));
}

static void finish_with_artifacts(int number, const char *status) {
	AUTO_FREE char *sql = mem_format(
		"SELECT * FROM trabajos_finish(ARRAY['00000000-0000-7000-8000-00000000000%d']::uuid[], ARRAY[1],"
		" ARRAY['%s'], ARRAY[0], ARRAY[0], ARRAY['{\"code\": \"ok\"}']::jsonb[],"
		" ARRAY['{\"artifacts\": {\"files\": 1}}']::jsonb[], ARRAY[5], ARRAY[NULL]::text[], ARRAY[0], ARRAY[0],"
		" '{}', '{}', '{}', '{}', '{}')",
		number, status);
	must(sql);
}

#define assert_listed(n, owner, count)                                                                                         \
	assert_says("SELECT coalesce(jsonb_array_length(api_artifacts(" KEY(n) ", '" owner "')::jsonb), -1)", count)

static int clean(void **state UNUSED) {
	must("TRUNCATE trabajos, workers; DELETE FROM blob_chunks; DELETE FROM blobs; DELETE FROM blobs_doomed");
	return 0;
}

static void artifacts_are_seen_with_the_result_by_their_owner_alone(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	leave(1, "ana", SHA("a"));
	assert_listed(1, "ana", "0");
	finish_with_artifacts(1, "Finished");
	assert_listed(1, "ana", "1");
	assert_listed(1, "ben", "-1");
	assert_says("SELECT jsonb_array_length(api_artifacts(" KEY(1) ", NULL)::jsonb)", "1");
	assert_says("SELECT known::text || (blob IS NOT NULL)::text FROM api_artifact(" KEY(1) ", 'ana', 'a.txt')", "truetrue");
	assert_says(
		"SELECT known::text || (blob IS NOT NULL)::text FROM api_artifact(" KEY(1) ", 'ana', 'b.txt')", "truefalse");
	assert_says("SELECT known FROM api_artifact(" KEY(1) ", 'ben', 'a.txt')", "f");
}

static void an_attempt_that_was_taken_over_keeps_nothing_and_what_it_kept_is_collected(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	leave(1, "ana", SHA("a"));
	must("SELECT artifacts_collect(100, interval '1 hour')");
	assert_says("SELECT count(*) FROM artifacts", "1"); // it runs: it may still link them
	must("UPDATE trabajos SET attempt = 2; UPDATE attempts SET finished_at = now()");
	must("SELECT artifacts_collect(100, interval '1 hour')");
	assert_says("SELECT count(*) FROM artifacts", "0");
	reserve("ana", SHA("b"), 0);
	assert_false(keep(1, 1, "ana"));
	assert_says("SELECT count(*) FROM artifacts", "0");
}

static void the_same_content_is_stored_once_for_an_owner_and_apart_from_others(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ben", 0);
	assert_claims(2, "ana ben");
	leave(1, "ana", SHA("a"));
	reserve("ana", SHA("a"), 0);
	assert_says("SELECT count(*) FROM blobs", "1");
	leave(2, "ben", SHA("a"));
	assert_says("SELECT count(*) FROM blobs WHERE stored", "2");
}

static void what_lies_in_another_place_is_not_taken_for_what_is_here(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	must("INSERT INTO blobs (owner, sha256, size, place, stored) VALUES ('ana', " SHA("a") ", 10, 's3', true)");
	leave(1, "ana", SHA("a"));
	assert_says("SELECT b.place FROM artifacts a JOIN blobs b ON b.id = a.blob", "ledger");
	assert_says("SELECT count(*) FROM blobs WHERE stored", "2");
}

static void of_two_that_store_the_same_at_once_one_stays(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ana", 0);
	assert_claims(2, "ana ana");
	must("CREATE TEMP TABLE first AS SELECT id, there FROM blobs_reserve('ana', ARRAY[" SHA(
		"a") "], ARRAY[10], 'ledger', 0)");
	leave(1, "ana", SHA("a"));
	must("DELETE FROM reserved; INSERT INTO reserved SELECT id, there FROM first");
	assert_true(keep(2, 1, "ana"));
	assert_says("SELECT count(*) FROM blobs WHERE stored", "1");
	assert_says("SELECT count(DISTINCT blob) FROM artifacts", "1");
	assert_says("SELECT count(*) FROM artifacts", "2");
	must("UPDATE blobs SET loose_at = now() - interval '2 hours'");
	must("SELECT artifacts_collect(100, interval '1 hour')");
	assert_says("SELECT count(*) FROM blobs", "1");
	assert_says("SELECT count(*) FROM blobs WHERE loose_at IS NOT NULL", "0");
}

static void content_goes_a_while_after_its_last_job(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	ADD_PLAIN(2, "ana", 0);
	assert_claims(2, "ana ana");
	leave(1, "ana", SHA("a"));
	leave(2, "ana", SHA("a"));
	finish_with_artifacts(1, "Finished");
	finish_with_artifacts(2, "Failed");
	must("DELETE FROM trabajos WHERE key = " KEY(1));
	must("SELECT artifacts_collect(100, interval '0')");
	assert_says("SELECT count(*) FROM blobs", "1");
	must("DELETE FROM trabajos WHERE key = " KEY(2));
	must("SELECT artifacts_collect(100, interval '1 hour')");
	assert_says("SELECT count(*) FROM blobs", "1");
	must("SELECT artifacts_collect(100, interval '0')");
	assert_says("SELECT (SELECT count(*) FROM blobs) + (SELECT count(*) FROM blob_chunks)", "0");
	assert_says("SELECT count(*) FROM blobs_doomed", "0");
}

static void an_object_outside_is_doomed_with_its_content_and_taken_by_one_keeper(void **state UNUSED) {
	must("INSERT INTO blobs (owner, sha256, size, place, loose_at) VALUES ('ana', " SHA("a") ", 1, 'folder', '-infinity')");
	must("SELECT artifacts_collect(100, interval '1 hour')");
	assert_says("SELECT count(*) FROM blobs", "0");
	assert_says("SELECT count(*) FROM blobs_doomed_take('s3', 10)", "0");
	assert_says("SELECT count(*) FROM blobs_doomed_take('folder', 10)", "1");
	assert_says("SELECT count(*) FROM blobs_doomed_take('folder', 10)", "0");
}

static void a_replay_takes_the_artifacts_back(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	leave(1, "ana", SHA("a"));
	finish_with_artifacts(1, "Finished");
	must("SELECT trabajos_replay(" KEY(1) ", 'ana')");
	assert_says("SELECT count(*) FROM artifacts", "0");
	assert_says("SELECT count(*) FROM blobs WHERE loose_at IS NOT NULL", "1");
}

static void who_has_no_room_is_told_so_and_what_is_there_needs_none(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	leave(1, "ana", SHA("a"));
	reserve("ana", SHA("b"), 15);
	assert_says("SELECT count(*) FROM blobs WHERE sha256 = " SHA("b"), "0");
	must("CREATE TABLE seen AS SELECT id, there FROM blobs_reserve('ana', ARRAY[" SHA("a") "], ARRAY[10], 'ledger', 15)");
	assert_says("SELECT there FROM seen", "t");
	must("DROP TABLE seen");
}

static void a_reused_result_brings_its_artifacts_unless_they_were_lost(void **state UNUSED) {
	ADD_PLAIN(1, "ana", 0);
	assert_claims(1, "ana");
	must("SELECT reuse_take(" KEY(1) ", 1, 'ana', 'print')");
	leave(1, "ana", SHA("a"));
	finish_with_artifacts(1, "Finished");
	ADD_PLAIN(2, "ana", 0);
	assert_claims(1, "ana");
	assert_says(
		"SELECT right(earlier::text, 1) || ' ' || files || ' ' || bytes FROM reuse_take(" KEY(2) ", 1, 'ana', 'print')",
		"1 1 10");
	finish_with_artifacts(2, "Finished");
	must("DELETE FROM trabajos WHERE key = " KEY(1));
	assert_listed(2, "ana", "1");
	ADD_PLAIN(3, "ana", 0);
	must("UPDATE reusable SET key = " KEY(2) "; INSERT INTO reusable VALUES ('ana', 'print', " KEY(
		2) ") ON CONFLICT DO NOTHING");
	must("UPDATE attempts SET detail = '{\"artifacts\": {\"files\": 0, \"error\": \"lost\"}}' WHERE key = " KEY(2));
	assert_says("SELECT coalesce(earlier::text, 'none') FROM reuse_take(" KEY(3) ", 1, 'ana', 'print')", "none");
}

int main(void) {
#define CLEAN(test) cmocka_unit_test_setup(test, clean)
	const struct CMUnitTest tests[] = {
		CLEAN(artifacts_are_seen_with_the_result_by_their_owner_alone),
		CLEAN(an_attempt_that_was_taken_over_keeps_nothing_and_what_it_kept_is_collected),
		CLEAN(the_same_content_is_stored_once_for_an_owner_and_apart_from_others),
		CLEAN(what_lies_in_another_place_is_not_taken_for_what_is_here),
		CLEAN(of_two_that_store_the_same_at_once_one_stays),
		CLEAN(content_goes_a_while_after_its_last_job),
		CLEAN(an_object_outside_is_doomed_with_its_content_and_taken_by_one_keeper),
		CLEAN(a_replay_takes_the_artifacts_back),
		CLEAN(who_has_no_room_is_told_so_and_what_is_there_needs_none),
		CLEAN(a_reused_result_brings_its_artifacts_unless_they_were_lost),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
