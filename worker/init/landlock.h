// Landlock, the kernel's rules of what of the file system a process may touch, on top of all others: landlock(7). For
// trabajos-init (the boxes) and trabajos-fetch.
#pragma once

#include "lib/attr.h"

#include <stdint.h>

// The first version that lets files be moved between folders; older ones are not used.
#define LANDLOCK_LEAST 2

// Rights over what lies below a folder, the folder included; over a file those of them that files have.
#define LANDLOCK_SEE   0x000dULL // execute and read files, list folders
#define LANDLOCK_WRITE 0x77b2ULL // write to files; make, move and remove all that is no device
#define LANDLOCK_USE   0xc002ULL // write to devices that are there

int landlock_version(void); // -1: errno says why there is none
// Rules that allow nothing yet: neither to see, write or use, nor to make device nodes anywhere; from version 6 on no signals to
// processes and no connections to abstract sockets outside either.
int landlock_new(int version, int *ruleset) MUST_USE;
// The same, and from version 4 on no TCP port may be connected to (nor listened on) but those that are allowed.
int landlock_new_with_tcp(int version, int *ruleset) MUST_USE;
int landlock_allow_tcp(int ruleset, int version, uint16_t port) MUST_USE; // to connect to; older versions: nothing to do
int landlock_allow(int ruleset, int version, const char *path, uint64_t rights) MUST_USE;
int landlock_allow_fd(int ruleset, int version, int fd, uint64_t rights) MUST_USE;
int landlock_enforce(int ruleset) MUST_USE; // for good, for this process and all that it starts from now on
