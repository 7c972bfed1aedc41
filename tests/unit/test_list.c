// Pages of jobs, as the ledger makes them.

#include "tests/unit/states_rig.h"

// Keys of a page of ana's, their last digits; `looks` jobs are looked at for it.
#define FOUND(most, looks, arguments)                                                                                          \
	"SELECT coalesce((SELECT string_agg(right(j ->> 'key', 1), '' ORDER BY n)"                                             \
	" FROM jsonb_array_elements(l.items::jsonb) WITH ORDINALITY AS e (j, n)), '') || CASE WHEN l.next IS NOT NULL"         \
	" THEN '+' || right(l.next, 1) ELSE '' END FROM api_list('ana', NULL, NULL, NULL, " #most ", " #looks ", " arguments   \
	") l"
#define SEEKING(text) "NULL, NULL, NULL, false, NULL, NULL, '" text "'"

static int fill(void **state) {
	if (empty(state)) return -1;
	for (int n = 9; n > 0; n--) {
		AUTO_FREE char *add =
			mem_format("SELECT trabajos_add('00000000-0000-7000-8000-00000000000%d', '%s', 'name', false,"
				   " 'https://a.example/Team%d/r', '{}', 'f', NULL, 0::smallint, NULL, 0, NULL, 1,"
				   " false, now() - interval '%d s', now())",
				n, n == 5 ? "ben" : "ana", n % 3, n);
		must(add);
	}
	must("UPDATE trabajos SET spec = '{\"labels\": {\"Kind\": \"Über\\\\\\\"all\"}}' WHERE key IN (" KEY(2) ", " KEY(
		5) ")");
	must("UPDATE trabajos SET spec = '{\"labels\": null}' WHERE key = " KEY(3));
	return 0;
}

static void a_text_is_found_in_url_label_and_key_of_the_owners_own_jobs(void **state UNUSED) {
	assert_says(FOUND(9, 100, SEEKING("TEAM2")), "82");
	assert_says(FOUND(9, 100, SEEKING("kIND")), "2");
	assert_says(FOUND(9, 100, SEEKING("üBER\\\"ALL")), "2");
	assert_says(FOUND(9, 100, SEEKING("000000003")), "3");
	assert_says(FOUND(9, 100, SEEKING("-8000-")), "98764321");
	assert_says(FOUND(9, 100, SEEKING("ben")), "");
}

static void what_is_special_elsewhere_is_a_plain_character_of_a_text(void **state UNUSED) {
	assert_says(FOUND(9, 100, SEEKING("t%m")), "");
	assert_says(FOUND(9, 100, SEEKING("team_")), "");
	assert_says(FOUND(9, 100, SEEKING("\": \"")), "");
	assert_says(FOUND(9, 100, SEEKING("\\\"")), "2");
	assert_says(FOUND(9, 100, SEEKING("\\\\")), "");
}

static void a_search_that_finds_little_ends_after_a_while_and_goes_on_from_there(void **state UNUSED) {
	assert_says(FOUND(9, 3, SEEKING("team2")), "8+7");
	assert_says(FOUND(1, 100, SEEKING("team2")), "8+8");
	assert_says(
		"SELECT items || coalesce(next, '') FROM api_list('ana', NULL, " KEY(3) ", NULL, 9, 100, " SEEKING("team0") ")",
		"[]");
}

static void who_does_not_seek_asks_as_before(void **state UNUSED) {
	assert_says(FOUND(9, 100, "NULL, 'Kind', NULL, true, NULL, NULL"), "2");
	assert_says(FOUND(3, 100, "NULL, NULL, NULL, true, NULL, NULL"), "123+3");
}

// Page by page, whose keys, in the order of the list.
static const char paging[] =
	"CREATE OR REPLACE FUNCTION paged(whose text, shown text, statuses text[], contains text, newest boolean, looks integer)"
	" RETURNS text LANGUAGE plpgsql AS $$ DECLARE p record; found text := ''; key uuid; us bigint; BEGIN"
	" FOR i IN 1 .. 100 LOOP"
	"  SELECT * INTO p FROM api_list(whose, shown, key, us, 2, looks, statuses, NULL, NULL, newest, NULL, NULL, contains);"
	"  found := found || coalesce((SELECT string_agg(right(j ->> 'key', 1), '' ORDER BY n)"
	"   FROM jsonb_array_elements(p.items::jsonb) WITH ORDINALITY AS e (j, n)), '');"
	"  EXIT WHEN p.next IS NULL; us := split_part(p.next, '.', 1)::bigint; key := split_part(p.next, '.', 2)::uuid;"
	" END LOOP; RETURN found; END $$";

// What paged() says differs from what stands in trabajos, in so many cases.
static const char differing[] =
	"SELECT count(*) FROM (VALUES ('ana', NULL, true), (NULL, 'name', false), (NULL, NULL, true)) w (whose, shown, newest),"
	" (VALUES ('{Queued}'::text[], NULL), ('{Running}', NULL), ('{Failed,Cancelled}', NULL), ('{Running,Failed}', NULL),"
	"  ('{Queued,Running,Failed,Cancelled}', NULL), ('{Queued,Cancelled}', 'TEAM1'), ('{Finished,Failed}', NULL), (NULL, NULL))"
	"  s (statuses, contains), (VALUES (2), (100)) l (looks)"
	" WHERE paged(whose, shown, statuses, contains, newest, looks) <> coalesce((SELECT string_agg(right(t.key::text, 1), ''"
	"  ORDER BY CASE WHEN newest THEN t.posted_at END DESC, CASE WHEN NOT newest THEN t.posted_at END) FROM trabajos t"
	"  WHERE (whose IS NULL OR t.owner = whose) AND (shown IS NULL OR t.usuario = shown)"
	"  AND (statuses IS NULL OR t.status = ANY (statuses)) AND (contains IS NULL OR t.url ILIKE '%' || contains || '%')), '')";

static void whatever_states_jobs_are_in_those_asked_for_are_listed_all_and_in_order(void **state UNUSED) {
	// in the queue, waiting for a key, delayed, replaced, running, and all ends
	must("DELETE FROM trabajos WHERE key IN (" KEY(2) ", " KEY(3) ", " KEY(8) ")");
	ADD(8, "ana", 0, "'k'", 1, true, "now() - interval '8 s'");
	ADD(3, "ana", 0, "NULL", 1, false, "now() + interval '1 h'");
	must("SELECT trabajos_cancel(" KEY(6) ", NULL, 'why')");
	must("UPDATE queue SET place = -9 WHERE key IN (" KEY(4) ", " KEY(7) ", " KEY(8) ")");
	assert_claims(3, "ana ben ana");
	ADD(2, "ana", 0, "'k'", 1, true, "now() - interval '2 s'");
	assert_claims(1, "ana");
	assert_int_equal(FINISH(4, 1, "Failed") + FINISH(7, 1, "Finished"), 2);
	must(paging);
	assert_sound();
	assert_says("SELECT string_agg(DISTINCT status, ' ' ORDER BY status) FROM trabajos",
		"Cancelled Failed Finished Queued Running");
	assert_says(differing, "0");
	// what is replayed or removed is not what it was
	must("SELECT trabajos_replay(" KEY(4) ", NULL)");
	must("DELETE FROM trabajos WHERE key = " KEY(6));
	assert_sound();
	assert_says(differing, "0");
}

#define REPLAY(conditions, most, further)                                                                                      \
	"SELECT replayed || ' ' || more || ' ' || coalesce(right(next, 1), '-') FROM dead_letters_replay(" conditions          \
	", NULL, NULL, NULL, " #most ", " further ")"

static void dead_letters_are_replayed_in_batches_that_go_on(void **state UNUSED) {
	must("UPDATE trabajos SET status = 'Failed', finished_at = now(), outcome = '{\"code\": \"exit\"}' WHERE key <> " KEY(
		1));
	must("DELETE FROM queue WHERE key <> " KEY(1));
	must("INSERT INTO resultados SELECT usuario, key::text, status FROM trabajos WHERE status = 'Failed'");
	must("INSERT INTO dead_letters SELECT key, owner, date_trunc('minute', posted_at) FROM trabajos WHERE status = 'Failed'");
	// all died in the same minute, by key: 2 3 4 6 7 8 9, and ben's 5
	must("UPDATE dead_letters SET died_at = '2026-01-01'");
	assert_says(REPLAY("'ana', NULL, NULL, NULL", 2, "NULL, NULL, 10"), "2 true 3");
	assert_says(REPLAY("'ana', NULL, NULL, NULL", 2, "NULL, NULL, 10"), "2 true 6");
	must("UPDATE trabajos SET outcome = '{\"code\": \"lost\"}' WHERE key = " KEY(9));
	assert_says(
		"SELECT replayed || ' ' || more || ' ' || right(next, 1) FROM dead_letters_replay('ana', NULL, NULL, 'lost', NULL,"
		" NULL, NULL, 5, NULL, NULL, 2)",
		"0 true 8");
	assert_says(
		"SELECT replayed || ' ' || more || ' ' || coalesce(next, '-') FROM dead_letters_replay('ana', NULL, NULL, 'lost', NULL,"
		" NULL, NULL, 5, " KEY(8) ", (extract(epoch FROM timestamptz '2026-01-01') * 1000000)::bigint, 2)",
		"1 false -");
	assert_says(
		REPLAY("'ana', NULL, ARRAY[" KEY(5) ", " KEY(7) ", " KEY(7) ", " KEY(8) "]::uuid[], NULL", 1, "NULL, NULL, 1"),
		"1 true -");
	assert_says("SELECT string_agg(right(key::text, 1), '' ORDER BY key) FROM dead_letters", "58");
	assert_sound();
}

int main(void) {
#define FILLED(test) cmocka_unit_test_setup(test, fill)
	const struct CMUnitTest tests[] = {
		FILLED(a_text_is_found_in_url_label_and_key_of_the_owners_own_jobs),
		FILLED(what_is_special_elsewhere_is_a_plain_character_of_a_text),
		FILLED(a_search_that_finds_little_ends_after_a_while_and_goes_on_from_there),
		FILLED(who_does_not_seek_asks_as_before),
		FILLED(dead_letters_are_replayed_in_batches_that_go_on),
		FILLED(whatever_states_jobs_are_in_those_asked_for_are_listed_all_and_in_order),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
