// Hand-made bad tokens: form, header and claims.
#include "tests/unit/token_maker.h"

// ---- what is accepted

static void a_good_token_gives_its_claims(void **state) {
	(void)state;
	AUTO_FREE char *payload =
		payload_make((struct payload){.roles = "[\"user\",\"admin\",\"other\"]", .more = ",\"iat\":1700000000"});
	AUTO_FREE char *token = make(HEADER, payload, rsa, "RS256");
	struct token_claims *claims = NULL;
	assert_int_equal(verify(token, &claims, NULL), TOKEN_FINE);
	assert_string_equal(claims->sub, "8d0e");
	assert_string_equal(claims->usuario, "user");
	assert_int_equal(claims->roles, TOKEN_ROLE_USER | TOKEN_ROLE_ADMIN);
	assert_int_equal(claims->exp_s, NOW + 300);
	assert_true(token_keys_hold(keys, claims->key_id));
	assert_false(token_claims_expired(claims, NOW + 300));
	assert_true(token_claims_expired(claims, NOW + 300 + TOKEN_SKEW_S));
	token_claims_drop(token_claims_hold(claims));
	token_claims_drop(claims);
}

static void the_three_algorithms_are_accepted(void **state) {
	(void)state;
	expect_header("{\"alg\":\"RS256\",\"kid\":\"rsa\"}", "RS256", rsa, TOKEN_FINE, NULL);
	expect_header("{\"alg\":\"PS256\",\"kid\":\"rsa\"}", "PS256", rsa, TOKEN_FINE, NULL);
	expect_header("{\"alg\":\"ES256\",\"kid\":\"ec\"}", "ES256", ec, TOKEN_FINE, NULL);
}

static void an_rfc_9068_header_type_is_accepted_in_both_spellings(void **state) {
	(void)state;
	AUTO_FREE char *payload = payload_make((struct payload){.typ = ""});
	AUTO_FREE char *token = make("{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"rsa\"}", payload, rsa, "RS256");
	AUTO_FREE char *longer =
		make("{\"alg\":\"RS256\",\"typ\":\"application/AT+JWT\",\"kid\":\"rsa\"}", payload, rsa, "RS256");
	expect(token, TOKEN_FINE, NULL);
	expect(longer, TOKEN_FINE, NULL);
}

static void an_audience_may_be_one_string(void **state) {
	(void)state;
	expect_payload((struct payload){.aud = "\"" AUDIENCE "\""}, TOKEN_FINE, NULL);
}

static void clocks_may_differ_by_the_skew(void **state) {
	(void)state;
	expect_payload((struct payload){.exp = "1699999971"}, TOKEN_FINE, NULL);
	expect_payload((struct payload){.more = ",\"nbf\":1700000030"}, TOKEN_FINE, NULL);
	expect_payload((struct payload){.exp = "1700000300.5", .more = ",\"iat\":1700000030"}, TOKEN_FINE, NULL);
}

static void a_token_without_roles_has_none(void **state) {
	(void)state;
	struct token_claims *claims = NULL;
	AUTO_FREE char *payload = payload_make((struct payload){.roles = "[\"users\",7,null]"});
	AUTO_FREE char *token = make(HEADER, payload, rsa, "RS256");
	assert_int_equal(verify(token, &claims, NULL), TOKEN_FINE);
	assert_int_equal(claims->roles, 0);
	token_claims_drop(claims);
}

// ---- form

static void a_token_has_three_segments(void **state) {
	(void)state;
	AUTO_FREE char *payload = payload_make((struct payload){0}), *token = make(HEADER, payload, rsa, "RS256");
	AUTO_FREE char *four = mem_format("%s.AAAA", token), *five = mem_format("%s.A.A", token),
		       *dot = mem_format("%s.", token);
	expect(four, TOKEN_BAD, "4 segments");
	expect(five, TOKEN_BAD, "5 segments");
	expect(dot, TOKEN_BAD, "4 segments");
	*strrchr(token, '.') = 0;
	expect(token, TOKEN_BAD, "2 segments");
	expect("", TOKEN_BAD, "1 segments");
	expect("..", TOKEN_BAD, "header");
}

static void an_oversized_token_is_refused_before_it_is_read(void **state) {
	(void)state;
	AUTO_FREE char *large = mem_zalloc(TOKEN_BYTES_MAX + 2);
	memset(large, 'A', TOKEN_BYTES_MAX + 1);
	expect(large, TOKEN_BAD, "larger than 8192");
}

static void base64_must_be_canonical(void **state) {
	(void)state;
	AUTO_FREE char *payload = payload_make((struct payload){0}), *token = make(HEADER, payload, rsa, "RS256");
	AUTO_FREE char *padded = mem_format("%s==", token), *blank = mem_format("%s ", token), *tail = mem_strdup(token);
	expect(padded, TOKEN_BAD, "signature");
	expect(blank, TOKEN_BAD, "signature");
	// 256 bytes leave four bits over in the last character: any but zero would be the same signature in another spelling.
	char *last = tail + strlen(tail) - 1;
	*last = *last == 'A' ? 'B' : (char)(*last + 1);
	expect(tail, TOKEN_BAD, "signature");

	AUTO_FREE char *plain = mem_format("+%s", token), *header = mem_format("=%s", token);
	expect(plain, TOKEN_BAD, "header is not canonical base64url");
	expect(header, TOKEN_BAD, "header is not canonical base64url");
}

static void a_header_or_payload_must_be_a_strict_json_object(void **state) {
	(void)state;
	AUTO_FREE char *payload = payload_make((struct payload){0});
	AUTO_FREE char *twice = make("{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"rsa\"}", payload, rsa, "RS256");
	AUTO_FREE char *array = make("[]", payload, rsa, "RS256"), *empty = make("{}", payload, rsa, "RS256");
	AUTO_FREE char *text = make(HEADER, "\"hello\"", rsa, "RS256"), *behind = make(HEADER, "{} {}", rsa, "RS256");
	AUTO_FREE char *latin = make(HEADER, "{\"sub\":\"\xe9\"}", rsa, "RS256");
	expect(twice, TOKEN_BAD, "header");
	expect(array, TOKEN_BAD, "not a JSON object");
	expect(empty, TOKEN_BAD, "algorithm");
	expect(text, TOKEN_BAD, "payload");
	expect(behind, TOKEN_BAD, "payload");
	expect(latin, TOKEN_BAD, "payload");
	expect_payload((struct payload){.more = ",\"sub\":\"another\""}, TOKEN_BAD, "payload");
}

static void what_a_token_says_of_itself_is_shown_without_what_a_terminal_would_obey(void **state) {
	(void)state;
	expect_header("{\"alg\":\"\\u001b[31mred\",\"kid\":\"rsa\"}", "RS256", rsa, TOKEN_BAD, "the algorithm ?[31mred is");
	// cut after 16 bytes, which would be within a character
	expect_header("{\"alg\":\"aaaaaaaaaaaaaaa\xc3\xb1\",\"kid\":\"rsa\"}", "RS256", rsa, TOKEN_BAD, "aaaaaaaaaaaaaaa? is");
}

// ---- claims

static void an_expired_token_is_refused_and_says_since_when(void **state) {
	(void)state;
	expect_payload((struct payload){.exp = "1699999970"}, TOKEN_BAD, "expired 30 s ago");
}

static void exp_is_required_and_a_sane_number(void **state) {
	(void)state;
	static const char *const bad[] = {"\"1700000300\"", "true", "null", "-5", "0", "1e300", "99999999999999", "{}"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) expect_payload((struct payload){.exp = bad[i]}, TOKEN_BAD, "exp is no date");
	expect_payload((struct payload){.exp = ""}, TOKEN_BAD, "no exp");
}

static void a_token_from_the_future_is_refused(void **state) {
	(void)state;
	expect_payload((struct payload){.more = ",\"nbf\":1700000031"}, TOKEN_BAD, "not valid before 31 s");
	expect_payload((struct payload){.more = ",\"nbf\":\"soon\""}, TOKEN_BAD, "nbf is no date");
	expect_payload((struct payload){.more = ",\"iat\":1700000031"}, TOKEN_BAD, "compare the clocks");
	expect_payload((struct payload){.exp = "1699999990", .more = ",\"iat\":1699999999"}, TOKEN_BAD, "before it was issued");
}

static void a_foreign_issuer_is_refused(void **state) {
	(void)state;
	static const char *const bad[] = {
		"\"http://evil/realms/cloudcomputing\"", "\"" ISSUER "/\"", "\"" ISSUER "x\"", "[\"" ISSUER "\"]", "null"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) expect_payload((struct payload){.iss = bad[i]}, TOKEN_BAD, "issuer");
}

static void a_wrong_audience_is_refused(void **state) {
	(void)state;
	static const char *const bad[] = {"\"account\"", "[]", "[\"account\"]", "null", "{\"" AUDIENCE "\":1}",
		"\"" AUDIENCE "x\"", "[\"" AUDIENCE "\",7]"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) expect_payload((struct payload){.aud = bad[i]}, TOKEN_BAD, "audience");
}

static void id_and_refresh_and_logout_tokens_are_refused(void **state) {
	(void)state;
	static const char *const bad[] = {
		"\"ID\"", "\"Refresh\"", "\"Offline\"", "\"Logout\"", "\"DPoP\"", "\"bearer\"", "7", ""};
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		expect_payload((struct payload){.typ = bad[i]}, TOKEN_BAD, "is no access token");
	expect_header("{\"alg\":\"RS256\",\"typ\":\"logout+jwt\",\"kid\":\"rsa\"}", "RS256", rsa, TOKEN_BAD, "logout+jwt");
	AUTO_FREE char *payload = payload_make((struct payload){.typ = "\"ID\""});
	AUTO_FREE char *disguised = make("{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"rsa\"}", payload, rsa, "RS256");
	expect(disguised, TOKEN_BAD, "type ID");
}

static void a_token_bound_to_a_key_is_no_bearer_token(void **state) {
	(void)state;
	expect_payload((struct payload){.more = ",\"cnf\":{\"jkt\":\"x\"}"}, TOKEN_BAD, "cnf");
}

static void sub_is_required_and_a_clean_name(void **state) {
	(void)state;
	expect_payload((struct payload){.sub = ""}, TOKEN_BAD, "no sub");
	expect_payload((struct payload){.sub = "7"}, TOKEN_BAD, "no sub");
	expect_payload((struct payload){.sub = "\"\""}, TOKEN_BAD, "sub is empty");
	expect_payload((struct payload){.sub = "\"a\\nb\""}, TOKEN_BAD, "control");
	expect_payload((struct payload){.sub = "\"a\\u0000b\""}, TOKEN_BAD, "payload");
	expect_payload((struct payload){.name = "\"a\\u001b[2J\""}, TOKEN_BAD, "control");
	expect_payload((struct payload){.name = "\"a\\u009bx\""}, TOKEN_BAD, "control");
	expect_payload((struct payload){.name = "7"}, TOKEN_BAD, "no string");
	expect_payload((struct payload){.name = "\"añadido\""}, TOKEN_FINE, NULL);
	char name[300];
	memset(name, 'x', sizeof name);
	name[0] = name[256] = '"';
	name[257] = 0;
	expect_payload((struct payload){.sub = name}, TOKEN_FINE, NULL);
	name[256] = 'x';
	name[257] = '"';
	name[258] = 0;
	expect_payload((struct payload){.sub = name}, TOKEN_BAD, "longer than 255");
}

static void the_reserved_name_is_forbidden_but_only_to_true_tokens(void **state) {
	(void)state;
	expect_payload((struct payload){.sub = "\"kafka\""}, TOKEN_RESERVED, "reserved");
	expect_payload((struct payload){.name = "\"kafka\""}, TOKEN_RESERVED, "reserved");
	AUTO_FREE char *payload = payload_make((struct payload){.sub = "\"kafka\""});
	AUTO_FREE char *forged = make(HEADER, payload, stranger, "RS256");
	expect(forged, TOKEN_BAD, "signature");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_token_gives_its_claims),
		cmocka_unit_test(the_three_algorithms_are_accepted),
		cmocka_unit_test(an_rfc_9068_header_type_is_accepted_in_both_spellings),
		cmocka_unit_test(an_audience_may_be_one_string),
		cmocka_unit_test(clocks_may_differ_by_the_skew),
		cmocka_unit_test(a_token_without_roles_has_none),
		cmocka_unit_test(a_token_has_three_segments),
		cmocka_unit_test(an_oversized_token_is_refused_before_it_is_read),
		cmocka_unit_test(base64_must_be_canonical),
		cmocka_unit_test(a_header_or_payload_must_be_a_strict_json_object),
		cmocka_unit_test(what_a_token_says_of_itself_is_shown_without_what_a_terminal_would_obey),
		cmocka_unit_test(an_expired_token_is_refused_and_says_since_when),
		cmocka_unit_test(exp_is_required_and_a_sane_number),
		cmocka_unit_test(a_token_from_the_future_is_refused),
		cmocka_unit_test(a_foreign_issuer_is_refused),
		cmocka_unit_test(a_wrong_audience_is_refused),
		cmocka_unit_test(id_and_refresh_and_logout_tokens_are_refused),
		cmocka_unit_test(a_token_bound_to_a_key_is_no_bearer_token),
		cmocka_unit_test(sub_is_required_and_a_clean_name),
		cmocka_unit_test(the_reserved_name_is_forbidden_but_only_to_true_tokens),
	};
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
