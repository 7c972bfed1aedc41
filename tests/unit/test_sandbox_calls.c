// Escapes by system calls: kernel interfaces that reach beyond a box, or are large and young. Most are refused by the filter
// alone, which is there at every level.
#include "tests/unit/escape_rig.h"

#include <linux/io_uring.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#define FAMILY_ALG   38
#define FAMILY_VSOCK 40
#define GARBAGE      0x100000000UL // above the lower half, which is all that the kernel looks at
#define X32_BIT      0x40000000L

static int reach_clone(unsigned long flags, const char *what) {
	long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) _exit(0);
	if (pid > 0) (void)waitpid((pid_t)pid, NULL, 0);
	return escape_reached(pid, what);
}

static int make_user_namespace(void) {
	return escape_reached(syscall(SYS_unshare, CLONE_NEWUSER), "unshare");
}

static int make_user_namespace_with_garbage(void) {
	return reach_clone(CLONE_NEWUSER | GARBAGE, "clone");
}

static int make_user_namespace_by_clone(void) {
	return reach_clone(CLONE_NEWUSER | CLONE_NEWNS, "clone");
}

static int make_user_namespace_by_clone3(void) {
	uint64_t arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
	long pid = syscall(SYS_clone3, arguments, sizeof(arguments));
	if (pid == 0) _exit(0);
	if (pid > 0) (void)waitpid((pid_t)pid, NULL, 0);
	return escape_reached(pid, "clone3");
}

// As every attack on mounts begins.
static void become_root_of_a_namespace(void) {
	(void)!syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET);
}

static int mount_something(void) {
	become_root_of_a_namespace();
	return escape_reached(mount("none", ".", "tmpfs", 0, NULL), "mount");
}

static int mount_by_the_new_interface(void) {
	become_root_of_a_namespace();
	return escape_reached(syscall(SYS_fsopen, "tmpfs", 0), "fsopen");
}

static int clone_a_mount(void) {
	become_root_of_a_namespace();
	return escape_reached(syscall(SYS_open_tree, AT_FDCWD, "/", 0x8001 /* CLONE, RECURSIVE */), "open_tree");
}

static int clone_a_mount_with_attributes(void) {
	become_root_of_a_namespace();
	return escape_reached(syscall(467 /* open_tree_attr */, AT_FDCWD, "/", 0x8001, NULL, 0), "open_tree_attr");
}

static const struct {
	uint32_t size, spare;
	uint64_t mount, param;
} every_mount = {.size = 24, .mount = UINT64_MAX};

static int list_mounts(void) {
	uint64_t mounts[16];
	return escape_reached(syscall(458 /* listmount */, &every_mount, mounts, 16UL, 0UL), "listmount");
}

static int unmount(void) {
	become_root_of_a_namespace();
	// What came from outside is locked; a mount over it is its own, where one can be made.
	(void)!mount(".", ".", NULL, MS_BIND, NULL);
	return escape_reached(umount2(".", MNT_DETACH), "umount");
}

static int change_the_root(void) {
	become_root_of_a_namespace();
	return escape_reached(chroot("."), "chroot");
}

static int enter_a_namespace(void) {
	become_root_of_a_namespace();
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? ESCAPE_NOTHING : escape_reached(setns(fd, CLONE_NEWNET), "setns");
}

static int open_crypto_socket(void) {
	return escape_reached(socket(FAMILY_ALG, SOCK_SEQPACKET, 0), "AF_ALG");
}

static int open_crypto_socket_with_garbage(void) {
	return escape_reached(syscall(SYS_socket, FAMILY_ALG | GARBAGE, SOCK_SEQPACKET, 0), "AF_ALG");
}

static int open_machine_socket(void) {
	return escape_reached(socket(FAMILY_VSOCK, SOCK_STREAM, 0), "AF_VSOCK");
}

static int open_machine_socket_with_garbage(void) {
	return escape_reached(syscall(SYS_socket, FAMILY_VSOCK | GARBAGE, SOCK_STREAM, 0), "AF_VSOCK");
}

static int open_packet_socket(void) {
	become_root_of_a_namespace();
	return escape_reached(socket(AF_PACKET, SOCK_RAW, 0), "AF_PACKET");
}

static int open_raw_socket(void) {
	become_root_of_a_namespace();
	int fd = socket(AF_INET, SOCK_RAW, 1);
	return escape_reached(fd, "SOCK_RAW");
}

static int open_netlink(void) {
	return escape_reached(socket(AF_NETLINK, SOCK_RAW, 15 /* KOBJECT_UEVENT */), "netlink");
}

static int make_ring(void) {
	struct io_uring_params params = {0};
	return escape_reached(syscall(SYS_io_uring_setup, 4, &params), "io_uring");
}

static int make_bpf_map(void) {
	const uint32_t attributes[16] = {2 /* ARRAY */, 4, 4, 1};
	return escape_reached(syscall(SYS_bpf, 0 /* MAP_CREATE */, attributes, sizeof(attributes)), "bpf");
}

static int handle_page_faults(void) {
	return escape_reached(syscall(SYS_userfaultfd, 1 /* USER_MODE_ONLY */), "userfaultfd");
}

static int use_keyring(void) {
	return escape_reached(syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3 /* SESSION */, 1), "keyctl");
}

static int add_key(void) {
	return escape_reached(syscall(SYS_add_key, "user", "trabajos-test", "x", 1UL, -1 /* THREAD */), "add_key");
}

static int open_perf_event(void) {
	uint32_t attributes[32] = {1 /* SOFTWARE */, sizeof(attributes)};
	attributes[10] = 0x60; // not of the kernel, not of the hypervisor
	return escape_reached(syscall(SYS_perf_event_open, attributes, 0, -1, -1, 0UL), "perf_event_open");
}

static int watch_files(void) {
	return escape_reached(syscall(SYS_fanotify_init, 0x200 /* REPORT_FID */, O_RDONLY), "fanotify_init");
}

static int make_secret_memory(void) {
	return escape_reached(syscall(447 /* memfd_secret */, 0), "memfd_secret");
}

static int take_huge_pages(void) {
	return escape_reached(memfd_create("x", MFD_HUGETLB), "memfd_create of huge pages");
}

static int compare_processes(void) {
	return escape_reached(syscall(SYS_kcmp, getpid(), getpid(), 0 /* FILE */, 0UL, 0UL), "kcmp");
}

// A terminal of its own, and its own session: what it types there is read back.
static int type_into_terminal(unsigned long request) {
	if (fork() > 0) {
		int status;
		(void)wait(&status);
		return WIFEXITED(status) ? WEXITSTATUS(status) : ESCAPE_NOTHING;
	}
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	if (setsid() < 0 || master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) _exit(escape_refused("a terminal"));
	int slave = open(ptsname(master), O_RDWR);
	int code = escape_reached(slave < 0 ? -1 : syscall(SYS_ioctl, slave, request, "\n"), "TIOCSTI");
	(void)fflush(stdout);
	_exit(code);
}

static int type(void) {
	return type_into_terminal(TIOCSTI);
}

static int type_with_garbage(void) {
	return type_into_terminal(TIOCSTI | GARBAGE);
}

#ifdef __x86_64__
static long old_entry(long number, long first, long second) {
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second) : "memory");
	if (result >= 0) return result;
	errno = (int)-result;
	return -1;
}

static int unshare_by_the_old_entry(void) {
	return escape_reached(old_entry(310, CLONE_NEWUSER, 0), "unshare by int 0x80");
}

static int socket_by_the_old_entry(void) {
	return escape_reached(old_entry(359, FAMILY_VSOCK, SOCK_STREAM), "socket by int 0x80");
}

static int keyctl_by_x32(void) {
	return escape_reached(syscall(SYS_keyctl | X32_BIT, 0, -3, 1), "keyctl by x32");
}
#else
static int no_such_entry(void) {
	errno = ENOSYS;
	return escape_refused("a processor that has no such entry");
}
#define unshare_by_the_old_entry no_such_entry
#define socket_by_the_old_entry  no_such_entry
#define keyctl_by_x32            no_such_entry
#endif

static int open_by_handle(void) {
	struct {
		struct file_handle head;
		unsigned char room[128];
	} handle = {.head.handle_bytes = sizeof(handle.room)};
	int mount_id;
	if (name_to_handle_at(AT_FDCWD, ".", &handle.head, &mount_id, 0) != 0) return escape_refused("name_to_handle_at");
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return escape_reached(open_by_handle_at(fd, &handle.head, O_RDONLY), "open_by_handle_at");
}

static int read_kernel_log(void) {
	char buffer[256];
	return escape_reached(syscall(SYS_syslog, 3 /* READ_ALL */, buffer, sizeof(buffer)), "syslog");
}

static int set_the_clock(void) {
	const struct timespec now = {.tv_nsec = -1}; // refused as nonsense where the call is open
	(void)!syscall(SYS_clock_settime, CLOCK_REALTIME, &now);
	return errno == EINVAL ? escape_achieved("clock_settime") : escape_refused("clock_settime");
}

static int load_module(void) {
	(void)!syscall(SYS_init_module, NULL, 0UL, "");
	return errno != EPERM && errno != ENOSYS ? escape_achieved("init_module") : escape_refused("init_module");
}

static const char root_only[] = "the kernel asks for root";

static const struct escape escapes[] = {
	{.name = "no_user_namespace_can_be_made", .fn = make_user_namespace, .weakest = SANDBOX_NONE},
	{.name = "no_user_namespace_can_be_made_with_garbage_in_the_register",
		.fn = make_user_namespace_with_garbage,
		.weakest = SANDBOX_NONE},
	{.name = "no_user_namespace_can_be_made_by_clone", .fn = make_user_namespace_by_clone, .weakest = SANDBOX_NONE},
	{.name = "no_user_namespace_can_be_made_by_clone3", .fn = make_user_namespace_by_clone3, .weakest = SANDBOX_NONE},
	{.name = "no_namespace_can_be_entered", .fn = enter_a_namespace, .weakest = SANDBOX_NONE},
	{.name = "no_file_system_can_be_mounted", .fn = mount_something, .weakest = SANDBOX_NONE},
	{.name = "no_file_system_can_be_opened_by_fsopen", .fn = mount_by_the_new_interface, .weakest = SANDBOX_NONE},
	{.name = "no_mount_can_be_cloned_by_open_tree", .fn = clone_a_mount, .weakest = SANDBOX_NONE},
	{.name = "no_mount_can_be_cloned_by_open_tree_attr", .fn = clone_a_mount_with_attributes, .weakest = SANDBOX_NONE},
	{.name = "the_mounts_cannot_be_listed_by_listmount", .fn = list_mounts, .weakest = SANDBOX_NONE},
	{.name = "no_mount_can_be_taken_away", .fn = unmount, .weakest = SANDBOX_NONE},
	{.name = "the_root_cannot_be_changed", .fn = change_the_root, .weakest = SANDBOX_NONE},
	{.name = "no_crypto_socket_can_be_opened", .fn = open_crypto_socket, .weakest = SANDBOX_NONE},
	{.name = "no_crypto_socket_can_be_opened_with_garbage_in_the_register",
		.fn = open_crypto_socket_with_garbage,
		.weakest = SANDBOX_NONE},
	{.name = "no_socket_to_the_virtual_machine's_host_can_be_opened", .fn = open_machine_socket, .weakest = SANDBOX_NONE},
	{.name = "no_socket_to_the_virtual_machine's_host_can_be_opened_with_garbage",
		.fn = open_machine_socket_with_garbage,
		.weakest = SANDBOX_NONE},
	{.name = "no_packet_socket_can_be_opened", .fn = open_packet_socket, .weakest = SANDBOX_NONE},
	{.name = "no_raw_socket_can_be_opened", .fn = open_raw_socket, .weakest = SANDBOX_NONE},
	{.name = "the_kernel's_events_cannot_be_heard_by_netlink", .fn = open_netlink, .weakest = SANDBOX_NONE},
	{.name = "no_io_uring_can_be_made", .fn = make_ring, .weakest = SANDBOX_NONE},
	{.name = "no_bpf_map_can_be_made", .fn = make_bpf_map, .weakest = SANDBOX_NONE},
	{.name = "page_faults_cannot_be_handled_by_userfaultfd", .fn = handle_page_faults, .weakest = SANDBOX_NONE},
	{.name = "no_keyring_can_be_used", .fn = use_keyring, .weakest = SANDBOX_NONE},
	{.name = "no_key_can_be_added", .fn = add_key, .weakest = SANDBOX_NONE},
	{.name = "no_perf_event_can_be_opened", .fn = open_perf_event, .weakest = SANDBOX_NONE},
	{.name = "files_cannot_be_watched_by_fanotify", .fn = watch_files, .weakest = SANDBOX_NONE},
	{.name = "secret_memory_cannot_be_made", .fn = make_secret_memory, .weakest = SANDBOX_NONE},
	{.name = "huge_pages_cannot_be_taken", .fn = take_huge_pages, .weakest = SANDBOX_NONE},
	{.name = "processes_cannot_be_compared_by_kcmp", .fn = compare_processes, .weakest = SANDBOX_NONE},
	{.name = "no_terminal's_input_can_be_forged", .fn = type, .weakest = SANDBOX_NONE},
	{.name = "no_terminal's_input_can_be_forged_with_garbage_in_the_register",
		.fn = type_with_garbage,
		.weakest = SANDBOX_NONE},
	{.name = "no_user_namespace_can_be_made_by_the_32_bit_entry", .fn = unshare_by_the_old_entry, .weakest = SANDBOX_NONE},
	{.name = "no_refused_socket_can_be_opened_by_the_32_bit_entry", .fn = socket_by_the_old_entry, .weakest = SANDBOX_NONE},
	{.name = "no_keyring_can_be_used_by_the_x32_entry", .fn = keyctl_by_x32, .weakest = SANDBOX_NONE},
	{.name = "no_file_can_be_opened_by_its_handle", .fn = open_by_handle, .weakest = SANDBOX_NONE},
	{.name = "the_kernel's_log_cannot_be_read", .fn = read_kernel_log, .weakest = SANDBOX_NONE},
	{.name = "the_clock_cannot_be_set", .fn = set_the_clock, .weakest = SANDBOX_NONE, .no_control = root_only},
	{.name = "no_kernel_module_can_be_loaded", .fn = load_module, .weakest = SANDBOX_NONE, .no_control = root_only},
};

int main(int argc, char **argv) {
	if (argc > 2 && strcmp(argv[1], "attack") == 0) return escape_main(escapes, COUNT_OF(escapes), argv[2]);
	struct CMUnitTest tests[COUNT_OF(escapes)];
	escape_tests(escapes, COUNT_OF(escapes), tests);
	return cmocka_run_group_tests_name("what succeeds outside and fails in the box", tests, escape_setup, escape_teardown);
}
