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
	assert_says(FOUND(1, 100, SEEKING("team2")), "8+3");
	assert_says(
		"SELECT items || coalesce(next, '') FROM api_list('ana', NULL, " KEY(3) ", NULL, 9, 100, " SEEKING("team0") ")",
		"[]");
}

static void who_does_not_seek_asks_as_before(void **state UNUSED) {
	assert_says(FOUND(9, 100, "NULL, 'Kind', NULL, true, NULL, NULL"), "2");
	assert_says(FOUND(3, 100, "NULL, NULL, NULL, true, NULL, NULL"), "123+3");
}

int main(void) {
#define FILLED(test) cmocka_unit_test_setup(test, fill)
	const struct CMUnitTest tests[] = {
		FILLED(a_text_is_found_in_url_label_and_key_of_the_owners_own_jobs),
		FILLED(what_is_special_elsewhere_is_a_plain_character_of_a_text),
		FILLED(a_search_that_finds_little_ends_after_a_while_and_goes_on_from_there),
		FILLED(who_does_not_seek_asks_as_before),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
