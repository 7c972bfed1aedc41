#include "worker/fetch/confine.h"

#include "worker/fetch/fault.h"
#include "worker/init/landlock.h"

#include <errno.h>
#include <sys/prctl.h>

// What names are resolved by, certificates checked by, and the C library lives by.
static const char *const system_places[] = {"/usr", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/dev"};
// They may be links to elsewhere: /run with systemd-resolved.
static const char *const system_files[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"};

static int allow_system(int ruleset, int version) {
	const char *trusted = getenv("GIT_CA_FILE");
	for (size_t i = 0; i < COUNT_OF(system_places); i++)
		if (landlock_allow(ruleset, version, system_places[i], LANDLOCK_SEE) < 0 && errno != ENOENT) return -1;
	for (size_t i = 0; i < COUNT_OF(system_files); i++)
		if (landlock_allow(ruleset, version, system_files[i], LANDLOCK_SEE) < 0 && errno != ENOENT) return -1;
	if (trusted && landlock_allow(ruleset, version, trusted, LANDLOCK_SEE) < 0) return -1;
	return landlock_allow(ruleset, version, "/dev/null", LANDLOCK_USE);
}

static int allow(int ruleset, int version, int mirror_fd, int trees_fd) {
	if (allow_system(ruleset, version) < 0) return -1;
	if (landlock_allow_fd(ruleset, version, mirror_fd, LANDLOCK_SEE | LANDLOCK_WRITE) < 0) return -1;
	return landlock_allow_fd(ruleset, version, trees_fd, LANDLOCK_SEE | LANDLOCK_WRITE);
}

int confine_to(int mirror_fd, int trees_fd, struct outcome *outcome) {
#ifdef COVERAGE // its counters are written at the end, where the objects lie
	return 0;
#endif
	AUTO_CLOSE int ruleset = -1;
	int version = landlock_version();
	if (version < LANDLOCK_LEAST) return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || landlock_new(version, &ruleset) < 0 ||
		allow(ruleset, version, mirror_fd, trees_fd) < 0 || landlock_enforce(ruleset) < 0)
		return fault_errno(outcome, "confining trabajos-fetch to its URL's files", errno);
	return 0;
}
