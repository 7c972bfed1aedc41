// What trabajos-fetch can still touch when it reads what a server sent. In processes of their own: it is for good.
#include "lib/mem.h"
#include "lib/sanitized.h"
#include "worker/fetch/confine.h"
#include "worker/fetch/folder.h"
#include "worker/init/landlock.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h> // needs the two above
// clang-format on

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

static char dir[64];
static int dir_fd, listener, other_listener, local_listener;

static void write_file(const char *name, const char *text) {
	AUTO_CLOSE int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int listen_somewhere(void) {
	const struct sockaddr_in home = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&home, sizeof home) | listen(fd, 5), 0);
	return fd;
}

static struct sockaddr_in address_of(int fd) {
	struct sockaddr_in address = {0};
	socklen_t length = sizeof address;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	return address;
}

static uint16_t port_of(int fd) {
	return ntohs(address_of(fd).sin_port);
}

static int local_socket(struct sockaddr_un *address) {
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	(void)snprintf(address->sun_path, sizeof address->sun_path, "%s/trees/other/socket", dir);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int setup(void **state) {
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/trabajos-confine-XXXXXX");
	assert_non_null(mkdtemp(dir));
	listener = listen_somewhere();
	other_listener = listen_somewhere();
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char *const folders[] = {"mirrors", "mirrors/own.git", "mirrors/other.git", "trees", "trees/own",
		"trees/other", "mirrors/own.git/objects"};
	for (size_t i = 0; i < COUNT_OF(folders); i++) assert_int_equal(mkdirat(dir_fd, folders[i], 0755), 0);
	static const char *const files[] = {
		"mirrors/own.git/HEAD", "mirrors/other.git/HEAD", "trees/own/a", "trees/other/a", "ca.pem"};
	for (size_t i = 0; i < COUNT_OF(files); i++) write_file(files[i], "as it was\n");
	struct sockaddr_un address;
	local_listener = local_socket(&address);
	assert_int_equal(
		bind(local_listener, (const struct sockaddr *)&address, sizeof address) | listen(local_listener, 5), 0);
	return 0;
}

static int teardown(void **state) {
	(void)state;
	close(dir_fd);
	close(listener);
	close(other_listener);
	close(local_listener);
	return folder_remove(AT_FDCWD, dir);
}

// The child says by its exit code which of its lines did not hold; 0: all did.
static void expect_confined(int (*attempt)(void)) {
#ifdef COVERAGE
	skip(); // not confined there (confine_to)
#endif
	if (landlock_version() < LANDLOCK_LEAST) {
		print_message("not offered here: Landlock: %s\n", strerror(errno));
		skip();
	}
	pid_t pid = fork();
	if (pid == 0) {
		struct outcome outcome = {0};
		AUTO_FREE char *trusted = mem_format("%s/ca.pem", dir);
		int mirror = folder_open(dir_fd, "mirrors/own.git"), trees = folder_open(dir_fd, "trees/own");
		if (setenv("GIT_CA_FILE", trusted, 1) != 0 || confine_to(mirror, trees, port_of(listener), &outcome) != 0)
			_exit(255);
		_exit(attempt());
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool opens(const char *name, int flags) {
	AUTO_CLOSE int fd = openat(dir_fd, name, flags | O_CLOEXEC, 0644);
	return fd >= 0;
}

#define HOLDS(condition)                                                                                                       \
	if (!(condition)) return __LINE__ % 255 + 1

static int touch_others(void) {
	HOLDS(!opens("mirrors/other.git/HEAD", O_RDONLY) && errno == EACCES);
	HOLDS(!opens("mirrors/other.git/HEAD", O_WRONLY) && errno == EACCES);
	HOLDS(!opens("mirrors/other.git/new", O_WRONLY | O_CREAT) && errno == EACCES);
	HOLDS(!opens("trees/other/a", O_RDONLY) && errno == EACCES);
	HOLDS(!opens("trees/other/a", O_WRONLY | O_TRUNC) && errno == EACCES);
	HOLDS(!opens("mirrors", O_RDONLY | O_DIRECTORY) && errno == EACCES);
	HOLDS(!opens("trees", O_RDONLY | O_DIRECTORY) && errno == EACCES);
	HOLDS(unlinkat(dir_fd, "trees/other/a", 0) != 0 && errno == EACCES);
	HOLDS(renameat(dir_fd, "trees/other/a", dir_fd, "trees/own/b") != 0);
	HOLDS(linkat(dir_fd, "trees/other/a", dir_fd, "trees/own/b", 0) != 0);
	HOLDS(mkdirat(dir_fd, "trees/new", 0755) != 0 && errno == EACCES);
	HOLDS(!opens("ca.pem", O_WRONLY) && errno == EACCES);
	return 0;
}

static int reach_others_by_links(void) {
	HOLDS(symlinkat("../other/a", dir_fd, "trees/own/link") == 0);
	HOLDS(!opens("trees/own/link", O_RDONLY) && errno == EACCES);
	HOLDS(!opens("trees/own/../other/a", O_RDONLY) && errno == EACCES);
	HOLDS(unlinkat(dir_fd, "trees/own/link", 0) == 0);
	return 0;
}

static int do_its_work(void) {
	HOLDS(opens("mirrors/own.git/HEAD", O_RDWR | O_TRUNC));
	HOLDS(mkdirat(dir_fd, "mirrors/own.git/objects/pack", 0755) == 0);
	HOLDS(opens("mirrors/own.git/objects/pack/tmp", O_RDWR | O_CREAT));
	HOLDS(renameat(dir_fd, "mirrors/own.git/objects/pack/tmp", dir_fd, "mirrors/own.git/objects/pack/p") == 0);
	HOLDS(folder_empty(openat(dir_fd, "mirrors", O_PATH), "own.git") == 0);
	HOLDS(mkdirat(dir_fd, "trees/own/fresh", 0755) == 0 && opens("trees/own/fresh/x", O_RDWR | O_CREAT));
	HOLDS(renameat(dir_fd, "trees/own/fresh", dir_fd, "trees/own/commit") == 0);
	HOLDS(opens("ca.pem", O_RDONLY) && opens("/dev/null", O_RDWR) && opens("/etc/hosts", O_RDONLY));
	HOLDS(opens("/proc/sys/kernel/random/boot_id", O_RDONLY) && opens("/dev/urandom", O_RDONLY));
	HOLDS(opens("/usr/bin", O_RDONLY | O_DIRECTORY));
	return 0;
}

static int read_the_machine(void) {
	static const char *const files[] = {"/etc/passwd", "/etc/group", "/etc/hostname", "/etc/ssl/private", "/etc", "/proc",
		"/proc/1/status", "/proc/cpuinfo", "/proc/sys/kernel/hostname", "/dev", "/dev/shm", "/dev/zero", "/run", "/var",
		"/tmp"};
	for (size_t i = 0; i < COUNT_OF(files); i++)
		if (opens(files[i], O_RDONLY)) return 1 + (int)i;
	HOLDS(SANITIZED || (!opens("/proc/self/mounts", O_RDONLY) && !opens("/proc/self/net/tcp", O_RDONLY)));
	return 0;
}

static bool connects(int to) {
	const struct sockaddr_in address = address_of(to);
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
}

static int dial_other_ports(void) {
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	HOLDS(connects(listener));
	HOLDS(!connects(other_listener) && errno == EACCES);
	HOLDS(bind(fd, (const struct sockaddr *)&any, sizeof any) != 0 && errno == EACCES);
	return 0;
}

static bool connects_by(int family, int protocol) {
	const struct sockaddr_in address = address_of(other_listener);
	AUTO_CLOSE int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol);
	return fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
}

// TCP Fast Open connects by sending.
static bool connects_by_sending(void) {
	struct sockaddr_in address = address_of(other_listener);
	struct iovec data = {.iov_base = "x", .iov_len = 1};
	struct mmsghdr message = {
		.msg_hdr = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1}};
	AUTO_CLOSE int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_CLOSE int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_CLOSE int third = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool done = sendto(first, "x", 1, MSG_FASTOPEN, (const struct sockaddr *)&address, sizeof address) == 1;
	done = sendmsg(second, &message.msg_hdr, MSG_FASTOPEN) == 1 || done;
	return sendmmsg(third, &message, 1, MSG_FASTOPEN) == 1 || done;
}

static bool connects_locally(void) {
	struct sockaddr_un address;
	AUTO_CLOSE int fd = local_socket(&address);
	return fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
}

static int dial_this_machine(void) {
	HOLDS(!connects_locally() && errno == EACCES);
	return 0;
}

static int dial_in_other_words(void) {
	HOLDS(!connects_by(AF_INET, 262 /* MPTCP */) && errno == EACCES);
	HOLDS(!connects_by(AF_INET, 256 /* SMC */) && errno == EACCES);
	HOLDS(!connects_by(43 /* SMC */, 0) && errno == EACCES);
	HOLDS(!connects_by_sending() && errno == EACCES);
	HOLDS(syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno == EACCES);
	HOLDS(connects(listener));
	return 0;
}

static int resolve_a_name(void) {
	struct addrinfo *found = NULL;
	HOLDS(getaddrinfo("localhost", NULL, NULL, &found) == 0);
	freeaddrinfo(found);
	return 0;
}

static void what_belongs_to_other_urls_is_out_of_reach(void **state) {
	(void)state;
	expect_confined(touch_others);
}

static void no_link_and_no_dots_lead_to_them(void **state) {
	(void)state;
	expect_confined(reach_others_by_links);
}

static void what_a_fetch_needs_is_allowed(void **state) {
	(void)state;
	expect_confined(do_its_work);
	expect_confined(resolve_a_name);
}

static void of_the_system_it_reads_what_it_needs_only(void **state) {
	(void)state;
	expect_confined(read_the_machine);
}

static void it_connects_to_its_own_port_only(void **state) {
	(void)state;
	if (landlock_version() < 4) {
		print_message("not offered here: Landlock's rules for TCP\n");
		skip();
	}
	expect_confined(dial_other_ports);
}

static void no_other_protocol_and_no_early_data_lead_to_other_ports(void **state) {
	(void)state;
	expect_confined(dial_in_other_words);
}

static void no_service_of_this_machine_can_be_reached_by_its_file(void **state) {
	(void)state;
	expect_confined(dial_this_machine);
}

static void without_it_others_are_within_reach(void **state) {
	(void)state;
	assert_true(connects(listener) && connects(other_listener) && connects_locally());
	assert_true(opens("/etc/passwd", O_RDONLY) && opens("/proc/self/mounts", O_RDONLY) && opens("/dev/zero", O_RDONLY));
	assert_true(opens("mirrors/other.git/HEAD", O_RDWR));
	assert_true(opens("trees/other/a", O_RDWR));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_belongs_to_other_urls_is_out_of_reach, setup, teardown),
		cmocka_unit_test_setup_teardown(no_link_and_no_dots_lead_to_them, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_fetch_needs_is_allowed, setup, teardown),
		cmocka_unit_test_setup_teardown(of_the_system_it_reads_what_it_needs_only, setup, teardown),
		cmocka_unit_test_setup_teardown(it_connects_to_its_own_port_only, setup, teardown),
		cmocka_unit_test_setup_teardown(no_other_protocol_and_no_early_data_lead_to_other_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(no_service_of_this_machine_can_be_reached_by_its_file, setup, teardown),
		cmocka_unit_test_setup_teardown(without_it_others_are_within_reach, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
