#include "worker/fetch/confine.h"

#include "lib/sanitized.h"
#include "worker/fetch/fault.h"
#include "worker/init/landlock.h"

#include <errno.h>
#include <sys/prctl.h>

#define NAMESERVER 53
#define OWN_STATE  "/proc/self" // what the sanitizers read; it tells of the machine's mounts and connections

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

int confine_to(int mirror_fd, int trees_fd, uint16_t port, struct outcome *outcome) {
#ifdef COVERAGE // its counters are written at the end, where the objects lie
	return 0;
#endif
	AUTO_CLOSE int ruleset = -1;
	int version = landlock_version();
	if (version < LANDLOCK_LEAST) return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || landlock_new_with_tcp(version, &ruleset) < 0 ||
		allow(ruleset, version, mirror_fd, trees_fd, port) < 0 || landlock_enforce(ruleset) < 0)
		return fault_errno(outcome, "confining trabajos-fetch to its URL's files", errno);
	return 0;
}
