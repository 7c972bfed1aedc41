// Who gets a way out of the box, and what the packet filter is told.
#include "lib/mem.h"
#include "worker/egress.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h> // needs the three above
// clang-format on

#include <string.h>

static json_t *labels_of(const char *text) {
	json_t *labels = NULL;
	assert_int_equal(json_read(text, strlen(text), 1000, &labels, NULL), 0);
	return labels;
}

static void nobody_gets_egress_who_is_not_named(void **state) {
	(void)state;
	AUTO_JSON json_t *labels = labels_of("{\"net\":\"yes\"}");
	assert_false(egress_allows("", "ana", "sub-1", labels));
	assert_false(egress_allows("anabel,an,ANA", "ana", "sub-1", labels));
	assert_false(egress_allows("label:net=no,label:other=yes,label:ne=tyes", "ana", "sub-1", labels));
	assert_false(egress_allows("+", "ana", "sub-1", labels));
	assert_false(egress_allows(",,", "", "", labels));
	assert_false(egress_allows("label:net=yes", "ana", "sub-1", NULL));
}

static void a_name_an_owner_a_label_or_all_of_them_are_enough(void **state) {
	(void)state;
	AUTO_JSON json_t *labels = labels_of("{\"net\":\"yes\",\"n\":1}");
	assert_true(egress_allows("bea,ana", "ana", "sub-1", labels));
	assert_true(egress_allows("sub-1", "ana", "sub-1", labels));
	assert_true(egress_allows("label:net=yes", "ana", "sub-1", labels));
	assert_true(egress_allows("*", "ana", "sub-1", NULL));
	assert_true(egress_allows("bea+label:net=yes,ana+label:net=yes", "ana", "sub-1", labels));
	assert_false(egress_allows("bea+label:net=yes", "ana", "sub-1", labels));
	assert_false(egress_allows("ana+label:n=1", "ana", "sub-1", labels));
}

static void what_makes_no_sense_is_named(void **state) {
	(void)state;
	static const char *const bad[] = {"", "ana,", "ana++bea", "label:", "label:net", "label:=yes", "label:net="};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		AUTO_ERROR struct error error = {0};
		assert_int_equal(egress_for_check(bad[i], &error), -1);
		assert_non_null(strstr(error_text(&error), "JOB_EGRESS_FOR"));
	}
	assert_int_equal(egress_for_check("*,ana,sub-1+label:a=b", NULL), 0);
	static const char *const prefixes[] = {
		"198.51.100.1/33", "x", "1.2.3", "1.2.3.4/", "1.2.3.4,", "1.2.3.4/8x", "::1", "0.0.0.0/0"};
	for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
		AUTO_ERROR struct error error = {0};
		assert_int_equal(egress_deny_check(prefixes[i], &error), -1);
		assert_non_null(strstr(error_text(&error), "JOB_EGRESS_DENY"));
	}
	assert_int_equal(egress_deny_check("", NULL) | egress_deny_check("1.2.3.4,5.6.0.0/16", NULL), 0);
}

static void everything_special_is_refused_before_anything_is_let_out(void **state) {
	(void)state;
	AUTO_FREE char *rules = NULL;
	assert_int_equal(egress_rules("5.6.0.0/16,1.2.3.4", &rules, NULL), 0);
	static const char *const refused[] = {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "5.6.0.0/16", "1.2.3.4"};
	const char *accepted = strstr(rules, "{ tcp, udp } accept");
	assert_non_null(accepted);
	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		AUTO_FREE char *rule = mem_format("ip daddr %s jump refuse\n", refused[i]);
		const char *at = strstr(rules, rule);
		assert_true(at && at < accepted);
	}
	assert_non_null(strstr(rules, "policy drop"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_gets_egress_who_is_not_named),
		cmocka_unit_test(a_name_an_owner_a_label_or_all_of_them_are_enough),
		cmocka_unit_test(what_makes_no_sense_is_named),
		cmocka_unit_test(everything_special_is_refused_before_anything_is_let_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
