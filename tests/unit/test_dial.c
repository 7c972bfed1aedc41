// The guard on every connection, with a resolver and a connect of our own: nothing leaves loopback.
#include "lib/mem.h"
#include "worker/fetch/dial.h"
#include "worker/fetch/mirror.h"
#include "worker/fetch/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

struct answer {
	struct addrinfo info;
	struct sockaddr_storage address;
};

static struct {
	int code;
	const char *const *texts;
	int resolved, released, connected;
	char dialled[4][INET6_ADDRSTRLEN];
	int refuse; // so many connects fail
	int listener;
	struct sockaddr_in home;
} net;

static int fake_resolve(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
	(void)host;
	(void)hints;
	net.resolved++;
	*found = NULL;
	if (net.code != 0) return net.code;
	struct addrinfo **end = found;
	for (const char *const *text = net.texts; *text; text++) {
		struct answer *answer = mem_zalloc(sizeof *answer);
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = in.sin_port};
		bool v4 = inet_pton(AF_INET, *text, &in.sin_addr) == 1;
		if (!v4) assert_int_equal(inet_pton(AF_INET6, *text, &in6.sin6_addr), 1);
		memcpy(&answer->address, v4 ? (void *)&in : (void *)&in6, v4 ? sizeof in : sizeof in6);
		answer->info = (struct addrinfo){.ai_family = v4 ? AF_INET : AF_INET6,
			.ai_addr = (struct sockaddr *)&answer->address,
			.ai_addrlen = v4 ? sizeof in : sizeof in6};
		*end = &answer->info;
		end = &answer->info.ai_next;
	}
	return 0;
}

static void fake_release(struct addrinfo *found) {
	net.released++;
	while (found) {
		struct addrinfo *next = found->ai_next;
		free(found);
		found = next;
	}
}

// Wherever it would go, it goes to our own listener.
static int fake_connect(int fd, const struct sockaddr *address, socklen_t length) {
	const struct sockaddr_in *in = (const void *)address;
	const struct sockaddr_in6 *in6 = (const void *)address;
	const void *raw = address->sa_family == AF_INET ? (const void *)&in->sin_addr : (const void *)&in6->sin6_addr;
	(void)length;
	assert_non_null(inet_ntop(address->sa_family, raw, net.dialled[net.connected], sizeof net.dialled[0]));
	if (net.connected++ < net.refuse) {
		errno = ECONNREFUSED;
		return -1;
	}
	if (address->sa_family == AF_INET6) {
		errno = EHOSTUNREACH; // loopback's listener speaks IPv4
		return -1;
	}
	return connect(fd, (const struct sockaddr *)&net.home, sizeof net.home);
}

static const struct dial_system fake = {fake_resolve, fake_release, fake_connect};
static struct dial_target target;

static int up(void **state) {
	(void)state;
	socklen_t length = sizeof net.home;
	memset(&net, 0, sizeof net);
	net.home = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	net.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(net.listener, (struct sockaddr *)&net.home, length) < 0 || listen(net.listener, 5) < 0) return -1;
	if (getsockname(net.listener, (struct sockaddr *)&net.home, &length) < 0) return -1;
	target = (struct dial_target){.host = "git.example.org",
		.port = 443,
		.path = "/team/",
		.connect_timeout_ms = 1000,
		.stall_timeout_ms = 1000,
		.most_bytes = 1000};
	return dial_register(&target, &fake);
}

static int down(void **state) {
	(void)state;
	return close(net.listener);
}

static void expect(enum dial_fault fault, const char *const *texts) {
	net.texts = texts;
	int fd = dial_connect("git.example.org", "443");
	if (dial_fault() != fault) fail_msg("%s: fault %d", *texts, (int)dial_fault());
	assert_true((fd >= 0) == (fault == DIAL_FINE));
	if (fd >= 0) close(fd);
}

static void the_address_that_was_judged_is_dialled_after_one_look_up(void **state) {
	(void)state;
	static const char *const texts[] = {"140.82.121.4", NULL};
	expect(DIAL_FINE, texts);
	assert_int_equal(net.resolved, 1);
	assert_int_equal(net.released, 1);
	assert_int_equal(net.connected, 1);
	assert_string_equal(net.dialled[0], "140.82.121.4");
}

static void names_that_lead_inside_are_never_dialled(void **state) {
	static const char *const hosts[][2] = {{"127.0.0.1"}, {"10.0.0.1"}, {"169.254.169.254"}, {"192.168.0.1"}, {"0.0.0.0"},
		{"::1"}, {"::ffff:127.0.0.1"}, {"fe80::1"}, {"fd00:ec2::254"}, {"64:ff9b::a00:1"}, {"2002:7f00:1::"},
		{"224.0.0.1"}};
	for (size_t i = 0; i < COUNT_OF(hosts); i++) {
		down(state);
		assert_int_equal(up(state), 0);
		expect(DIAL_DENIED, hosts[i]);
		assert_int_equal(net.connected, 0);
		assert_int_equal(net.released, 1);
	}
}

static void one_inside_address_condemns_the_name(void **state) {
	(void)state;
	static const char *const texts[] = {"140.82.121.4", "10.0.0.1", NULL};
	expect(DIAL_DENIED, texts);
	assert_int_equal(net.connected, 0);
}

static void what_git_allow_names_may_lead_inside(void **state) {
	(void)state;
	static const char *const texts[] = {"127.0.0.1", NULL};
	target.allowed = true;
	expect(DIAL_FINE, texts);
	assert_string_equal(net.dialled[0], "127.0.0.1");
}

// As trabajos-fetch has it: GIT_DENY, and the machine's own.
static void what_is_denied_is_never_dialled_and_what_git_allow_names_is(void **state) {
	static const char *const denied[][2] = {{"140.82.121.4"}, {"198.41.0.9"}, {"2606:4700::1"}, {"2606:4700:ff::2"},
		{"::ffff:140.82.121.4"}, {"64:ff9b::8c52:7904"}, {"2002:8c52:7904::1"}, {"2001:0:808:808::73ad:86fb"}};
	static const char *const fine[][2] = {{"140.82.121.5"}, {"198.41.1.9"}, {"64:ff9b::8c52:7905"}};
	const struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("140.82.121.4")};
	struct prefixes *prefixes = NULL;
	assert_int_equal(prefixes_parse("198.41.0.0/24, 2606:4700::/32", &prefixes, NULL), 0);
	prefixes_add(prefixes, (const struct sockaddr *)&own);
	for (size_t i = 0; i < COUNT_OF(denied) + COUNT_OF(fine); i++) {
		bool refused = i < COUNT_OF(denied);
		down(state);
		assert_int_equal(up(state), 0);
		target.denied = prefixes;
		net.texts = refused ? denied[i] : fine[i - COUNT_OF(denied)];
		AUTO_CLOSE int fd = dial_connect("git.example.org", "443");
		if ((dial_fault() == DIAL_DENIED) != refused || (net.connected == 0) != refused || (refused && fd >= 0))
			fail_msg("%s", *net.texts);
	}
	target.allowed = true;
	assert_int_equal(dial_register(&target, &fake), 0);
	expect(DIAL_FINE, denied[0]);
	prefixes_free(prefixes);
}

static void the_next_address_is_tried(void **state) {
	(void)state;
	static const char *const texts[] = {"140.82.121.4", "2606:4700::1", "140.82.121.5", NULL};
	net.refuse = 1;
	expect(DIAL_FINE, texts);
	assert_int_equal(net.connected, 3);
	assert_string_equal(net.dialled[2], "140.82.121.5");
}

static void no_connection_at_all_is_refused(void **state) {
	(void)state;
	static const char *const texts[] = {"140.82.121.4", NULL};
	net.refuse = 1;
	expect(DIAL_REFUSED, texts);
}

static void another_host_or_port_is_not_even_looked_up(void **state) {
	(void)state;
	static const char *const others[][2] = {{"example.org", "443"}, {"git.example.org", "80"},
		{"git.example.org.evil.net", "443"}, {"git.example.org", ""}, {"git.example.org", "443x"}, {"127.0.0.1", "443"},
		{"", "443"}};
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		assert_int_equal(dial_connect(others[i][0], others[i][1]), -1);
		assert_int_equal(dial_fault(), DIAL_REDIRECT);
	}
	assert_int_equal(net.resolved, 0);
}

static void host_names_have_no_case_and_literals_may_have_brackets(void **state) {
	(void)state;
	static const char *const texts[] = {"140.82.121.4", NULL};
	net.texts = texts;
	AUTO_CLOSE int upper = dial_connect("GIT.example.org", "443");
	assert_true(upper >= 0);
	target.host = "2606:4700::1";
	AUTO_CLOSE int literal = dial_connect("[2606:4700::1]", "443");
	assert_true(literal >= 0);
}

static void resolver_failures_are_told_apart(void **state) {
	(void)state;
	static const char *const none[] = {NULL};
	net.code = EAI_NONAME;
	expect(DIAL_NO_HOST, none);
	assert_int_equal(dial_register(&target, &fake), 0);
	net.code = EAI_AGAIN;
	expect(DIAL_NO_LOOKUP, none);
	assert_int_equal(dial_register(&target, &fake), 0);
	net.code = 0; // an answer without an address
	expect(DIAL_NO_LOOKUP, none);
}

// Linux leaves connects waiting when the listener's queue is full.
static void a_server_that_does_not_answer_is_a_timeout(void **state) {
	(void)state;
	static const char *const texts[] = {"140.82.121.4", NULL};
	int queued[3];
	assert_int_equal(listen(net.listener, 0), 0);
	for (size_t i = 0; i < COUNT_OF(queued); i++) {
		queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(queued[i], (struct sockaddr *)&net.home, sizeof net.home);
	}
	target.connect_timeout_ms = 200;
	expect(DIAL_TIMEOUT, texts);
	for (size_t i = 0; i < COUNT_OF(queued); i++) close(queued[i]);
}

static void the_first_fault_counts(void **state) {
	(void)state;
	static const char *const inside[] = {"10.0.0.1", NULL};
	expect(DIAL_DENIED, inside);
	net.code = EAI_AGAIN;
	expect(DIAL_DENIED, inside);
}

static void only_the_two_requests_of_the_repository_itself_are_its_own(void **state) {
	(void)state;
	assert_true(request_is_own("/pub/x.git/info/refs?service=git-upload-pack", "/pub/x.git"));
	assert_true(request_is_own("/pub/x.git/git-upload-pack", "/pub/x.git/"));
	assert_true(request_is_own("/info/refs?service=git-upload-pack", "/"));
	static const char *const others[] = {"/pub/x.git/../../private/y.git/info/refs?service=git-upload-pack",
		"/pub/x.git/..%2f../private/y.git/git-upload-pack", "/pub/x.git/%2e%2e/y.git/git-upload-pack", "/pub/x.git",
		"/pub/x.git/y.git/git-upload-pack", "/pub/x.gitx/git-upload-pack", "/pub/x.git/info/refs",
		"/pub/x.git/info/refs?service=git-receive-pack", "/pub/x.git/git-upload-pack?to=/private",
		"/pub/git-upload-pack", "/pub/X.git/git-upload-pack", "/", ""};
	for (size_t i = 0; i < COUNT_OF(others); i++)
		if (request_is_own(others[i], "/pub/x.git")) fail_msg("%s", others[i]);
}

static void a_path_that_can_be_read_in_two_ways_is_not_asked_for(void **state) {
	(void)state;
	static const char *const veiled[] = {"/a/../b", "/a/./b", "/..", "/a/.", "/a/%2e%2E/b", "/a/.%2e", "/a/..;x/b",
		"/a/%2e;/b", "/a%2fb", "/a%2F..%2Fb", "/a%5c..%5Cb", "/a\\..\\b", "/a/%252e%252e/b/..%252f", "", "a/b",
		"/a/../b?service=git-upload-pack"};
	for (size_t i = 0; i < COUNT_OF(veiled); i++)
		if (request_is_plain(veiled[i])) fail_msg("%s", veiled[i]);
	static const char *const plain[] = {"/", "/a/b.git/info/refs?service=git-upload-pack", "/~ana/r..x/...", "/.dot/..dots",
		"/a%20b/%C3%A9", "/login?back=%2F..%2Fa/../b"};
	for (size_t i = 0; i < COUNT_OF(plain); i++)
		if (!request_is_plain(plain[i])) fail_msg("%s", plain[i]);
}

static int library(void **state) {
	(void)state;
	return mirror_library();
}

int main(void) {
#define WITH_NET(test) cmocka_unit_test_setup_teardown(test, up, down)
	const struct CMUnitTest tests[] = {
		WITH_NET(the_address_that_was_judged_is_dialled_after_one_look_up),
		WITH_NET(names_that_lead_inside_are_never_dialled),
		WITH_NET(one_inside_address_condemns_the_name),
		WITH_NET(what_git_allow_names_may_lead_inside),
		WITH_NET(what_is_denied_is_never_dialled_and_what_git_allow_names_is),
		WITH_NET(the_next_address_is_tried),
		WITH_NET(no_connection_at_all_is_refused),
		WITH_NET(another_host_or_port_is_not_even_looked_up),
		WITH_NET(host_names_have_no_case_and_literals_may_have_brackets),
		WITH_NET(resolver_failures_are_told_apart),
		WITH_NET(a_server_that_does_not_answer_is_a_timeout),
		WITH_NET(the_first_fault_counts),
		cmocka_unit_test(only_the_two_requests_of_the_repository_itself_are_its_own),
		cmocka_unit_test(a_path_that_can_be_read_in_two_ways_is_not_asked_for),
	};
	return cmocka_run_group_tests(tests, library, NULL);
}
