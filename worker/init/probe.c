// Tries, from inside, what must not be possible: started by the worker in a box like any job's, with small limits. Prints one
// line for each thing that was possible, "name: what happened", and "probed N" at the end.
//
//     trabajos-init probe LEVEL WORKER_DIR PROCESSES DISK_BYTES FILE_BYTES      (PROCESSES 0: not bounded)
//     trabajos-init probe egress                                                what only a job with egress could reach
#include "worker/init/init.h"
#include "worker/init/landlock.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

struct wanted {
	bool boxed, full;
	const char *dir;
	int64_t processes, disk_bytes, file_bytes;
};

static int checked;

static void PRINTF(2, 3) expect(bool held, const char *format, ...) {
	checked++;
	if (held) return;
	char line[512];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	if (length < 0) return;
	size_t end = (size_t)length < sizeof(line) - 1 ? (size_t)length : sizeof(line) - 2;
	line[end] = '\n';
	(void)!write(STDOUT_FILENO, line, end + 1);
}

// ---- rights

static void probe_rights(const struct wanted *wanted) {
	expect(getuid() != 0 && geteuid() != 0, "uid: the job is root");
	expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no_new_privs: not set");
	expect(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2, "seccomp: no filter");
	if (!wanted->boxed) return;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	expect(syscall(SYS_capget, &header, data) == 0 &&
			(data[0].effective | data[1].effective | data[0].permitted | data[1].permitted | data[0].inheritable |
				data[1].inheritable) == 0,
		"capabilities: the job has some");
	bool bounded = false;
	for (int cap = 0; cap < 64; cap++) bounded = bounded || prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
	expect(!bounded, "capabilities: the bounding set is not empty");
}

// ---- system calls

static bool refused(long result) {
	return result < 0;
}

static bool clone_refused(unsigned long flags) {
	long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) _exit(0);
	if (pid > 0) (void)waitpid((pid_t)pid, NULL, 0);
	return refused(pid);
}

static void probe_calls(void) {
	expect(refused(syscall(SYS_unshare, CLONE_NEWUSER)), "unshare: a user namespace could be made");
	expect(refused(syscall(SYS_unshare, CLONE_NEWNS | CLONE_FS)), "unshare: a mount namespace could be made");
	expect(clone_refused(CLONE_NEWUSER), "clone: a user namespace could be made");
	expect(clone_refused(CLONE_NEWPID | CLONE_VFORK), "clone: a pid namespace could be made");
	errno = 0;
	expect(refused(syscall(SYS_clone3, NULL, 0UL)) && errno == ENOSYS, "clone3: not answered by ENOSYS");
	expect(refused(mount("none", "/tmp", "tmpfs", 0, NULL)), "mount: allowed");
	expect(refused(umount2("/proc", MNT_DETACH)), "umount: allowed");
	static const struct {
		const char *name;
		long number;
		long argument;
	} calls[] = {
		{"bpf", SYS_bpf, 0},
		{"perf_event_open", SYS_perf_event_open, 0},
		{"userfaultfd", SYS_userfaultfd, 0},
		{"keyctl", SYS_keyctl, 0},
		{"add_key", SYS_add_key, 0},
		{"io_uring_setup", SYS_io_uring_setup, 1},
		{"open_by_handle_at", SYS_open_by_handle_at, -1},
		{"setns", SYS_setns, -1},
		{"ptrace", SYS_ptrace, PTRACE_TRACEME},
		{"fsopen", SYS_fsopen, 0},
		{"open_tree", SYS_open_tree, -1},
		{"pivot_root", SYS_pivot_root, 0},
		{"kexec_load", SYS_kexec_load, 0},
		{"init_module", SYS_init_module, 0},
		{"reboot", SYS_reboot, 0},
		{"swapon", SYS_swapon, 0},
	};
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		errno = 0;
		long result = syscall(calls[i].number, calls[i].argument, 0L, 0L, 0L, 0L);
		expect(refused(result) && (errno == EPERM || errno == ENOSYS), "%s: reached the kernel", calls[i].name);
	}
	static const int families[] = {AF_PACKET, AF_ALG, AF_VSOCK, AF_KEY, AF_BLUETOOTH, AF_TIPC};
	for (size_t i = 0; i < COUNT_OF(families); i++) {
		int fd = socket(families[i], SOCK_SEQPACKET, 0);
		expect(fd < 0, "socket: family %d is allowed", families[i]);
	}
}

// ---- files

static void no_write(const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	expect(fd < 0, "files: %s can be written", path);
	if (fd >= 0) close(fd);
}

static void no_write_existing(const char *path) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	expect(fd < 0, "files: %s can be written", path);
	if (fd >= 0) close(fd);
}

static void no_read(const char *path) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	expect(fd < 0, "files: %s can be read", path);
	if (fd >= 0) close(fd);
}

static void probe_files(const struct wanted *wanted) {
	static const char *const places[] = {
		"/probe", "/usr/probe", "/usr/bin/probe", "/etc/probe", "/dev/probe", "/proc/probe", "/var/probe"};
	static const char *const kernel[] = {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
		"/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/proc/1/mem", "/proc/1/oom_score_adj", "/etc/passwd",
		SPEC_INIT};
	for (size_t i = 0; i < COUNT_OF(places); i++) no_write(places[i]);
	static const char *const secret[] = {"/proc/kallsyms", "/proc/modules", "/proc/kcore"};
	for (size_t i = 0; i < COUNT_OF(kernel); i++) no_write_existing(kernel[i]);
	for (size_t i = 0; i < COUNT_OF(secret); i++) no_read(secret[i]);
	expect(access(wanted->dir, F_OK) != 0, "files: the worker's folder can be seen");
	expect(access("/etc/shadow", F_OK) != 0, "files: /etc/shadow can be seen");
	expect(access("/sys/kernel", F_OK) != 0, "files: /sys can be seen");
	int fd = open("/tmp/probe", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	expect(fd >= 0 && unlink("/tmp/probe") == 0, "files: /tmp cannot be written");
	if (fd >= 0) close(fd);
}

// What nothing but Landlock refuses: a character device of number 0, which anybody may make (overlayfs's mark for a removed file).
static void probe_wall(void) {
	if (landlock_version() < LANDLOCK_LEAST) return;
	// Not the number 0, overlayfs' mark of what was removed: it is no device, and some kernels let it be made like a file. Without
	// Landlock the lack of CAP_MKNOD refuses it, with EPERM.
	bool made = mknod("/tmp/node", S_IFCHR | 0600, makedev(1, 3)) == 0;
	int number = made ? 0 : errno;
	if (made) (void)unlink("/tmp/node");
	expect(number == EACCES, "landlock: a device node could be made, or others refused it: %s", strerrordesc_np(number));
	expect(mkdir("/tmp/from", 0700) == 0 && mkdir("/tmp/from/moved", 0700) == 0 &&
			rename("/tmp/from/moved", "/tmp/moved") == 0,
		"landlock: nothing can be moved between folders");
	(void)!(rmdir("/tmp/moved") == 0 && rmdir("/tmp/from") == 0);
}

static void probe_descriptors(void) {
	int open_ones = 0;
	for (int fd = 3; fd < 1024; fd++) open_ones += fcntl(fd, F_GETFD) >= 0;
	expect(open_ones == 0, "descriptors: %d inherited", open_ones);
}

// ---- others

static void probe_processes(const struct wanted *wanted) {
	expect(getppid() == 1, "pids: the parent is %d, not pid 1 of a namespace of its own", (int)getppid());
	(void)kill(1, SIGKILL);
	if (!wanted->full) {
		expect(access("/proc/self", F_OK) != 0, "proc: not hidden");
		return;
	}
	DIR *proc = opendir("/proc");
	int seen = 0;
	for (struct dirent *entry; proc && (entry = readdir(proc));) seen += strtol(entry->d_name, NULL, 10) > 0;
	if (proc) closedir(proc);
	expect(seen == 2, "pids: %d processes are seen, not 2", seen);
	int fd = open("/proc/1/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect(fd < 0, "pids: the descriptors of pid 1 can be seen");
	if (fd >= 0) close(fd);
}

static void probe_network(void) {
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) return;
	for (int index = 1; index < 256; index++) {
		struct ifreq request = {.ifr_ifindex = index};
		if (ioctl(fd, SIOCGIFNAME, &request) != 0 || strcmp(request.ifr_name, "lo") == 0) continue;
		struct ifreq state = request;
		bool up = ioctl(fd, SIOCGIFFLAGS, &state) == 0 && (state.ifr_flags & IFF_UP);
		expect(!up, "network: there is an interface %s", request.ifr_name);
	}
	close(fd);
}

// ---- limits

static int64_t write_until_refused(const char *path, int64_t most, int *number) {
	static char block[65536];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	*number = errno;
	if (fd < 0) return -1;
	int64_t total = 0;
	for (ssize_t written = 1; written > 0 && total < most;) {
		written = write(fd, block, sizeof(block));
		*number = errno;
		if (written > 0) total += written;
	}
	close(fd);
	return total;
}

static void probe_space(const struct wanted *wanted) {
	int number = 0;
	(void)signal(SIGXFSZ, SIG_IGN);
	int64_t written = write_until_refused("/tmp/one", 4 * wanted->file_bytes, &number);
	expect(written <= wanted->file_bytes && number == EFBIG, "file size: a file of %lld bytes", (long long)written);
	for (int i = 0; written >= 0 && i < 64; i++) {
		char path[32];
		(void)snprintf(path, sizeof(path), "/tmp/%d", i);
		int64_t more = write_until_refused(path, wanted->file_bytes, &number);
		written = more < 0 ? -1 : written + more;
		if (more < wanted->file_bytes) break;
	}
	expect(written <= wanted->disk_bytes && number == ENOSPC, "disk: %lld bytes could be written", (long long)written);
}

static void probe_forks(const struct wanted *wanted) {
	int64_t started = 0;
	int wait_for[2];
	if (pipe2(wait_for, O_CLOEXEC) != 0) return;
	for (; started < wanted->processes + 16; started++) {
		pid_t pid = fork();
		if (pid < 0) break;
		if (pid == 0) {
			char byte;
			close(wait_for[1]);
			(void)!read(wait_for[0], &byte, 1);
			_exit(0);
		}
	}
	close(wait_for[0]);
	close(wait_for[1]);
	while (wait(NULL) > 0)
		;
	expect(started < wanted->processes, "processes: %lld could be started", (long long)started);
}

// ---- a way out

// Refused by the packet filter at once, without anything that leaves: the gateway that slirp4netns plays, and addresses that nobody
// has (RFC 5737, RFC 1112).
static void probe_egress(void) {
	static const char *const addresses[] = {"10.0.2.2", SPEC_NAMESERVER, "192.0.2.1", "240.0.0.1"};
	struct ifreq request = {.ifr_name = "tap0"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	expect(fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP),
		"egress: there is no interface");
	if (fd >= 0) close(fd);
	for (size_t i = 0; i < COUNT_OF(addresses); i++) {
		struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};
		(void)inet_pton(AF_INET, addresses[i], &address.sin_addr);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		int result = connect(fd, (const struct sockaddr *)&address, sizeof(address));
		struct pollfd polled = {.fd = fd, .events = POLLOUT};
		socklen_t length = sizeof(int);
		int number = errno;
		if (result < 0 && number == EINPROGRESS && poll(&polled, 1, 2000) == 1)
			(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length);
		expect(result < 0 && number == EHOSTUNREACH, "egress: %s is not refused (%s)", addresses[i], strerror(number));
		close(fd);
	}
}

static int say_probed(void) {
	char line[32];
	int length = snprintf(line, sizeof(line), "probed %d\n", checked);
	(void)!write(STDOUT_FILENO, line, length > 0 ? (size_t)length : 0);
	return 0;
}

int probe_main(int argc, char **argv) {
	if (argc == 1 && strcmp(argv[0], "egress") == 0) {
		probe_egress();
		return say_probed();
	}
	if (argc != 5) return 64;
	const struct wanted wanted = {
		.boxed = strcmp(argv[0], "none") != 0,
		.full = strcmp(argv[0], "full") == 0,
		.dir = argv[1],
		.processes = strtoll(argv[2], NULL, 10),
		.disk_bytes = strtoll(argv[3], NULL, 10),
		.file_bytes = strtoll(argv[4], NULL, 10),
	};
	probe_descriptors();
	probe_rights(&wanted);
	probe_calls();
	if (wanted.boxed) {
		probe_files(&wanted);
		probe_wall();
		probe_processes(&wanted);
		probe_network();
		probe_space(&wanted);
	}
	if (wanted.processes > 0) probe_forks(&wanted);
	return say_probed();
}
