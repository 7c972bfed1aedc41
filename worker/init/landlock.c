// Raw system calls, and numbers of our own: the C library has no wrappers, and Debian 12's header knows version 2 only.
#include "worker/init/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The same on every architecture (asm-generic/unistd.h).
#define CALL_CREATE_RULESET 444
#define CALL_ADD_RULE       445
#define CALL_RESTRICT_SELF  446

#define CREATE_VERSION    (1U << 0)
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT     2
#define TCP_LEAST         4 // the first version that knows ports
#define EXECUTE           (1ULL << 0)
#define WRITE_FILE        (1ULL << 1)
#define READ_FILE         (1ULL << 2)
#define READ_DIR          (1ULL << 3)
#define REMOVE_DIR        (1ULL << 4)
#define REMOVE_FILE       (1ULL << 5)
#define MAKE_CHAR         (1ULL << 6)
#define MAKE_DIR          (1ULL << 7)
#define MAKE_REG          (1ULL << 8)
#define MAKE_SOCK         (1ULL << 9)
#define MAKE_FIFO         (1ULL << 10)
#define MAKE_BLOCK        (1ULL << 11)
#define MAKE_SYM          (1ULL << 12)
#define REFER             (1ULL << 13) // version 2
#define TRUNCATE          (1ULL << 14) // version 3
#define IOCTL_DEV         (1ULL << 15) // version 5
#define BIND_TCP          (1ULL << 0)  // version 4
#define CONNECT_TCP       (1ULL << 1)  // version 4
#define SCOPE_ABSTRACT    (1ULL << 0)  // version 6
#define SCOPE_SIGNAL      (1ULL << 1)  // version 6

#define NODES (MAKE_CHAR | MAKE_BLOCK) // nowhere
#define FILES (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)

_Static_assert(LANDLOCK_SEE == (EXECUTE | READ_FILE | READ_DIR), "the header's number");
_Static_assert(LANDLOCK_WRITE == (WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO |
					 MAKE_SYM | REFER | TRUNCATE),
	"the header's number");
_Static_assert(LANDLOCK_USE == (WRITE_FILE | TRUNCATE | IOCTL_DEV), "the header's number");

struct ruleset {
	uint64_t fs, net, scopes;
};

struct beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

struct port {
	uint64_t allowed, port;
};

static uint64_t known(int version) {
	uint64_t all = LANDLOCK_SEE | LANDLOCK_WRITE | LANDLOCK_USE | NODES;
	if (version < 3) all &= ~TRUNCATE;
	if (version < 5) all &= ~IOCTL_DEV;
	return all;
}

int landlock_version(void) {
	long version = syscall(CALL_CREATE_RULESET, NULL, (size_t)0, CREATE_VERSION);
	return version > INT16_MAX ? INT16_MAX : (int)version;
}

static int make(int version, uint64_t net, int *ruleset) {
	const struct ruleset wanted = {
		.fs = known(version), .net = net, .scopes = version < 6 ? 0 : SCOPE_ABSTRACT | SCOPE_SIGNAL};
	// What an older kernel does not know of the structure is zero, which it takes.
	int made = (int)syscall(CALL_CREATE_RULESET, &wanted, sizeof(wanted), 0U);
	if (made < 0) return -1;
	*ruleset = made;
	return 0;
}

int landlock_new(int version, int *ruleset) {
	return make(version, 0, ruleset);
}

int landlock_new_with_tcp(int version, int *ruleset) {
	return make(version, version < TCP_LEAST ? 0 : BIND_TCP | CONNECT_TCP, ruleset);
}

int landlock_allow_tcp(int ruleset, int version, uint16_t port) {
	const struct port rule = {.allowed = CONNECT_TCP, .port = port};
	if (version < TCP_LEAST) return 0;
	return syscall(CALL_ADD_RULE, ruleset, RULE_NET_PORT, &rule, 0U) == 0 ? 0 : -1;
}

int landlock_allow_fd(int ruleset, int version, int fd, uint64_t rights) {
	struct stat info;
	if (fstat(fd, &info) != 0) return -1;
	const uint64_t fit = rights & known(version) & (S_ISDIR(info.st_mode) ? UINT64_MAX : FILES);
	const struct beneath rule = {.allowed = fit, .parent = fd};
	return syscall(CALL_ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0U) == 0 ? 0 : -1;
}

int landlock_allow(int ruleset, int version, const char *path, uint64_t rights) {
	AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? -1 : landlock_allow_fd(ruleset, version, fd, rights);
}

int landlock_enforce(int ruleset) {
	return syscall(CALL_RESTRICT_SELF, ruleset, 0U) == 0 ? 0 : -1;
}
