#include "lib/giturl.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

static bool is_public(const char *text) {
	struct sockaddr_storage address = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		memcpy(&address, &in, sizeof in);
	else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		memcpy(&address, &in6, sizeof in6);
	else
		fail_msg("%s is no address", text);
	return address_is_public((const struct sockaddr *)&address);
}

static void expect_all(const char *const *texts, bool public) {
	for (; *texts; texts++)
		if (is_public(*texts) != public) fail_msg("%s is%s public", *texts, public ? " not" : "");
}

static void ordinary_addresses_are_public(void **state) {
	(void)state;
	const char *const texts[] = {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
		"126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
		"192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"140.82.121.4", "2606:4700:4700::1111", "2a00:1450::1", "2001:200::1", "2001:470::1", "3ffe:ffff::1", "2003::1",
		NULL};
	expect_all(texts, true);
}

static void special_ipv4_blocks_are_not_public_from_first_to_last(void **state) {
	(void)state;
	const char *const texts[] = {"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255",
		"127.0.0.0", "127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0",
		"172.31.255.255", "192.0.0.0", "192.0.0.9", "192.0.0.255", "192.0.2.0", "192.0.2.255", "192.88.99.1",
		"192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.7", "192.31.196.1",
		"192.52.193.1", "192.175.48.1", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.254",
		"255.255.255.255", NULL};
	expect_all(texts, false);
}

static void special_ipv6_blocks_are_not_public(void **state) {
	(void)state;
	const char *const texts[] = {"::", "::1", "100::", "100::1", "100:0:0:1::1", "2001:1::1", "2001:2::1", "2001:20::1",
		"2001:1ff::1", "2001:db8::", "2001:db8:ffff::1", "2620:4f:8000::1", "3fff::1", "3fff:fff::1", "5f00::1",
		"fc00::1", "fd12::1", "fe80::1", "febf::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1", "64:ff9b:1::8.8.8.8",
		"64:ff9b:1:ffff::1", "64:ff9b:0:1::1", "1::1", "4000::1", "8000::1", NULL};
	expect_all(texts, false);
}

static void wrapped_addresses_are_judged_by_what_they_carry(void **state) {
	(void)state;
	const char *const bad[] = {"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.1.2.3",
		"::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:c0a8:101::1",
		"2002:a9fe:a9fe::", "2001:0:808:808:0:0:80ff:fffe",
		/* client 127.0.0.1 */ "2001:0:7f00:1:0:0:f7f7:f7f7", /* server 127.0.0.1 */
		"2a00::5efe:10.0.0.1", "2a00::200:5efe:127.0.0.1", NULL};
	const char *const good[] = {"::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
		"2001:0:808:808:0:0:f7f7:f7f7", "2a00::5efe:8.8.8.8", NULL};
	expect_all(bad, false);
	expect_all(good, true);
}

static void other_address_families_are_not_public(void **state) {
	(void)state;
	struct sockaddr address = {.sa_family = AF_UNIX};
	assert_false(address_is_public(&address));
	address.sa_family = AF_UNSPEC;
	assert_false(address_is_public(&address));
}

static void every_notation_of_loopback_is_a_literal(void **state) {
	(void)state;
	const char *const texts[] = {"127.0.0.1", "127.0.0.1.", "2130706433", "0x7f.1", "017700000001", "127.1", "127.0.1",
		"0x7f000001", "0X7F.0.0.0x1", "0177.0.0.01", "127.0x000001", "0000177.1", NULL};
	for (const char *const *text = texts; *text; text++) {
		struct sockaddr_storage address;
		if (!address_literal(*text, &address)) fail_msg("%s is not taken as an address", *text);
		struct sockaddr_in in;
		memcpy(&in, &address, sizeof in);
		assert_int_equal(in.sin_family, AF_INET);
		if (ntohl(in.sin_addr.s_addr) != 0x7f000001) fail_msg("%s became %x", *text, ntohl(in.sin_addr.s_addr));
	}
}

static void what_inet_aton_takes_is_a_literal(void **state) {
	(void)state;
	const char *const texts[] = {"0", "00", "1", "1.2", "1.2.3", "1.2.3.4", "4294967295", "1.16777215", "1.2.65535", "0.0",
		"0x0", "037777777777", "255.255.255.255", "0xffffffff", "08", "1.2.3.08", "256", "1.256.3.4", "a.b", "1..2",
		".1", "1.2.3.4.5", "4294967296", "1.16777216", "1.2.65536", "0xg", "1.2.3.x", NULL};
	for (const char *const *text = texts; *text; text++) {
		struct sockaddr_storage address;
		struct sockaddr_in in;
		struct in_addr theirs = {0};
		bool taken = inet_aton(*text, &theirs) == 1;
		if (address_literal(*text, &address) != taken) fail_msg("%s: inet_aton says %d", *text, taken);
		memcpy(&in, &address, sizeof in);
		if (taken) assert_int_equal(in.sin_addr.s_addr, theirs.s_addr);
	}
}

static void ipv6_literals_are_known_with_brackets_and_zones(void **state) {
	(void)state;
	const char *const texts[] = {"::1", "[::1]", "0:0:0:0:0:0:0:1", "::1%lo", "[::1%25lo]", "::0.0.0.1", NULL};
	for (const char *const *text = texts; *text; text++) {
		struct sockaddr_storage address;
		if (!address_literal(*text, &address)) fail_msg("%s is not taken as an address", *text);
		assert_int_equal(address.ss_family, AF_INET6);
		assert_false(address_is_public((const struct sockaddr *)&address));
	}
}

static void names_are_no_literals(void **state) {
	(void)state;
	const char *const texts[] = {"", ".", "example.org", "1e100.net", "0x.org", "face::cafe.org", "1.2.3.4.example", "::g",
		":::", "-1", "+1", " 1", "1 ", "12:34", NULL};
	for (const char *const *text = texts; *text; text++) {
		struct sockaddr_storage address;
		if (address_literal(*text, &address)) fail_msg("%s is taken as an address", *text);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_addresses_are_public),
		cmocka_unit_test(special_ipv4_blocks_are_not_public_from_first_to_last),
		cmocka_unit_test(special_ipv6_blocks_are_not_public),
		cmocka_unit_test(wrapped_addresses_are_judged_by_what_they_carry),
		cmocka_unit_test(other_address_families_are_not_public),
		cmocka_unit_test(every_notation_of_loopback_is_a_literal),
		cmocka_unit_test(what_inet_aton_takes_is_a_literal),
		cmocka_unit_test(ipv6_literals_are_known_with_brackets_and_zones),
		cmocka_unit_test(names_are_no_literals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
