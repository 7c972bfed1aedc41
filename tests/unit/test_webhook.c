// What on_done may be, its signature, and who is served when in the ledger's rounds.
#include "lib/webhook.h"
#include "tests/unit/states_rig.h"

#include <string.h>

// ---- what it may be

static int check(const char *text) {
	AUTO_JSON json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
	AUTO_ERROR struct error error = {0};
	assert_non_null(json);
	int status = webhook_check(json, &error);
	if (status) assert_non_null(strstr(error_text(&error), "on_done"));
	return status;
}

static void a_url_or_an_object_with_a_secret_is_taken(void **state UNUSED) {
	assert_int_equal(check("\"https://example.org/hook?token=a%20b\""), 0);
	assert_int_equal(check("\"HTTP://example.org\""), 0);
	assert_int_equal(check("{\"url\":\"https://example.org/\"}"), 0);
	assert_int_equal(check("{\"url\":\"https://example.org/\",\"secret\":null}"), 0);
	assert_int_equal(check("{\"url\":\"https://example.org/\",\"secret\":\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"}"), 0);
}

static void anything_else_is_refused(void **state UNUSED) {
	static const char *const bad[] = {"7", "[]", "{}", "\"\"", "\"example.org\"", "\"ftp://example.org/\"",
		"\"https://example.org/a b\"", "\"https://example.org/\\n\"", "\"https://example.org/#x\"",
		"\"https://exämple.org/\"", "{\"url\":7}", "{\"secret\":\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"}",
		"{\"url\":\"https://example.org/\",\"more\":1}", "{\"url\":\"https://example.org/\",\"secret\":\"x\"}",
		"{\"url\":\"https://example.org/\",\"secret\":\"whsec_\"}",
		"{\"url\":\"https://example.org/\",\"secret\":\"whsec_AAAA\"}",
		"{\"url\":\"https://example.org/\",\"secret\":7}"};
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (check(bad[i]) == 0) fail_msg("taken: %s", bad[i]);
}

static void it_goes_to_public_places_and_what_is_listed(void **state UNUSED) {
	static const struct {
		const char *url, *normal; // NULL: refused
		bool listed;
	} cases[] = {
		{"https://Example.org:443/a/../b?c=../d", "https://example.org/b?c=../d", false},
		{"http://example.org/x?y", "https://example.org/x?y", false},
		{"http://10.0.0.1:9000/hooks/x?y", "http://10.0.0.1:9000/hooks/x?y", true},
		{"http://10.0.0.1:9000/hooks/../x", NULL, false},
		{"http://10.0.0.1:9001/hooks/", NULL, false},
		{"https://10.0.0.1/", NULL, false},
		{"https://localhost/", NULL, false},
		{"https://[fe80::1]/?x", NULL, false},
		{"https://user:word@example.org/", NULL, false},
		{"https:///x", NULL, false},
	};
	struct giturl_rules *rules = NULL;
	assert_int_equal(giturl_rules_parse("http://10.0.0.1:9000/hooks/", &rules, NULL), 0);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		AUTO_ERROR struct error error = {0};
		AUTO_FREE char *url = NULL;
		bool listed = false;
		int status = webhook_url(cases[i].url, rules, &url, &listed, &error);
		if (status != (cases[i].normal ? 0 : -1)) fail_msg("%s: %d", cases[i].url, status);
		if (status) continue;
		assert_string_equal(url, cases[i].normal);
		assert_int_equal(listed, cases[i].listed);
	}
	giturl_rules_free(rules);
}

// Of the specification's reference libraries.
static void the_signature_is_the_standards(void **state UNUSED) {
	AUTO_FREE char *signature = webhook_sign(
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}");
	assert_string_equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
	assert_null(webhook_sign("whsec_x", "msg", 1, ""));
}

static void a_secret_is_not_shown(void **state UNUSED) {
	AUTO_JSON json_t *json = json_pack("{s:s, s:s}", "url", "https://example.org/", "secret", "whsec_x");
	AUTO_JSON json_t *shown = webhook_shown(json);
	AUTO_FREE char *text = json_write(shown);
	assert_string_equal(text, "{\"secret\":null,\"url\":\"https://example.org/\"}");
	assert_says("SELECT api_on_done('{\"on_done\": {\"url\": \"u\", \"secret\": \"s\"}}')",
		"{\"url\": \"u\", \"secret\": null}");
	assert_says("SELECT api_on_done('{\"on_done\": \"u\"}')", "\"u\"");
	assert_says("SELECT api_on_done('{}') IS NULL", "t");
}

// ---- events and rounds

#define WITH_HOOK(n, owner, url)                                                                                               \
	ADD_PLAIN(n, owner, 0);                                                                                                \
	must("UPDATE trabajos SET spec = '{\"on_done\": \"" url "\"}' WHERE key = " KEY(n))

// Some events of an owner's for one place.
static void events(const char *owner, const char *origin, int count) {
	AUTO_FREE char *sql = mem_format(
		"INSERT INTO webhooks (id, key, owner, origin, url, body) SELECT '%s %s ' || n, gen_random_uuid(), '%s', '%s',"
		" '%s/', '{}' FROM generate_series(1, %d) n",
		owner, origin, owner, origin, origin, count);
	must(sql);
}

// What a round takes: "owner origin" and how many of it, sorted.
static char *round_of(int most, const char *owner, const char *origin) {
	AUTO_FREE char *sql =
		mem_format("DROP TABLE IF EXISTS took; CREATE TABLE took AS SELECT * FROM webhooks_take(%d, 60, '%s', '%s')",
			most, owner, origin);
	must(sql);
	return ask(
		"SELECT coalesce(string_agg(o || ' ' || n, ', ' ORDER BY o), '') FROM (SELECT owner || ' ' || origin AS o, count(*) AS n"
		" FROM took WHERE id IS NOT NULL GROUP BY 1) x");
}

#define assert_round(most, owner, origin, expected)                                                                            \
	do {                                                                                                                   \
		AUTO_FREE char *took_ = round_of(most, owner, origin);                                                         \
		assert_string_equal(took_, expected);                                                                          \
	} while (0)

static int clean(void **state UNUSED) {
	must("TRUNCATE trabajos, workers; DELETE FROM webhooks");
	return 0;
}

static void each_visible_result_is_an_event_of_its_own(void **state UNUSED) {
	WITH_HOOK(1, "ana", "HTTPS://a.example/x?y");
	assert_claims(1, "ana");
	assert_int_equal(finish_one("00000000-0000-7000-8000-000000000001", 1, "Queued", 0), 1);
	assert_says("SELECT count(*) FROM webhooks", "0");
	assert_claims(1, "ana");
	assert_int_equal(FINISH(1, 2, "Finished"), 1);
	assert_says("SELECT id || ' ' || origin || ' ' || url || ' ' || (body::jsonb #>> '{data,status}') FROM webhooks",
		"msg_00000000000070008000000000000001_2 https://a.example HTTPS://a.example/x?y Finished");
	must("SELECT trabajos_replay(" KEY(1) ", 'ana')");
	must("SELECT trabajos_cancel(" KEY(1) ", 'ana', 'why')");
	assert_says("SELECT count(*) FROM webhooks", "2");
	must("DELETE FROM trabajos");
	assert_says("SELECT count(*) FROM webhooks", "0");
}

static void a_round_takes_a_few_of_each_lane_and_of_each_owner(void **state UNUSED) {
	events("ana", "https://a", 100);
	events("ben", "https://b", 2);
	assert_round(64, "", "", "ana https://a 4, ben https://b 2");
	// what is under way counts
	assert_round(64, "", "", "");
	events("ana", "https://c", 100);
	events("ana", "https://d", 100);
	events("ana", "https://e", 100);
	events("ana", "https://f", 100);
	assert_round(64, "", "", "ana https://c 4, ana https://d 4, ana https://e 4");
}

static void rounds_go_on_where_the_last_one_ended(void **state UNUSED) {
	events("ana", "https://a", 9);
	events("ben", "https://b", 9);
	events("eva", "https://e", 9);
	assert_round(4, "", "", "ana https://a 4");
	assert_says("SELECT owner || ' ' || origin FROM took WHERE id IS NULL", "ana https://a");
	assert_round(4, "ana", "https://a", "ben https://b 4");
	assert_round(8, "ben", "https://b", "eva https://e 4");
	must("UPDATE webhooks SET leased = false");
	assert_round(9, "eva", "https://e", "ana https://a 4, ben https://b 4, eva https://e 1");
}

static void a_try_whose_lease_is_over_is_taken_again_and_its_late_word_counts_only_as_delivered(void **state UNUSED) {
	events("ana", "https://a", 1);
	assert_round(9, "", "", "ana https://a 1");
	must("UPDATE webhooks SET next_at = now() - interval '1 s'");
	assert_round(9, "", "", "ana https://a 1");
	assert_says("SELECT tries FROM webhooks", "2");
	must("SELECT webhooks_done('ana https://a 1', 1, 500, NULL, 'given_up')");
	assert_says("SELECT state FROM webhooks", "waiting");
	must("SELECT webhooks_done('ana https://a 1', 1, 200, NULL, 'delivered')");
	assert_says("SELECT state FROM webhooks", "delivered");
	must("SELECT webhooks_done('ana https://a 1', 2, 500, NULL, 'again')");
	assert_says("SELECT state FROM webhooks", "delivered");
	assert_says("SELECT string_agg(try || ':' || coalesce(status_code::text, '-'), ' ' ORDER BY try) FROM webhook_tries",
		"1:500 2:500");
}

static void a_receiver_that_asks_for_time_has_it_within_bounds(void **state UNUSED) {
	events("ana", "https://a", 3);
	assert_round(9, "", "", "ana https://a 3");
	must("SELECT webhooks_done('ana https://a ' || n, 1, 503, NULL, 'again', (ARRAY[1, 600, 1000000000])[n])"
	     " FROM generate_series(1, 3) n");
	assert_says(
		"SELECT string_agg((next_at - at BETWEEN interval '4 s' AND interval '6 s')::text, ' ' ORDER BY id) FROM webhook_tries",
		"true false false");
	assert_says("SELECT string_agg(least(next_at - at, interval '12 h 1 s')::text, ' ' ORDER BY id) FROM webhook_tries"
		    " WHERE id <> 'ana https://a 1'",
		"00:10:00 12:00:00");
}

static void the_pauses_grow_up_to_a_day_and_then_it_is_over(void **state UNUSED) {
	events("ana", "https://a", 1);
	must("DO $$ BEGIN FOR n IN 1 .. 10 LOOP UPDATE webhooks SET next_at = now();"
	     " PERFORM webhooks_take(1, 60, '', ''); PERFORM webhooks_done('ana https://a 1', n, NULL, 'why', 'again'); END LOOP; END $$");
	assert_says("SELECT state FROM webhooks", "given_up");
	assert_says("SELECT count(*) FROM webhook_tries", "10");
	assert_says(
		"SELECT count(*) FROM (SELECT next_at - lag(next_at) OVER (ORDER BY try) AS grown FROM webhook_tries WHERE try < 10) g"
		" WHERE grown <= interval '0'",
		"0");
	assert_says("SELECT sum(next_at - at) BETWEEN interval '18 hours' AND interval '28 hours' FROM webhook_tries", "t");
}

int main(void) {
#define CLEAN(test) cmocka_unit_test_setup(test, clean)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_url_or_an_object_with_a_secret_is_taken),
		cmocka_unit_test(anything_else_is_refused),
		cmocka_unit_test(it_goes_to_public_places_and_what_is_listed),
		cmocka_unit_test(the_signature_is_the_standards),
		cmocka_unit_test(a_secret_is_not_shown),
		CLEAN(each_visible_result_is_an_event_of_its_own),
		CLEAN(a_round_takes_a_few_of_each_lane_and_of_each_owner),
		CLEAN(rounds_go_on_where_the_last_one_ended),
		CLEAN(a_try_whose_lease_is_over_is_taken_again_and_its_late_word_counts_only_as_delivered),
		CLEAN(a_receiver_that_asks_for_time_has_it_within_bounds),
		CLEAN(the_pauses_grow_up_to_a_day_and_then_it_is_over),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
