#include "worker/fetch/confine.h"

#include "lib/sanitized.h"
#include "worker/fetch/fault.h"
#include "worker/init/filter.h"
#include "worker/init/landlock.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define NAMESERVER  53
#define NUMBER_MOST 0x3fffffff   // of this entry's calls; above are x32's
#define OWN_STATE   "/proc/self" // what the sanitizers read; it tells of the machine's mounts and connections

// The C library and what it loads; what names are resolved by, and certificates checked by; the boot's name (store.c). Some of
// the files are links to elsewhere: resolv.conf to /run with systemd-resolved.
static const char *const system_places[] = {"/usr", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/resolv.conf",
	"/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/localtime",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/proc/sys/kernel/random",
	"/proc/sys/vm/overcommit_memory", "/proc/sys/crypto", "/dev/null", "/dev/random", "/dev/urandom"};

static int allow_system(int ruleset, int version) {
	const char *trusted = getenv("GIT_CA_FILE");
	for (size_t i = 0; i < COUNT_OF(system_places); i++)
		if (landlock_allow(ruleset, version, system_places[i], LANDLOCK_SEE) < 0 && errno != ENOENT && errno != EACCES)
			return -1;
	if (trusted && landlock_allow(ruleset, version, trusted, LANDLOCK_SEE) < 0) return -1;
	if (SANITIZED && landlock_allow(ruleset, version, OWN_STATE, LANDLOCK_SEE) < 0) return -1;
	return landlock_allow(ruleset, version, "/dev/null", LANDLOCK_USE);
}

static int allow(int ruleset, int version, int mirror_fd, int trees_fd, uint16_t port) {
	if (allow_system(ruleset, version) < 0) return -1;
	if (landlock_allow_tcp(ruleset, version, port) < 0 || landlock_allow_tcp(ruleset, version, NAMESERVER) < 0) return -1;
	if (landlock_allow_fd(ruleset, version, mirror_fd, LANDLOCK_SEE | LANDLOCK_WRITE) < 0) return -1;
	return landlock_allow_fd(ruleset, version, trees_fd, LANDLOCK_SEE | LANDLOCK_WRITE);
}

// Landlock looks at connect(2) of TCP's own sockets. Multipath TCP and SMC, which fall back to TCP where the other end knows no
// better, and TCP Fast Open, which connects by sending, would pass it, and so do sockets that are files: a database, a container
// engine or a session's bus may trust the worker's own uid. (The C library looks names up without them, where it cannot have them.)
// io_uring and other entries would pass this filter.
static int close_ways_around(void) {
	struct sock_filter instructions[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		EQUALS(OWN_ARCH, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(offsetof(struct seccomp_data, nr)),
		ABOVE(NUMBER_MOST, 15, 0),
		EQUALS(__NR_io_uring_setup, 14, 0),
		EQUALS(__NR_socket, 5, 0),
		EQUALS(__NR_sendto, 2, 0),
		EQUALS(__NR_sendmmsg, 1, 0),
		EQUALS(__NR_sendmsg, 8, 11),
		LOAD_ARGUMENT(3),
		GO_ON(7),
		LOAD_ARGUMENT(0),
		EQUALS(AF_INET, 2, 0),
		EQUALS(AF_INET6, 1, 0),
		EQUALS(AF_NETLINK, 5, 4),
		LOAD_ARGUMENT(2),
		ABOVE(IPPROTO_UDP, 2, 3),
		LOAD_ARGUMENT(2),
		HAS_BIT(MSG_FASTOPEN, 0, 1),
		RETURN(SECCOMP_RET_ERRNO | EACCES),
		RETURN(SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = COUNT_OF(instructions), .filter = instructions};
	return OWN_ARCH == 0 ? 0 : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int confine_to(int mirror_fd, int trees_fd, uint16_t port, struct outcome *outcome) {
#ifdef COVERAGE // its counters are written at the end, where the objects lie
	return 0;
#endif
	AUTO_CLOSE int ruleset = -1;
	int version = landlock_version();
	if (version < LANDLOCK_LEAST) return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || landlock_new_with_tcp(version, &ruleset) < 0 ||
		allow(ruleset, version, mirror_fd, trees_fd, port) < 0 || landlock_enforce(ruleset) < 0 ||
		close_ways_around() < 0)
		return fault_errno(outcome, "confining trabajos-fetch to its URL's files", errno);
	return 0;
}
