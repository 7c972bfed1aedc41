// A job with egress reaches public addresses and nothing else. All in networks of the test's own: the machine (namespace "here") has
// an address of its own in a private network, and behind the next router (a namespace that a child keeps) lie a public address, the
// metadata address and private ones. Whatever is dialled ends at that router.
#include "tests/unit/sandbox_rig.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#define PORT      8080
#define PUBLIC    "93.184.216.34"
#define OWN       "93.184.216.40" // public, and this machine's own
#define DENIED    "93.184.217.1"
#define ROUTER    "172.20.0.2"
#define HERE      "172.20.0.1"
#define METADATA  "169.254.169.254"
#define ELSEWHERE "192.168.7.7"
#define PUBLIC_V6 "2a01:4f8:7::34"
#define ROUTER_V6 "fd00:7::2"
#define HERE_V6   "fd00:7::1"

static struct rig rig;
static const char *lacking;

// ---- what is dialled

static int dial(const char *text, int port) {
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *address;
	char service[16];
	(void)snprintf(service, sizeof(service), "%d", port);
	assert_int_equal(getaddrinfo(text, service, &hints, &address), 0);
	AUTO_CLOSE int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (getenv("BIND_TO")) (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "tap0", 5);
	int result = connect(fd, address->ai_addr, address->ai_addrlen);
	freeaddrinfo(address);
	if (result != 0 && errno != EINPROGRESS) return errno;
	struct pollfd polled = {.fd = fd, .events = POLLIN};
	char byte = 0;
	if (poll(&polled, 1, 5000) != 1) return ETIMEDOUT;
	return read(fd, &byte, 1) == 1 && byte == 'k' ? 0 : errno ? errno : EPIPE;
}

static int attack_dial(void) {
	char text[64];
	int port;
	while (scanf("%63s %d", text, &port) == 2)
		printf("%s %d %s\n", text, port, dial(text, port) == 0 ? "reached" : "refused");
	return 0;
}

static const struct attack attacks[] = {{"dial", attack_dial}};

// ---- the networks

static int run_tool(const char *line) {
	const char *const argv[] = {"/bin/sh", "-c", line, NULL};
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = {path, NULL};
	pid_t pid;
	int status = -1;
	if (posix_spawn(&pid, "/bin/sh", NULL, NULL, (char *const *)(uintptr_t)argv, env) != 0) return -1;
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static NORETURN void answer_all(int listener) {
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) continue;
		(void)!write(fd, "k", 1);
		close(fd);
	}
}

static int listen_everywhere(void) {
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)}; // of IPv4 too
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0 && listen(fd, 16) == 0 ? fd : -1;
}

// The router, and all that lies behind it.
static pid_t start_router(int ready, int go_on) {
	pid_t pid = fork();
	if (pid != 0) return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	char byte = unshare(CLONE_NEWNET) == 0;
	(void)!write(ready, &byte, 1);
	if (read(go_on, &byte, 1) != 1) _exit(1);
	byte = run_tool("ip link set lo up && ip addr add " ROUTER "/24 dev away && ip link set away up && for a in " PUBLIC
			" " DENIED " " METADATA " " ELSEWHERE "; do ip addr add $a/32 dev lo; done && "
			"ip addr add " ROUTER_V6 "/64 dev away nodad && ip addr add " PUBLIC_V6 "/128 dev lo nodad") == 0;
	int listener = listen_everywhere();
	(void)!write(ready, &byte, 1);
	answer_all(listener);
}

static bool make_networks(void) {
	int ready[2], go_on[2];
	char byte = 0;
	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return false;
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC) | pipe2(go_on, O_CLOEXEC), 0);
	pid_t router = start_router(ready[1], go_on[0]);
	if (read(ready[0], &byte, 1) != 1 || !byte) return false;
	AUTO_FREE char *line = mem_format(
		"ip link set lo up && ip addr add " OWN "/32 dev lo && ip link add near type veth peer name away "
		"netns %d && ip addr add " HERE "/24 dev near && ip link set near up && ip route add default via " ROUTER
		" && ip addr add " HERE_V6 "/64 dev near nodad && ip route add default via " ROUTER_V6,
		(int)router);
	if (run_tool(line) != 0) return false;
	assert_int_equal(write(go_on[1], "g", 1), 1);
	if (read(ready[0], &byte, 1) != 1 || !byte) return false;
	int listener = listen_everywhere();
	if (fork() == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		answer_all(listener);
	}
	close(listener);
	// As udev makes it; a virtual machine without udev has it closed to all but root.
	return mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755") == 0 &&
	       mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) == 0 && chmod("/dev/net/tun", 0666) == 0;
}

static int setup(void **state) {
	(void)state;
	if (!make_networks()) {
		lacking = "networks of its own: only root can make them";
		return 0;
	}
	rig_make_folder(&rig);
	rig.loop = loop_new();
	AUTO_FREE char *init = rig_init_program();
	const struct sandbox_config config = {.init_program = init,
		.dir = rig.dir,
		.trees = rig.dir,
		.slots = 2,
		.uid_base = RIG_UID_BASE,
		.disk_bytes = 64 * RIG_MB,
		.weakest = SANDBOX_REDUCED,
		.egress = true,
		.egress_deny = DENIED "/32"};
	rig_probe(&rig, &config);
	lacking = sandbox_no_egress(rig.sandbox);
	// What the machine lacks is one thing, a filter that lets through another.
	if (lacking && strstr(lacking, "does not hold")) fail_msg("%s", lacking);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	if (rig.sandbox) rig_close(&rig);
	return 0;
}

static void require_egress(void) {
	if (!lacking) return;
	print_message("not offered here: egress: %s\n", lacking);
	skip();
}

// ---- tests

static void dial_in_box(const char *list, const char *const *env, bool egress, struct rig_result *result) {
	rig_write(rig.tree, "list", list, 0644);
	const char *const argv[] = {"/bin/sh", "-c", "exec ./attack attack dial <list", NULL};
	static const char *const no_leaks[] = {"ASAN_OPTIONS=detect_leaks=0", NULL};
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .env = env ? env : no_leaks, .egress = egress}, result);
	if (!result->report.ran) fail_msg("%s", error_text(&result->report.error));
}

static void the_addresses_can_be_reached_from_outside_of_the_box(void **state) {
	(void)state;
	require_egress();
	static const char *const all[] = {PUBLIC, OWN, DENIED, ROUTER, HERE, METADATA, ELSEWHERE, "127.0.0.1"};
	for (size_t i = 0; i < COUNT_OF(all); i++) assert_int_equal(dial(all[i], PORT), 0);
}

static void public_addresses_are_reached(void **state) {
	(void)state;
	require_egress();
	AUTO_RESULT struct rig_result result;
	dial_in_box(PUBLIC " 8080\n", NULL, true, &result);
	assert_string_equal(result.out, PUBLIC " 8080 reached\n");
}

#define REFUSED                                                                                                                \
	OWN " 8080\n" DENIED " 8080\n" ROUTER " 8080\n" HERE " 8080\n" METADATA " 8080\n" ELSEWHERE                            \
	    " 8080\n127.0.0.1 8080\n10.0.2.2 8080\n10.0.2.3 8080\n0.0.0.0 8080\n255.255.255.255 8080\n"

static void assert_nothing_reached(const struct rig_result *result) {
	int lines = 0;
	for (const char *at = result->out; (at = strchr(at, '\n')); at++) lines++;
	if (strstr(result->out, "reached")) fail_msg("%s", result->out);
	assert_int_equal(lines, 11);
}

static void private_link_local_metadata_loopback_own_and_denied_addresses_are_not(void **state) {
	(void)state;
	require_egress();
	AUTO_RESULT struct rig_result result;
	dial_in_box(REFUSED, NULL, true, &result);
	assert_nothing_reached(&result);
}

static void binding_to_the_interface_is_no_way_around_the_filter(void **state) {
	(void)state;
	require_egress();
	static const char *const env[] = {"BIND_TO=tap0", "ASAN_OPTIONS=detect_leaks=0", NULL};
	AUTO_RESULT struct rig_result result;
	dial_in_box(REFUSED, env, true, &result);
	assert_nothing_reached(&result);
}

// slirp4netns is started without it, and the filter stands in front: neither alone would have to hold.
static void nothing_is_reached_by_ipv6(void **state) {
	(void)state;
	require_egress();
	static const char *const outside[] = {PUBLIC_V6, ROUTER_V6, HERE_V6};
	for (size_t i = 0; i < COUNT_OF(outside); i++) assert_int_equal(dial(outside[i], PORT), 0);
	static const char list[] =
		PUBLIC_V6 " 8080\n" ROUTER_V6 " 8080\n" HERE_V6 " 8080\n::1 8080\nfe80::2 8080\nfd00::3 8080\n"
			  "::ffff:" METADATA " 8080\n::ffff:" ROUTER " 8080\n64:ff9b::5db8:d822 8080\n";
	static const char *const bound[] = {"BIND_TO=tap0", "ASAN_OPTIONS=detect_leaks=0", NULL};
	for (int i = 0; i < 2; i++) {
		AUTO_RESULT struct rig_result result;
		dial_in_box(list, i == 0 ? NULL : bound, true, &result);
		if (strstr(result.out, "reached")) fail_msg("%s", result.out);
		assert_non_null(strstr(result.out, "64:ff9b::5db8:d822 8080 refused\n"));
	}
	AUTO_RESULT struct rig_result mapped;
	dial_in_box("::ffff:" PUBLIC " 8080\n", NULL, true, &mapped);
	assert_string_equal(mapped.out, "::ffff:" PUBLIC " 8080 reached\n");
}

static void an_address_that_the_machine_got_later_is_refused_too(void **state) {
	(void)state;
	require_egress();
	assert_int_equal(run_tool("ip addr add 93.184.216.41/32 dev lo"), 0);
	assert_int_equal(dial("93.184.216.41", PORT), 0);
	AUTO_RESULT struct rig_result result;
	dial_in_box("93.184.216.41 8080\n" PUBLIC " 8080\n", NULL, true, &result);
	assert_string_equal(result.out, "93.184.216.41 8080 refused\n" PUBLIC " 8080 reached\n");
}

static void a_job_without_it_has_no_network_at_all(void **state) {
	(void)state;
	require_egress();
	AUTO_RESULT struct rig_result result;
	dial_in_box(PUBLIC " 8080\n", NULL, false, &result);
	assert_string_equal(result.out, PUBLIC " 8080 refused\n");
}

static void the_filter_cannot_be_changed_from_inside(void **state) {
	(void)state;
	require_egress();
	AUTO_RESULT struct rig_result result;
	const char *const argv[] = {"/bin/sh", "-c",
		"/usr/sbin/nft flush ruleset && echo flushed; ip link set tap0 down && echo down; "
		"ip route add 172.20.0.0/24 dev tap0 && echo routed; echo end",
		NULL};
	rig_run_job(&rig, &(struct rig_job){.argv = argv, .egress = true}, &result);
	assert_string_equal(result.out, "end\n");
}

// Of this test's own network namespace: other runs have theirs.
enum { SLIRPS_MOST = 64 };

// Those in our network, another run's too.
static size_t find_slirps(long pids[SLIRPS_MOST]) {
	struct stat ours, theirs;
	assert_int_equal(stat("/proc/self/ns/net", &ours), 0);
	DIR *proc = opendir("/proc");
	size_t found = 0;
	for (struct dirent *entry; found < SLIRPS_MOST && (entry = readdir(proc));) {
		AUTO_FREE char *network = mem_format("/proc/%s/ns/net", entry->d_name),
			       *path = mem_format("/proc/%s/comm", entry->d_name);
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || stat(network, &theirs) != 0 ||
			theirs.st_ino != ours.st_ino)
			continue;
		AUTO_FCLOSE FILE *comm = fopen(path, "re");
		char name[64] = "";
		if (comm && fgets(name, sizeof(name), comm) && strncmp(name, "slirp4netns", strlen("slirp4netns")) == 0)
			pids[found++] = strtol(entry->d_name, NULL, 10);
	}
	closedir(proc);
	return found;
}

// Of those that were there the ones that still are.
static size_t count_left(const long *before, size_t count) {
	long now[SLIRPS_MOST];
	size_t left = 0;
	for (size_t i = find_slirps(now); i-- > 0;)
		for (size_t k = 0; k < count; k++) left += now[i] == before[k];
	return left;
}

static void nothing_of_it_is_left_when_the_job_has_ended(void **state) {
	(void)state;
	require_egress();
	for (int i = 0; i < 6; i++) {
		AUTO_RESULT struct rig_result result;
		dial_in_box(PUBLIC " 8080\n", NULL, true, &result);
		assert_string_equal(result.out, PUBLIC " 8080 reached\n");
	}
	rig_throw_spares_away(&rig);
	cell_close_all(rig.sandbox);
	long slirps[SLIRPS_MOST];
	size_t count = find_slirps(slirps);
	for (int waited = 0; waited < 20000 && count_left(slirps, count) > 0; waited += 20) (void)poll(NULL, 0, 20);
	assert_int_equal(count_left(slirps, count), 0);
	assert_int_equal(rig_count_processes(rig.dir), 0);
}

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "attack") == 0) return rig_main_attack(attacks, COUNT_OF(attacks), argv[2]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_addresses_can_be_reached_from_outside_of_the_box),
		cmocka_unit_test(public_addresses_are_reached),
		cmocka_unit_test(private_link_local_metadata_loopback_own_and_denied_addresses_are_not),
		cmocka_unit_test(binding_to_the_interface_is_no_way_around_the_filter),
		cmocka_unit_test(nothing_is_reached_by_ipv6),
		cmocka_unit_test(an_address_that_the_machine_got_later_is_refused_too),
		cmocka_unit_test(a_job_without_it_has_no_network_at_all),
		cmocka_unit_test(the_filter_cannot_be_changed_from_inside),
		cmocka_unit_test(nothing_of_it_is_left_when_the_job_has_ended),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
